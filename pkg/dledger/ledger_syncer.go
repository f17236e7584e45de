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
//
// A disk without space for the next segment is no error: the group waits, nothing
// is reported durable, and the member goes on voting and following meanwhile.
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
		switch done, err := s.syncGroup(); {
		case errors.Is(err, commitlog.ErrNoSpace):
			s.awaitSpace(ctx, err)
		case err != nil:
			return fmt.Errorf("sync commit log: %w", err)
		default:
			s.deliver(ctx, letter{event: persistedEvent(done, s.baseEpoch)})
			idle.Reset(sealAfter)
		}
	}
}

func (s *Server) syncGroup() (done commitlog.Persisted, err error) {
	err = s.timeSync(func() (err error) {
		done, err = s.ledger.Sync()
		return err
	})
	return done, err
}

// timeSync shows how long the disk takes, also while it does.
func (s *Server) timeSync(sync func() error) error {
	began := time.Now()
	s.syncBegan.Store(&began)
	err := sync()
	s.syncBegan.Store(nil)
	took := time.Since(began)
	s.lastSync.Store(int64(took))
	s.syncTimes.add(took)
	return err
}

// persistedEvent tells the member what is durable. The member counts truncations
// from its own start, the log perhaps from an earlier one.
func persistedEvent(p commitlog.Persisted, baseEpoch uint64) member.Persisted {
	return member.Persisted{Index: memberIndex(p.Index), Term: member.Term(p.Term), Epoch: p.Epoch - baseEpoch}
}
