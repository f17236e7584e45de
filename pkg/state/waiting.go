package state

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// Waiting is what readers see of the batches that have no offsets yet.
type Waiting struct {
	// Delayed is how many batches wait for their delivery time, NextDue the earliest
	// of those, Unix ms; 0: none waits.
	Delayed int
	NextDue int64
	// Transactions is how many are open.
	Transactions int
	// Moved counts the half messages that were carried forward since the store was opened.
	Moved int64
	// Groups is how many transaction groups are registered, from 1 on.
	Groups int
}

func (w *working) waiting() *Waiting {
	v := &Waiting{Delayed: len(w.delays.byID), Transactions: len(w.open.byID), Moved: w.open.moved, Groups: len(w.open.names)}
	if next := w.delays.next(); next != nil {
		v.NextDue = next.due
	}
	return v
}

// Waiting tells what waits, as of the last Apply.
func (s *Store) Waiting() Waiting { return *s.waiting.Load() }

// Held is a batch that waits, and the entry that holds it.
type Held struct {
	ID    Index // of the entry that brought it
	Place Index // the entry that holds it now
}

// HeldBefore lists the batches that wait in entries before the given one, the
// oldest entries of each kind first, at most limit. Errors: ErrClosed, ErrCorrupt.
func (s *Store) HeldBefore(before Index, limit int) (held []Held, err error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	bounds := [2][]byte{appendDelayedKey(nil, 0), appendDelayedKey(nil, max(0, before))}
	err = s.scanKeys(bounds[0], bounds[1], func(key, value []byte) (bool, error) {
		place, err := parseDelayedKey(key)
		if err != nil {
			return false, err
		}
		b, err := parseDelayed(place, value)
		if err != nil {
			return false, err
		}
		held = append(held, Held{ID: b.id, Place: place})
		return len(held) < limit, nil
	})
	if err != nil {
		return nil, err
	}
	err = s.scanKeys(appendMoreKey(nil, prefixHalf, 0), appendMoreKey(nil, prefixHalf, uint64(max(0, before))), func(key, value []byte) (bool, error) {
		h, err := parseHalf(key, value)
		if err != nil {
			return false, err
		}
		if len(held) < limit {
			held = append(held, Held{ID: h.id, Place: h.place})
		}
		return len(held) < limit, nil
	})
	return held, err
}

// Floor is the first entry that must stay when everything that got its offsets
// before the given entry may go: nothing that waits is purged, and what has waited
// stays as long as what was published when it was delivered.
// Errors: ErrClosed, ErrCorrupt.
func (s *Store) Floor(before Index) (Index, error) {
	if !s.gate.enter() {
		return 0, ErrClosed
	}
	defer s.gate.leave()
	floor := before
	err := s.scanKeys(appendDelayedKey(nil, 0), appendDelayedKey(nil, math.MaxInt64), func(key, _ []byte) (bool, error) {
		place, err := parseDelayedKey(key)
		floor = min(floor, place)
		return false, err
	})
	if err != nil {
		return 0, err
	}
	err = s.scanKeys(appendMoreKey(nil, prefixHalf, 0), appendMoreKey(nil, prefixHalf, math.MaxInt64), func(key, _ []byte) (bool, error) {
		place, err := parseMoreKey(key, prefixHalf)
		floor = min(floor, Index(place))
		return false, err
	})
	if err != nil {
		return 0, err
	}
	err = s.scanKeys(appendLateKey(nil, before>>lateShift), appendLateKey(nil, math.MaxInt64), func(_, value []byte) (bool, error) {
		oldest, err := parseLate(value)
		floor = min(floor, oldest)
		return true, err
	})
	return floor, err
}

// RemembersLate tells whether it is remembered of entries before one which old entries hold
// batches that they gave their offsets: ForgetLate forgets that. Errors: ErrClosed, ErrCorrupt.
func (s *Store) RemembersLate(before Index) (remembers bool, err error) {
	if !s.gate.enter() {
		return false, ErrClosed
	}
	defer s.gate.leave()
	err = s.scanKeys(appendLateKey(nil, 0), appendLateKey(nil, max(0, before)>>lateShift), func(_, _ []byte) (bool, error) {
		remembers = true
		return false, nil
	})
	return remembers, err
}

// scanKeys calls visit for each pair from one key up to before another, until it
// says no. Errors of visit are about the store.
func (s *Store) scanKeys(from, to []byte, visit func(key, value []byte) (bool, error)) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("state: read keys from %q on: %w", from, err)
	}
	for ok, more := it.First(), true; ok && more && err == nil; ok = it.Next() {
		if more, err = visit(it.Key(), it.Value()); err != nil {
			err = s.corrupt(err, "key %q", it.Key())
		}
	}
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = s.corrupt(closeErr, "keys from %q on", from)
	}
	return err
}

func parseLate(v []byte) (Index, error) {
	if len(v) != 1+8 || v[0] != valueVersion {
		return 0, errValue
	}
	if n := binary.BigEndian.Uint64(v[1:]); n <= math.MaxInt64 {
		return Index(n), nil
	}
	return 0, errValue
}

// loadLate finds the newest bucket.
func (s *Store) loadLate() error {
	s.work.late = newLate()
	return s.scanKeys(appendLateKey(nil, s.work.index>>lateShift), appendLateKey(nil, math.MaxInt64), func(_, value []byte) (bool, error) {
		oldest, err := parseLate(value)
		s.work.late = late{bucket: s.work.index >> lateShift, oldest: oldest}
		return false, err
	})
}

func (w *working) loadDelayed(key, value []byte) error {
	place, err := parseDelayedKey(key)
	if err != nil {
		return err
	}
	b, err := parseDelayed(place, value)
	if err != nil {
		return err
	}
	if w.queues[b.queue] == nil || w.delays.byID[b.id] != nil || place > w.index {
		return errValue
	}
	w.delays.add(b)
	return nil
}

// RaiseFirst says that a queue begins at an offset or later on this member: what
// stands below was purged. It never falls.
func (s *Store) RaiseFirst(q QueueID, first Offset) {
	if found := s.catalog.Load().queues[q]; found != nil {
		found.raise(first)
	}
}
