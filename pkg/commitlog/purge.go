package commitlog

import "fmt"

// PurgeBefore deletes the oldest segments whose entries are all below i. What
// remains begins at a segment's first entry, at or below i. The active segment
// is never deleted, nor is one while the damaged header of the next can only be made
// from it. It waits for a Sync in flight, but no Sync waits for files that are being
// deleted, which takes milliseconds each. Errors: ErrFailed, ErrClosed.
func (l *Log) PurgeBefore(i Index) error {
	l.purging <- struct{}{}
	defer func() { <-l.purging }()
	gone, patches, err := l.dropBefore(i)
	if err != nil || len(gone) == 0 {
		return err
	}
	for _, s := range gone {
		if err := l.removePurged(s); err != nil {
			return l.fail(fmt.Errorf("purge %s: %w", s.path, err))
		}
	}
	if err := l.removePatches(patches); err != nil {
		return l.fail(err)
	}
	l.cfg.Logger.Info("commit log purged", "segments", len(gone), "begin", l.Begin())
	return nil
}

// removePurged is removeSegment without the token: nobody else uses what is not of the log
// any more. Only its outline may be distrusted meanwhile, by a read that had begun before.
func (l *Log) removePurged(s *segment) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	if err := l.usable(); err != nil {
		return err // a Sync has failed meanwhile: nothing is written any more
	}
	if err := l.removeFile(s); err != nil {
		return err
	}
	if err := l.removePurgedOutline(s); err != nil {
		return err
	}
	return l.cfg.FS.SyncDir(l.cfg.Dir)
}

func (l *Log) removePurgedOutline(s *segment) error {
	l.acquire()
	defer l.release()
	return l.removeOutline(s)
}

// dropBefore takes the segments below i out of the log and returns them, oldest
// first, with the repair files that no entry needs any more.
func (l *Log) dropBefore(i Index) ([]*segment, []*patch, error) {
	l.acquire()
	defer l.release()
	gone, patches, err := l.dropLocked(i)
	if len(gone) > 0 {
		l.metrics.measure(l.segments())
	}
	return gone, patches, err
}

// dropLocked is dropBefore for the holder of the token.
func (l *Log) dropLocked(i Index) ([]*segment, []*patch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, nil, err
	}
	n := max(segmentOf(l.mu.segments, min(i, l.mu.durable.index+1)), 0)
	for n > 0 && l.mu.segments[n].w.headless {
		n-- // the next Open needs what stands before it
	}
	if n == 0 {
		return nil, nil, nil
	}
	gone := append([]*segment(nil), l.mu.segments[:n]...)
	l.mu.segments = append([]*segment(nil), l.mu.segments[n:]...)
	l.mu.begin = l.mu.segments[0].base
	l.mu.prevTerm = l.mu.segments[0].prevTerm
	l.mu.runs = runsFrom(l.mu.runs, l.mu.begin, l.mu.end.index)
	l.mu.gaps = l.mu.gaps.from(l.mu.begin)
	l.countFaultyLocked()
	return gone, l.dropPatchesLocked(), nil
}
