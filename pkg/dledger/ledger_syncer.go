package dledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// sealAfter is how long nothing is written until the log is sealed. A seal is one
// block and one sync, and an append that comes meanwhile waits for them.
const sealAfter = 100 * time.Millisecond

// syncLedger makes durable whatever has gathered in the commit log, as often as
// there is something: while one sync runs, the next group gathers. An error is
// final; the process must end, because what the disk holds is not known any more.
//
// When nothing has come for a while it seals the log once, so that the last group
// is known to have been durable whatever happens to it later.
func (s *Server) syncLedger(ctx context.Context) error {
	idle := time.NewTimer(sealAfter)
	defer idle.Stop()
	if r := s.ledger.Recovery(); r.Created || r.Clean {
		idle.Stop() // there is nothing to seal yet
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-idle.C:
			if err := s.timeSync(s.ledger.Seal); err != nil {
				return fmt.Errorf("seal commit log: %w", err)
			}
			continue
		case <-s.ledger.Waiting():
		}
		var done commitlog.Persisted
		err := s.timeSync(func() (err error) {
			done, err = s.ledger.Sync()
			return err
		})
		if err != nil {
			return fmt.Errorf("sync commit log: %w", err)
		}
		s.deliver(ctx, letter{event: persistedEvent(done, s.baseEpoch)})
		idle.Reset(sealAfter)
	}
}

// timeSync shows how long the disk takes, also while it does.
func (s *Server) timeSync(sync func() error) error {
	began := time.Now()
	s.syncBegan.Store(&began)
	err := sync()
	s.syncBegan.Store(nil)
	s.lastSync.Store(int64(time.Since(began)))
	return err
}

// persistedEvent tells the member what is durable. The member counts truncations
// from its own start, the log perhaps from an earlier one.
func persistedEvent(p commitlog.Persisted, baseEpoch uint64) member.Persisted {
	return member.Persisted{Index: memberIndex(p.Index), Term: member.Term(p.Term), Epoch: p.Epoch - baseEpoch}
}

// prepareSegments has the next segment file ready before it is needed. Where that
// fails it is not the end: the sync that needs the file tries again, and only its
// error is final.
func (s *Server) prepareSegments(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ledger.NeedSegment():
			err := s.ledger.PrepareSegment()
			if err == nil || errors.Is(err, commitlog.ErrClosed) {
				continue
			}
			s.metrics.prepareErrors.Inc()
			if s.complaints.fresh("prepare segment", time.Now()) {
				s.log.Error("the next segment of the commit log could not be prepared: is the disk full?", "err", err)
			}
		}
	}
}
