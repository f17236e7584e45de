package dledger

import (
	"context"
	"errors"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// spaceRetry is how often the next segment is tried again on a full disk.
const spaceRetry = time.Second

// prepareSegments has the next segment file ready before it is needed, and gives those that
// are full their outlines. Where that
// fails it is not the end: the sync that needs the file tries again, and only its
// error is final. On a full disk it tries again until there is space.
func (s *Server) prepareSegments(ctx context.Context) error {
	retry, zero := time.NewTimer(spaceRetry), time.NewTimer(zeroEvery)
	defer retry.Stop()
	defer zero.Stop()
	zeroing := true // the timer runs
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-zero.C:
			if zeroing = s.zeroAhead(); zeroing {
				zero.Reset(zeroEvery)
			}
			continue
		case <-s.ledger.NeedZeros():
			if !zeroing {
				zeroing = true
				zero.Reset(zeroEvery)
			}
			continue
		case <-s.ledger.NeedOutlines():
			s.writeOutline()
			continue
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
		zeroing = true
		zero.Reset(zeroEvery)
		if errors.Is(err, commitlog.ErrNoSpace) {
			retry.Reset(spaceRetry)
		}
	}
}

// writeOutline has the next start read less. Nothing else depends on it. The log asks again
// while there is more to do: a segment that is needed does not wait for all of it.
func (s *Server) writeOutline() {
	_, err := s.ledger.WriteOutline()
	if err != nil && !errors.Is(err, commitlog.ErrClosed) && s.complaints.fresh("outlines", time.Now()) {
		s.log.Warn("cannot write what the sealed segments of the commit log hold: the next start will read them", "err", err)
	}
}

// Zeros are written ahead of the log at 32 MiB a second, half a segment ahead at most,
// and only while nothing waits to be written. Even so they cost the entries that come
// meanwhile a part of a millisecond, and the sync after them a commit of the file system:
// while there is traffic they keep zeroInUse in front of it, and get further only when
// there is none.
const (
	zeroEvery = 8 * time.Millisecond
	zeroBytes = 256 << 10
	zeroInUse = 16 << 20
	zeroStill = 1 << 40 // the log has a bound of its own
	zeroQuiet = time.Second
)

// zeroAhead does a piece of that; false: there is nothing left, or it is of no use.
func (s *Server) zeroAhead() (more bool) {
	ahead := int64(zeroInUse)
	if end, _ := s.ledger.End(); end != s.space.zeroEnd {
		s.space.zeroEnd, s.space.zeroSince = end, time.Now()
	} else if time.Since(s.space.zeroSince) > zeroQuiet {
		ahead = zeroStill
	}
	more, err := s.ledger.ZeroAhead(zeroBytes, ahead)
	if err != nil && !errors.Is(err, commitlog.ErrClosed) && s.complaints.fresh("zeros ahead", time.Now()) {
		s.log.Warn("cannot write zeros ahead of the commit log: its own writes will be slower", "err", err)
	}
	return more && err == nil
}

// spaceWatch is what segment preparer and ledger syncer know about the disk's space.
type spaceWatch struct {
	wanted chan struct{} // capacity 1: a sync needs the next segment
	freed  chan struct{} // capacity 1: it is there

	// Of the segment preparer.
	zeroEnd   commitlog.Index // where the log ended when it last looked
	zeroSince time.Time       // since when it has ended there
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
