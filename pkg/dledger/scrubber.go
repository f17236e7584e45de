package dledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// scrubBytes is how much the scrub reads at a time.
const scrubBytes = 256 << 10

// scrubLedger reads the sealed part of the log again and again, at ScrubRate, so
// that damage is found while peers still have good copies. What it finds becomes
// faulty, and the log says so to the repair.
func (s *Server) scrubLedger(ctx context.Context) error {
	if s.cfg.ScrubRate <= 0 {
		return nil
	}
	next := commitlog.Index(0)
	for ctx.Err() == nil {
		after, size, done, err := s.ledger.Scrub(next, scrubBytes)
		corruption := (*commitlog.CorruptionError)(nil)
		switch {
		case errors.Is(err, commitlog.ErrClosed):
			return nil
		case errors.As(err, &corruption):
			// What exactly is damaged cannot be told while the log is open. The log
			// has reported and counted it; the rest is worth knowing too. It may stand
			// before what was asked for, where the way there begins.
			after = max(corruption.Index, after) + 1
		case err != nil:
			return fmt.Errorf("scrub the commit log: %w", err)
		}
		next = after
		if done {
			next = 0
			pause(ctx, s.cfg.ScrubPause)
			continue
		}
		pause(ctx, timeFor(int(size), s.cfg.ScrubRate))
	}
	return nil
}
