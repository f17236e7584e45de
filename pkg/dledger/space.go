package dledger

import (
	"context"
	"errors"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// spaceRetry is how often the next segment is tried again on a full disk.
const spaceRetry = time.Second

// prepareSegments has the next segment file ready before it is needed. Where that
// fails it is not the end: the sync that needs the file tries again, and only its
// error is final. On a full disk it tries again until there is space.
func (s *Server) prepareSegments(ctx context.Context) error {
	retry := time.NewTimer(spaceRetry)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.ledger.NeedSegment():
		case <-s.space.wanted:
		case <-retry.C:
			if s.NoSpace() == nil {
				continue // it was not tried for want of space, or has been had since
			}
		}
		err := s.ledger.PrepareSegment()
		if errors.Is(err, commitlog.ErrClosed) {
			continue
		}
		s.noteSpace(err)
		if errors.Is(err, commitlog.ErrNoSpace) {
			retry.Reset(spaceRetry)
		}
	}
}

// spaceWatch is what segment preparer and ledger syncer know about the disk's space.
type spaceWatch struct {
	wanted chan struct{} // capacity 1: a sync needs the next segment
	freed  chan struct{} // capacity 1: it is there
}

func newSpaceWatch() spaceWatch {
	return spaceWatch{wanted: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// NoSpace is why the commit log cannot get its next segment; nil: nothing is known
// against it. What is in the log by then goes on being written while the segment
// that it has is not full.
func (s *Server) NoSpace() error {
	if err := s.noSpace.Load(); err != nil {
		return *err
	}
	return nil
}

// noteSpace draws the consequences of a try to prepare a segment.
func (s *Server) noteSpace(err error) {
	full := errors.Is(err, commitlog.ErrNoSpace)
	before := s.NoSpace()
	switch {
	case full:
		s.noSpace.Store(&err)
		s.cfg.OnSpace(err)
	case before != nil && err == nil:
		s.noSpace.Store(nil)
		s.cfg.OnSpace(nil)
		s.log.Info("the next segment of the commit log has its space again")
	}
	if err == nil {
		signal(s.space.freed)
		return
	}
	s.metrics.prepareErrors.Inc()
	if s.complaints.fresh("prepare segment", time.Now()) {
		s.log.Error("the next segment of the commit log could not be prepared", "disk_full", full, "err", err)
	}
}

// awaitSpace waits until the next segment is there, or for a while: what waits may
// have been truncated and its successor fit. Then the sync is tried again.
func (s *Server) awaitSpace(ctx context.Context, err error) {
	if s.complaints.fresh("sync without space", time.Now()) {
		s.log.Error("the commit log is at the end of its last segment and the disk is full: nothing more is made durable here until there is space", "err", err)
	}
	signal(s.space.wanted)
	again := time.NewTimer(spaceRetry)
	defer again.Stop()
	select {
	case <-s.space.freed:
	case <-again.C:
	case <-ctx.Done():
	}
	s.ledger.SyncAgain()
}

// signal makes sure that a channel of capacity 1 holds a signal.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
