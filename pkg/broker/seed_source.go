package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/seed"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// seedIdle is for how long an offered seed waits for its reader, who may be
	// restarting, or fetching the entries behind it.
	seedIdle = 5 * time.Minute
	// seedLimit ends an offer in any case: it holds back retention.
	seedLimit = 12 * time.Hour
)

// seedService gives lagging members what they need: dledger.v1.SeedService.
type seedService struct {
	dledgerv1.UnsafeSeedServiceServer

	broker *Broker
}

func (b *Broker) newSeedSource() (*seed.Source, error) {
	return seed.NewSource(seed.SourceConfig{
		Dir: b.dir.offers(), Rate: int64(b.cfg.Storage.SeedRate), Idle: seedIdle, Limit: seedLimit, Now: time.Now,
		Begin: func() int64 { return int64(b.ledger.Begin()) },
		Make:  b.makeSeed, MakeState: b.makeStateSeed,
	})
}

// makeSeed writes a checkpoint of the state, and says where the ledger goes on.
func (b *Broker) makeSeed(dir string, begin int64) (seed.Manifest, error) {
	if begin == 0 {
		return seed.Manifest{}, errors.New("nothing is purged here: normal pushes bring everything")
	}
	origin, err := b.ledger.Origin(commitlog.Index(begin))
	if err != nil {
		return seed.Manifest{}, fmt.Errorf("what is before entry %d: %w", begin, err)
	}
	tip, err := b.checkpoint(dir)
	if err != nil {
		return seed.Manifest{}, err
	}
	return b.manifest(origin, tip), nil
}

// checkpoint writes one. It flushes the state's tables first, and keeps those that it
// has shared from being compacted away: there has to be room for that.
func (b *Broker) checkpoint(dir string) (state.Tip, error) {
	if err := b.disk.mayGrow(3 * int64(b.cfg.memTableBytes())); err != nil {
		return state.Tip{}, fmt.Errorf("no room for a checkpoint of the state: %w", err)
	}
	return b.store.Checkpoint(dir)
}

func (b *Broker) manifest(origin commitlog.Origin, tip state.Tip) seed.Manifest {
	return seed.Manifest{
		ClusterID: b.cfg.Cluster.ID, Group: group,
		Begin: int64(origin.Begin), PrevTerm: int64(origin.PrevTerm), PrevChain: origin.PrevChain,
		Applied: int64(tip.Index), AppliedTerm: int64(tip.Term), StateHash: tip.Hash,
		Members: b.ledger.SeedMembers(),
	}
}

// OfferSeed implements dledger.v1.SeedService.
func (s seedService) OfferSeed(ctx context.Context, r *dledgerv1.OfferSeedRequest) (*dledgerv1.OfferSeedResponse, error) {
	b := s.broker
	from, err := b.ledger.CheckPeer(r.GetHeader())
	if err != nil {
		return nil, err
	}
	if r.GetStateOnly() {
		return b.offerState(ctx, string(from), r)
	}
	m, err := b.seeds.Offer(ctx, string(from), r.GetResume())
	if err != nil {
		b.log.Error("seed not offered", "to", string(from), "error", err)
		return nil, status.Errorf(codes.Unavailable, "no seed from %s: %v", b.cfg.Node.ID, err)
	}
	b.ledger.SeedOffered(from)
	b.metrics.seed.seeds.WithLabelValues("offered").Inc()
	b.log.Info("seed offered", "to", string(from), "id", m.ID(), "resumed", m.ID() == r.GetResume(),
		"begin", m.Begin, "applied", m.Applied, "files", len(m.Files), "bytes", m.Bytes())
	return &dledgerv1.OfferSeedResponse{Manifest: m.Encode()}, nil
}

// ReadSeed implements dledger.v1.SeedService.
func (s seedService) ReadSeed(ctx context.Context, r *dledgerv1.ReadSeedRequest) (*dledgerv1.ReadSeedResponse, error) {
	b := s.broker
	from, err := b.ledger.CheckPeer(r.GetHeader())
	if err != nil {
		return nil, err
	}
	data, crc, err := b.seeds.Read(ctx, string(from), r.GetId(), r.GetFile(), r.GetOffset(), int(r.GetMaxBytes()))
	switch {
	case errors.Is(err, seed.ErrUnknownSeed):
		return nil, status.Error(codes.NotFound, err.Error())
	case err != nil:
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	b.metrics.seed.bytes.WithLabelValues("sent").Add(float64(len(data)))
	return &dledgerv1.ReadSeedResponse{Crc: crc, Data: data}, nil
}

// expireSeeds drops the offers that nobody reads any more.
func (b *Broker) expireSeeds(ctx context.Context) error {
	tick := time.NewTicker(seedIdle / 5)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if n, err := b.seeds.Expire(); err != nil {
			b.log.Error("seed not removed", "error", err)
		} else if n > 0 {
			b.log.Info("seeds dropped that nobody reads", "count", n)
		}
	}
}
