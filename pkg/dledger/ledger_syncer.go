package dledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// syncLedger makes durable whatever has gathered in the commit log, as often as
// there is something: while one sync runs, the next group gathers. An error is
// final; the process must end, because what the disk holds is not known any more.
func (s *Server) syncLedger(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ledger.Waiting():
		}
		began := time.Now()
		s.syncBegan.Store(&began)
		done, err := s.ledger.Sync()
		s.syncBegan.Store(nil)
		s.lastSync.Store(int64(time.Since(began)))
		if err != nil {
			return fmt.Errorf("sync commit log: %w", err)
		}
		s.deliver(ctx, letter{event: persistedEvent(done, s.baseEpoch)})
	}
}

// persistedEvent tells the member what is durable. The member counts truncations
// from its own start, the log perhaps from an earlier one.
func persistedEvent(p commitlog.Persisted, baseEpoch uint64) member.Persisted {
	return member.Persisted{Index: memberIndex(p.Index), Term: member.Term(p.Term), Epoch: p.Epoch - baseEpoch}
}

// prepareSegments has the next segment file ready before it is needed.
func (s *Server) prepareSegments(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ledger.NeedSegment():
			if err := s.ledger.PrepareSegment(); err != nil {
				return fmt.Errorf("prepare segment: %w", err)
			}
		}
	}
}
