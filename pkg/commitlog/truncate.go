package commitlog

import (
	"errors"
	"fmt"
	"time"
)

// TruncateFrom drops entry i and all after it; the log then ends at i-1. SLAVE
// only: a leader never overwrites its own log. It waits for a Sync in flight
// and returns when the truncation is durable. i is Begin to End+1; End+1
// changes nothing. Where entry i-1 is faulty it is an ErrFaulty, and nothing has
// changed: the history could not be chained on. Errors: ErrNotSlave, ErrPurged, ErrBeyondEnd, ErrFailed, ErrClosed.
//
// On disk it is one frame at the end of the segment that holds entry i, then
// the removal of the segments after it; the outlines of them all go before. A crash in between leaves that frame
// last in its segment, and Open finishes the removal.
func (l *Log) TruncateFrom(i Index) error {
	l.acquire()
	defer l.release()
	at, err := l.tipBefore(i)
	if err != nil {
		return err
	}
	later, onDisk, err := l.cut(at)
	if err != nil || !onDisk {
		return err
	}
	if err := l.removeOutlines(append(later, l.w.active)...); err != nil {
		return l.fail(fmt.Errorf("truncate from entry %d: %w", i, err))
	}
	if err := l.writeMark(l.w.active, groupTruncate, 0, at); err != nil {
		return l.fail(fmt.Errorf("truncate from entry %d: %w", i, err))
	}
	for n := len(later) - 1; n >= 0; n-- {
		if err := l.removeSegment(later[n]); err != nil {
			return l.fail(fmt.Errorf("truncate from entry %d: %w", i, err))
		}
	}
	l.metrics.measure(l.segments())
	return nil
}

// Truncatable says whether damage stands in the way of TruncateFrom(i): an
// ErrFaulty, as there. It reads entry i-1 where its chain is not in memory. Other
// errors as Read's.
func (l *Log) Truncatable(i Index) error {
	if err := l.refuseHole(i); err != nil {
		return err
	}
	_, err := l.ChainAt(i - 1)
	return err
}

// refuseHole refuses a truncation from entry i if no file could take its frame.
func (l *Log) refuseHole(i Index) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refuseHoleLocked(i)
}

func (l *Log) refuseHoleLocked(i Index) error {
	if g := l.mu.gaps.at(i); g != nil && g.hole {
		return fmt.Errorf("truncate: %w", &FaultyError{g.faultyRange()})
	}
	return nil
}

// tipBefore is what the log's end would be if entry i and all after it went.
func (l *Log) tipBefore(i Index) (tip, error) {
	if err := l.mayTruncate(i); err != nil {
		return tip{}, err
	}
	at := tip{index: i - 1}
	var err error
	if at.chain, err = l.chainAt(at.index, false); err != nil {
		return tip{}, errors.Join(err, l.distrustAt(at.index, err))
	}
	at.term, err = l.TermAt(at.index)
	return at, err
}

func (l *Log) mayTruncate(i Index) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return err
	}
	if l.mu.role != slave {
		return ErrNotSlave
	}
	if i == l.mu.end.index+1 {
		return nil
	}
	if err := l.refuseHoleLocked(i); err != nil {
		return err
	}
	return l.hasLocked(i)
}

// cut drops the entries after `at` from memory and from the index, makes the
// segment that then holds the end the active one, and returns the segments
// after it. onDisk says whether any of the entries had been written.
func (l *Log) cut(at tip) (later []*segment, onDisk bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.role != slave {
		return nil, false, ErrNotSlave
	}
	if at.index >= l.mu.end.index {
		return nil, false, nil
	}
	at.time = l.mu.end.time // append times do not run backwards, not even here
	l.mu.end, l.mu.waitingSince = at, time.Time{}
	l.mu.epoch++
	l.mu.runs = runsBefore(l.mu.runs, at.index+1)
	l.mu.tail.truncate(at.index + 1)
	l.mu.gaps = l.mu.gaps.truncate(at)
	l.countFaultyLocked()
	if at.index >= l.mu.durable.index {
		return nil, false, nil
	}
	l.mu.durable = at
	n := segmentOf(l.mu.segments, at.index+1)
	later = append(later, l.mu.segments[n+1:]...)
	clear(l.mu.segments[n+1:])
	l.mu.segments = l.mu.segments[:n+1]
	l.w.active = l.mu.segments[n]
	l.w.active.index.truncate(at.index + 1)
	return later, true, nil
}

// removeSegment deletes a segment's file. The directory is synced each time:
// after a crash the segments must still be one consecutive range.
func (l *Log) removeSegment(s *segment) error {
	if err := l.removeFile(s); err != nil {
		return err
	}
	if err := l.removeOutline(s); err != nil {
		return err
	}
	return l.cfg.FS.SyncDir(l.cfg.Dir)
}

func (l *Log) removeFile(s *segment) error {
	if err := s.file.Close(); err != nil {
		return err
	}
	return l.cfg.FS.Remove(s.path)
}

func (l *Log) segments() []*segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*segment(nil), l.mu.segments...)
}
