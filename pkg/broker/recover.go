package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// Holdings is what the data directory of a stopped broker holds.
type Holdings struct {
	*dledger.Holdings
	// Applied is the last entry that the state has applied, and so the last one that is
	// known to be committed; commitlog.NoIndex: the state cannot be read, or is empty.
	Applied commitlog.Index
	// StateTrouble says why the state cannot be read; empty: it can.
	StateTrouble string
}

// Recovery is the record of a recovery without a majority.
type Recovery = dledger.Recovery

// Inspect says what the data directory of a stopped broker holds. Like a start it
// finishes what a crash has left: a seed that was being installed, a torn tail.
func Inspect(cfg Config) (*Holdings, error) {
	var h *Holdings
	err := offline(cfg, func(dir *dataDir, lc dledger.Config) (err error) {
		h, err = inspect(dir, lc)
		return err
	})
	return h, err
}

// Recover makes the broker of a stopped data directory the only member of its group,
// without a majority: see dledger.Recover for what that means. giveUp must name all
// other members.
func Recover(cfg Config, giveUp []string, reason string) (record Recovery, err error) {
	unique, err := uuid.NewRandom()
	if err != nil {
		return record, err
	}
	err = offline(cfg, func(dir *dataDir, lc dledger.Config) error {
		h, err := inspect(dir, lc)
		if err != nil {
			return err
		}
		if h.Applied > h.End && h.Begin > 0 && h.Unfinished == nil {
			return fmt.Errorf("the state has entries up to %d applied, but the ledger ends at %d and does not begin at 0: what lies between was committed "+
				"and is not here; recover on another member", h.Applied, h.End)
		}
		req := dledger.RecoverRequest{Reason: reason, Now: time.Now(), Unique: unique.String(), Applied: h.Applied}
		for _, id := range giveUp {
			req.GiveUp = append(req.GiveUp, member.ID(id))
		}
		record, err = dledger.Recover(lc, req)
		return err
	})
	return record, err
}

func inspect(dir *dataDir, lc dledger.Config) (*Holdings, error) {
	ledger, err := dledger.Inspect(lc)
	if err != nil {
		return nil, err
	}
	h := &Holdings{Holdings: ledger, Applied: commitlog.NoIndex}
	tip, err := state.Inspect(dir.state())
	switch {
	case err == nil:
		h.Applied = commitlog.Index(tip.Index)
	case !errors.Is(err, fs.ErrNotExist):
		h.StateTrouble = err.Error()
	}
	return h, nil
}

// offline does something with a data directory that exists, while no broker uses it.
func offline(cfg Config, do func(*dataDir, dledger.Config) error) error {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validateNames(), cfg.validatePeers()); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	dir, err := openOldDataDir(cfg.Node.Data, cfg.Cluster.ID, cfg.Node.ID)
	if err != nil {
		return err
	}
	if _, err = dir.finishSwitch(); err == nil {
		peers := make(map[member.ID]string)
		for id, addr := range cfg.members() {
			peers[member.ID(id)] = addr
		}
		err = do(dir, dledger.Config{
			Dir: dir.ledger(), ClusterID: cfg.Cluster.ID, Group: group, ID: member.ID(cfg.Node.ID), Incarnation: dir.Incarnation, Peers: peers,
			Log:    commitlog.Config{SegmentBytes: int64(cfg.Storage.SegmentBytes), PageCache: cfg.Durability.Ack == PageCache, FS: cfg.LedgerFS},
			Logger: slog.New(slog.DiscardHandler),
		})
	}
	return errors.Join(err, dir.close())
}
