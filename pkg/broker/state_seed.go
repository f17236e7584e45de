package broker

import (
	"context"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/seed"
)

// A member whose ledger is as it should be, and cannot carry its state on, is given
// another member's state alone (ADR 0015).

// makeStateSeed writes a checkpoint of the state, for a member that has a ledger.
func (b *Broker) makeStateSeed(dir string) (seed.Manifest, error) {
	tip, err := b.checkpoint(dir)
	if err != nil {
		return seed.Manifest{}, err
	}
	origin, err := b.ledger.Origin(commitlog.Index(tip.Index) + 1)
	if err != nil {
		return seed.Manifest{}, fmt.Errorf("where the state stands in the ledger, entry %d: %w", tip.Index, err)
	}
	return b.manifest(origin, tip), nil
}

// offerState is OfferSeed for a state alone. A state that is stuck before what the
// asker needs, or not known to be of the ledger's history, is of no use to it.
func (b *Broker) offerState(ctx context.Context, from string, r *dledgerv1.OfferSeedRequest) (*dledgerv1.OfferSeedResponse, error) {
	applied := int64(b.store.Applied())
	switch {
	case !b.dispatcher.joined.Load(): // which is no word about what it covers
		return nil, status.Errorf(codes.Unavailable, "%s does not know yet whether its own state is of the ledger's history", b.cfg.Node.ID)
	case applied < max(r.GetCovers(), 0):
		return nil, status.Errorf(codes.FailedPrecondition, "the state of %s ends at entry %d, wanted is one that covers %d", b.cfg.Node.ID, applied, r.GetCovers())
	}
	m, err := b.seeds.OfferState(ctx, from, r.GetResume())
	if err != nil {
		b.log.Error("state not offered", "to", from, "error", err)
		return nil, status.Errorf(codes.Unavailable, "no state from %s: %v", b.cfg.Node.ID, err)
	}
	b.metrics.seed.seeds.WithLabelValues("offered").Inc()
	b.log.Info("state offered", "to", from, "id", m.ID(), "applied", m.Applied, "bytes", m.Bytes())
	return &dledgerv1.OfferSeedResponse{Manifest: m.Encode()}, nil
}

// fetchState brings a state that covers what is needed, from whoever has one. If
// nobody has, the entry that is missing here was never applied anywhere.
func (b *Broker) fetchState(ctx context.Context) (*seed.Manifest, error) {
	need := b.need.now.Load()
	if need == nil {
		return nil, errSeedUnneeded
	}
	if m := seed.Staged(b.dir.staged()); m != nil && !m.StateOnly() {
		if err := os.RemoveAll(b.dir.staged()); err != nil {
			return nil, fmt.Errorf("remove what is left of another seed: %w", err)
		}
	}
	var refused []error
	behind := 0
	for _, id := range b.stateGivers() {
		m, err := b.fetchStateFrom(ctx, id, need)
		if err == nil || errors.Is(err, errSeedUnneeded) || ctx.Err() != nil {
			return m, err
		}
		if status.Code(err) == codes.FailedPrecondition {
			behind++
		}
		refused = append(refused, fmt.Errorf("%s: %w", id, err))
	}
	err := errors.Join(refused...)
	if behind == len(b.others()) {
		need.refuse()
		err = fmt.Errorf("%w: see docs/runbooks/damaged-disk.md: %w", errNobodyApplied, err)
	}
	return nil, err
}

// errNobodyApplied means that every other member has said that its state is of no use.
var errNobodyApplied = errors.New("no other member has a state that covers what is missing here")

// stateGivers are the other members, the leader first: its state is the newest.
func (b *Broker) stateGivers() (all []member.ID) {
	leader := b.ledger.Status().Leader
	for _, id := range b.others() {
		switch id := member.ID(id); {
		case id == leader:
			all = append([]member.ID{id}, all...)
		default:
			all = append(all, id)
		}
	}
	return all
}

func (b *Broker) fetchStateFrom(ctx context.Context, id member.ID, need *neededState) (*seed.Manifest, error) {
	conn, ok := b.ledger.PeerConn(id)
	if !ok {
		return nil, fmt.Errorf("member %q is not in the group", id)
	}
	giver := &seedGiver{
		broker: b, from: id, client: dledgerv1.NewSeedServiceClient(conn), state: need,
		unneeded: func() bool { return b.need.now.Load() == nil },
	}
	return b.stageSeed(ctx, giver, func(m *seed.Manifest) error {
		if err := b.acceptState(m, need.covers); err != nil {
			return err
		}
		return b.roomForSeed(m)
	})
}

// acceptState refuses a state that does not go with the ledger here. A state which is
// ahead of the ledger does, if the ledger would not be applied from its beginning
// again: the dispatcher waits, and compares then.
func (b *Broker) acceptState(m *seed.Manifest, covers commitlog.Index) error {
	applied := commitlog.Index(m.Applied)
	begin, end := b.ledger.Begin(), b.ledger.Status().End
	switch {
	case m.ClusterID != b.cfg.Cluster.ID || m.Group != group:
		return fmt.Errorf("%w: it is of group %q in cluster %q", seed.ErrManifest, m.Group, m.ClusterID)
	case !m.StateOnly():
		return fmt.Errorf("%w: it is no state alone", seed.ErrManifest)
	case applied < covers || applied+1 < begin:
		return fmt.Errorf("%w: the state ends at entry %d, needed is %d, and the ledger begins at %d", seed.ErrManifest, applied, covers, begin)
	case m.PrevTerm > int64(b.ledger.Status().Term):
		return fmt.Errorf("%w: its ledger is of term %d, this member is in term %d", seed.ErrManifest, m.PrevTerm, b.ledger.Status().Term)
	case applied > end && begin == 0:
		return fmt.Errorf("%w: the state covers entry %d, the ledger ends at %d", seed.ErrManifest, applied, end)
	case applied > end:
		return nil
	}
	at, err := b.ledger.Origin(applied + 1)
	if at.PrevTerm != commitlog.Term(m.PrevTerm) || err == nil && at.PrevChain != m.PrevChain {
		return fmt.Errorf("%w: at entry %d it is of term %d and chain %08x, the ledger here of %d and %08x",
			seed.ErrManifest, applied, m.PrevTerm, m.PrevChain, at.PrevTerm, at.PrevChain)
	}
	return nil
}

// decideState decides for a state, when the ledger has been closed. The ledger stays:
// nothing is staged for its place.
func (b *Broker) decideState(m *seed.Manifest) error {
	if err := b.acceptState(m, commitlog.Index(m.Applied)); err != nil {
		b.log.Warn("state thrown away", "id", m.ID(), "why", err)
		return os.RemoveAll(b.dir.staged())
	}
	if err := os.RemoveAll(b.dir.stagedLog()); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := writeDurably(b.dir.path, switchMarker, m.Encode()); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	b.log.Info("another member's state is about to be installed", "id", m.ID(), "applied", m.Applied)
	return nil
}
