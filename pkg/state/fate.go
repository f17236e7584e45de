package state

import "math"

// Fate is what became of a batch that had to wait.
type Fate struct {
	// Waits is set while it waits; Place is the entry that holds it.
	Waits bool
	Place Index
	// Due is its delivery time, Unix ms; 0: it waits for the end of a transaction of the
	// group TransactionGroup.
	Due              int64
	TransactionGroup uint32
	// Ended is set when its transaction has ended; Committed: it has got the offset Base.
	Ended, Committed bool
	Base             Offset
	// Queue is its queue; 0 for a transaction that was rolled back.
	Queue QueueID
}

// FateOf says what became of the batch that an entry brought and that had to wait; not ok:
// it was delivered or recalled, or its transaction ended too long ago to be remembered. It
// goes through what waits in younger entries, so it is for questions of people.
// Errors: ErrClosed, ErrCorrupt.
func (s *Store) FateOf(id Index) (f Fate, ok bool, err error) {
	if id < 0 {
		return f, false, nil
	}
	if !s.gate.enter() {
		return f, false, ErrClosed
	}
	defer s.gate.leave()
	err = s.scanKeys(appendDelayedKey(nil, id), appendDelayedKey(nil, math.MaxInt64), func(key, value []byte) (bool, error) {
		place, err := parseDelayedKey(key)
		if err != nil {
			return false, err
		}
		b, err := parseDelayed(place, value)
		if err == nil && b.id == id {
			f, ok = Fate{Waits: true, Place: place, Due: b.due, Queue: b.queue}, true
		}
		return !ok, err
	})
	if ok || err != nil {
		return f, ok, err
	}
	err = s.scanKeys(appendMoreKey(nil, prefixHalf, uint64(id)), appendMoreKey(nil, prefixHalf, math.MaxInt64), func(key, value []byte) (bool, error) {
		h, err := parseHalf(key, value)
		if err == nil && h.id == id {
			f, ok = Fate{Waits: true, Place: h.place, TransactionGroup: h.group, Queue: h.queue}, true
		}
		return !ok, err
	})
	if ok || err != nil {
		return f, ok, err
	}
	err = s.scanKeys(appendMoreKey(nil, prefixEnded, uint64(id)), appendMoreKey(nil, prefixEnded, math.MaxInt64), func(_, value []byte) (bool, error) {
		e, err := parseEnded(value)
		if err == nil && e.id == id {
			f, ok = Fate{Ended: true, Committed: e.commit, Base: e.base, Queue: e.queue}, true
		}
		return !ok, err
	})
	return f, ok, err
}
