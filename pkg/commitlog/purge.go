package commitlog

import "fmt"

// PurgeBefore deletes the oldest segments whose entries are all below i. What
// remains begins at a segment's first entry, at or below i. The active segment
// is never deleted. Errors: ErrFailed, ErrClosed.
func (l *Log) PurgeBefore(i Index) error {
	l.acquire()
	defer l.release()
	gone, patches, err := l.dropBefore(i)
	if err != nil || len(gone) == 0 {
		return err
	}
	for _, s := range gone {
		if err := l.removeSegment(s); err != nil {
			return l.fail(fmt.Errorf("purge %s: %w", s.path, err))
		}
	}
	if err := l.removePatches(patches); err != nil {
		return l.fail(err)
	}
	l.metrics.measure(l.segments())
	l.cfg.Logger.Info("commit log purged", "segments", len(gone), "begin", l.Begin())
	return nil
}

// dropBefore takes the segments below i out of the log and returns them, oldest
// first, with the repair files that no entry needs any more.
func (l *Log) dropBefore(i Index) ([]*segment, []*patch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return nil, nil, err
	}
	n := max(segmentOf(l.mu.segments, min(i, l.mu.durable.index+1)), 0)
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
