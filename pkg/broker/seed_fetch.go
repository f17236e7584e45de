package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/seed"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// seedOfferTimeout bounds the making of a seed, for which all files of the state
	// are read once; seedReadTimeout the reading of one piece.
	seedOfferTimeout = 30 * time.Minute
	seedReadTimeout  = time.Minute
	// seedRetry is the wait after a try that failed.
	seedRetry = time.Second
)

// errSeedUnneeded is a seed that this member can do without: the leader can push
// what it lacks.
var errSeedUnneeded = errors.New("the ledger here can be carried on without a seed")

// seedReady ends Run: a whole seed is staged, and the ledger must be closed for
// the switch.
type seedReady struct {
	manifest  *seed.Manifest
	stateOnly bool // the ledger here stays
}

func (e *seedReady) Error() string {
	return fmt.Sprintf("seed %s is here, up to entry %d: to be installed", e.manifest.ID(), e.manifest.Applied)
}

// seedProgress is how far a seed is that is being fetched. Total 0: none is.
type seedProgress struct{ have, total int64 }

func (b *Broker) noteSeed(have, total int64) {
	b.seedProgress.Store(&seedProgress{have, total})
	b.metrics.seed.missing.Set(float64(total - have))
}

// dropUselessSeed removes a seed that was not fetched to its end and that this
// member can do without by now, because another leader had what it lacked.
func (b *Broker) dropUselessSeed() error {
	m := seed.Staged(b.dir.staged())
	if m == nil || b.ledger.Lacks(originOf(m)) {
		return nil
	}
	return os.RemoveAll(b.dir.staged())
}

// needsSeed notes that the leader says so.
func (b *Broker) needsSeed(leader member.ID) {
	select {
	case b.seedWanted <- leader: // capacity 1
	default:
	}
}

// fetchSeeds waits until this member needs a seed, and brings it. It returns a
// *seedReady, or nil when ctx is done.
func (b *Broker) fetchSeeds(ctx context.Context) error {
	told := ""
	for {
		ready := &seedReady{}
		var err error
		select {
		case <-ctx.Done():
			return nil
		case leader := <-b.seedWanted:
			ready.manifest, err = b.fetchSeed(ctx, leader)
		case <-b.need.raised:
			ready.stateOnly = true
			ready.manifest, err = b.fetchState(ctx)
		}
		b.noteSeed(0, 0)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return ready
		case errors.Is(err, errSeedUnneeded):
			b.metrics.seed.seeds.WithLabelValues("unneeded").Inc()
			if err := os.RemoveAll(b.dir.staged()); err != nil {
				b.log.Error("seed not removed", "error", err)
			}
		default:
			b.metrics.seed.seeds.WithLabelValues("failed").Inc()
			if why := err.Error(); why != told { // a state that nobody has is asked for again and again
				told = why
				b.log.Error("seed not fetched; what is here is kept and the rest asked for again", "state_only", ready.stateOnly, "error", err)
			}
		}
		pause(ctx, seedRetry)
		if b.need.now.Load() != nil {
			signal(b.need.raised)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (b *Broker) fetchSeed(ctx context.Context, leader member.ID) (*seed.Manifest, error) {
	conn, ok := b.ledger.PeerConn(leader)
	if !ok {
		return nil, fmt.Errorf("member %q is not in the group", leader)
	}
	b.log.Warn("the leader has purged what this member lacks: fetching a seed", "from", string(leader), "end", int64(b.ledger.Status().End))
	giver := &seedGiver{broker: b, from: leader, client: dledgerv1.NewSeedServiceClient(conn)}
	return b.stageSeed(ctx, giver, func(m *seed.Manifest) error {
		giver.unneeded = func() bool { return !b.ledger.Lacks(originOf(m)) }
		return b.acceptSeed(m)
	})
}

// stageSeed brings a seed that accept accepts.
func (b *Broker) stageSeed(ctx context.Context, giver *seedGiver, accept func(*seed.Manifest) error) (*seed.Manifest, error) {
	m, err := seed.Fetch(ctx, seed.FetchConfig{
		Dir: b.dir.staged(), PieceBytes: b.seedPieces.bytes, Progress: b.noteSeed, Accept: accept,
	}, giver)
	if err != nil {
		return nil, err
	}
	return m, b.checkSeed(m)
}

// errGivenUp is what a member says to a seed after a recovery of the group has left it
// behind: installed, its directory would not know that any more.
var errGivenUp = errors.New("this member was given up by a recovery of its group: stop it and remove its data directory (docs/runbooks/majority-lost.md)")

// acceptSeed refuses a seed that is another group's, or of no use, or comes to a member
// that was given up.
func (b *Broker) acceptSeed(m *seed.Manifest) error {
	if b.ledger.GivenUp() {
		return errGivenUp
	}
	if m.ClusterID != b.cfg.Cluster.ID || m.Group != group {
		return fmt.Errorf("%w: it is of group %q in cluster %q", seed.ErrManifest, m.Group, m.ClusterID)
	}
	if term := int64(b.ledger.Status().Term); m.PrevTerm > term {
		return fmt.Errorf("%w: its ledger is of term %d, this member is in term %d", seed.ErrManifest, m.PrevTerm, term)
	}
	if len(m.Members) > 0 {
		if err := dledger.CheckMembers(b.ledgerConfig(), m.Members); err != nil {
			return fmt.Errorf("%w: %w", seed.ErrManifest, err)
		}
	}
	if !b.ledger.Lacks(originOf(m)) {
		return errSeedUnneeded
	}
	return b.roomForSeed(m)
}

// roomForSeed refuses a seed that the disk cannot take together with the first
// segment of the new ledger and the reserve. What is staged already counts as free.
func (b *Broker) roomForSeed(m *seed.Manifest) error {
	fs, err := b.disk.statfs(b.dir.path)
	if err != nil {
		return nil // the writes will tell
	}
	needs := m.Bytes() - b.seedProgress.Load().have + int64(b.cfg.Storage.SegmentBytes+b.cfg.Storage.DiskReserveBytes)
	if fs.Free < needs {
		return fmt.Errorf("the seed needs %s on the disk, with the ledger's first segment and the reserve, and %s are free: %w",
			roundSize(needs), roundSize(fs.Free), errWouldFill)
	}
	return nil
}

// checkSeed makes sure that the state which came is the one that was offered. If
// it is not, another try would bring the same: it is thrown away.
func (b *Broker) checkSeed(m *seed.Manifest) error {
	tip, err := state.Inspect(seed.Files(b.dir.staged()))
	want := state.Tip{Index: state.Index(m.Applied), Term: state.Term(m.AppliedTerm), Hash: m.StateHash}
	if err == nil && tip != want {
		err = fmt.Errorf("%w: the state is %+v, offered was %+v", seed.ErrDamaged, tip, want)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(b.dir.staged()))
	}
	return nil
}

func originOf(m *seed.Manifest) commitlog.Origin {
	return commitlog.Origin{Begin: commitlog.Index(m.Begin), PrevTerm: commitlog.Term(m.PrevTerm), PrevChain: m.PrevChain}
}

// seedGiver is another member as a seed.Giver, on the bulk connection.
type seedGiver struct {
	broker   *Broker
	from     member.ID
	client   dledgerv1.SeedServiceClient
	state    *neededState // nil: a whole seed is asked for
	unneeded func() bool
}

// Offer implements seed.Giver.
func (g *seedGiver) Offer(ctx context.Context, resume string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, seedOfferTimeout)
	defer cancel()
	r := &dledgerv1.OfferSeedRequest{Header: g.broker.ledger.Header(g.from), Resume: resume}
	if g.state != nil {
		r.StateOnly, r.Covers = true, int64(g.state.covers)
	}
	resp, err := g.client.OfferSeed(ctx, r)
	return resp.GetManifest(), err
}

// Read implements seed.Giver. It gives up when what was lacking has come otherwise.
func (g *seedGiver) Read(ctx context.Context, id, file string, offset int64, limit int) ([]byte, uint32, error) {
	if g.unneeded() {
		return nil, 0, errSeedUnneeded
	}
	if asked := g.broker.seedPieces.asked; asked != nil {
		asked()
	}
	ctx, cancel := context.WithTimeout(ctx, seedReadTimeout)
	defer cancel()
	resp, err := g.client.ReadSeed(ctx, &dledgerv1.ReadSeedRequest{
		Header: g.broker.ledger.Header(g.from), Id: id, File: file, Offset: offset, MaxBytes: int32(limit),
	})
	g.broker.metrics.seed.bytes.WithLabelValues("received").Add(float64(len(resp.GetData())))
	return resp.GetData(), resp.GetCrc(), err
}
