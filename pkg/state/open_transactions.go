package state

import "math"

// Transaction is one that is open.
type Transaction struct {
	ID     Index // of the entry that brought its half message
	Place  Index // the entry that holds that now
	Queue  QueueID
	Group  uint32
	UnixMs int64 // when it was begun, by the leader's clock
}

// OpenTransactions lists those whose half messages are in entries after one, the oldest
// entries first, at most limit. Errors: ErrClosed, ErrCorrupt.
func (s *Store) OpenTransactions(after Index, limit int) (open []Transaction, err error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	err = s.scanKeys(appendMoreKey(nil, prefixHalf, uint64(after+1)), appendMoreKey(nil, prefixHalf, math.MaxInt64), func(key, value []byte) (bool, error) {
		h, err := parseHalf(key, value)
		if err == nil {
			open = append(open, h.transaction())
		}
		return len(open) < limit, err
	})
	return open, err
}

// OpenTransaction tells whether the half message of an open transaction is in an entry.
// Errors: ErrClosed, ErrCorrupt.
func (s *Store) OpenTransaction(place Index) (open bool, err error) {
	if !s.gate.enter() {
		return false, ErrClosed
	}
	defer s.gate.leave()
	value, err := s.get(appendMoreKey(nil, prefixHalf, uint64(place)))
	return value != nil, err
}

func (h *half) transaction() Transaction {
	return Transaction{ID: h.id, Place: h.place, Queue: h.queue, Group: h.group, UnixMs: h.unixMs}
}

// loadTransactions reads groups, open transactions and ended ones.
func (s *Store) loadTransactions() error {
	w := &s.work
	for _, kind := range []struct {
		prefix byte
		load   func(n uint64, key, value []byte) error
	}{
		{prefixTransactionGroup, w.loadTransactionGroup},
		{prefixHalf, w.loadHalf},
		{prefixEnded, w.loadEnded},
	} {
		err := s.scanKeys(appendMoreKey(nil, kind.prefix, 0), appendMoreKey(nil, kind.prefix, math.MaxInt64), func(key, value []byte) (bool, error) {
			n, err := parseMoreKey(key, kind.prefix)
			if err == nil {
				err = kind.load(n, key, value)
			}
			return true, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *working) loadTransactionGroup(n uint64, _, value []byte) error {
	r := valueReader{b: value}
	r.version()
	name := r.text()
	if err := r.end(); err != nil || name == "" || w.open.groups[name] != 0 || n != uint64(len(w.open.names))+1 {
		return errValue
	}
	w.open.addGroup(name)
	return nil
}

func (w *working) loadHalf(_ uint64, key, value []byte) error {
	h, err := parseHalf(key, value)
	if err != nil {
		return err
	}
	if w.queues[h.queue] == nil || w.open.byID[h.id] != nil || h.place > w.index || int(h.group) > len(w.open.names) {
		return errValue
	}
	w.open.add(h)
	return nil
}

func (w *working) loadEnded(n uint64, _, value []byte) error {
	e, err := parseEnded(value)
	if err != nil {
		return err
	}
	if _, full := w.open.remember(Index(n), e); full || Index(n) > w.index {
		return errValue
	}
	return nil
}
