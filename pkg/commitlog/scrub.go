package commitlog

import (
	"errors"
	"os"
)

// Scrub reads entries of sealed segments from `from` on, about maxBytes of them
// (at most 1 MiB, unless one entry is larger), and verifies their CRCs, so that
// damage is found while other members still have good copies. It returns the
// entry to go on with and how many bytes it has read; done says that there is
// nothing more to read. What it finds becomes faulty, as by Read, and is no
// error; with a log that tolerates no damage it is a *CorruptionError, or the I/O error.
// So it is where a second look at what was damaged sees nothing, but the next reading does.
// Other errors: ErrClosed, an I/O error.
func (l *Log) Scrub(from Index, maxBytes int) (next Index, size int64, done bool, err error) {
	for marked := NoIndex; ; {
		next, plan, done, err := l.planScrub(from, maxBytes)
		if err != nil || done {
			return next, 0, done, err
		}
		f, err := plan.read()
		l.reportHealed(plan.path, plan.healed)
		if errors.Is(err, os.ErrClosed) {
			return next, 0, false, nil // purged or truncated meanwhile: ask again
		}
		if l.metDamage("scrub", plan, err) {
			// Each time around it must get on, or it would read the same for ever.
			if at := damageIndex(err, next); at > marked && l.markDamage(plan, err) {
				from, marked = next, at
				continue
			}
		}
		if err != nil {
			return next, 0, false, l.distrustUnread(plan, err)
		}
		l.metrics.scrubbed.Add(float64(len(f.Bytes)))
		return f.Last + 1, int64(len(f.Bytes)), false, nil
	}
}

// planScrub says what to read next: never from memory, and not what is known to
// be faulty.
func (l *Log) planScrub(from Index, maxBytes int) (next Index, plan *readPlan, done bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return from, nil, false, ErrClosed
	}
	from = max(from, l.mu.begin)
	last := l.mu.segments[len(l.mu.segments)-1].base - 1
	for g := l.mu.gaps.at(from); g != nil && g.patch == nil; g = l.mu.gaps.at(from) {
		from = g.last + 1
	}
	if from > last {
		return from, nil, true, nil
	}
	_, plan, err = l.planFileLocked(from, last, min(maxBytes, maxReadBytes))
	return from, plan, false, err
}
