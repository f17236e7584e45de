package state

import (
	"math"
	"sync/atomic"
)

// producerCounts are what readers see of producers.
type producerCounts struct {
	producers, windows atomic.Int64
	usesFrom           atomic.Int64 // Unix ms
}

func (c *producerCounts) publish(w *working) {
	c.producers.Store(int64(len(w.producers)))
	c.windows.Store(int64(w.windows))
	c.usesFrom.Store(w.usesFrom)
}

// ProducerCounts is how many producers are registered, and how many windows there are:
// one per producer and queue in which it has stored something.
func (s *Store) ProducerCounts() (producers, windows int) {
	return int(s.counts.producers.Load()), int(s.counts.windows.Load())
}

// NotesUses tells whether it is noted when producers are used: an ExpireProducers command
// was applied.
func (s *Store) NotesUses() bool { return s.counts.usesFrom.Load() != 0 }

// IdleProducers lists producers whose last known use, in Unix ms, was before a time,
// the eldest first, at most limit; with anonymous only those without a name. It reads
// all producers. Errors: ErrClosed, ErrCorrupt.
func (s *Store) IdleProducers(before int64, anonymous bool, limit int) (ids []uint64, err error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	from := s.counts.usesFrom.Load()
	if from == 0 || from >= before {
		return nil, nil
	}
	err = s.scanKeys(appendProducerKey(nil, 0), appendProducerKey(nil, math.MaxUint64), func(key, value []byte) (bool, error) {
		id, err := parseProducerKey(key)
		if err != nil {
			return false, err
		}
		p, err := parseProducer(value)
		if err == nil && p.used < before && (!anonymous || p.name == "") {
			ids = append(ids, id)
		}
		return len(ids) < limit, err
	})
	return ids, err
}

// HasWindow tells whether something of a producer is remembered on a queue, as far as
// that has reached Pebble. Errors: ErrClosed, ErrCorrupt.
func (s *Store) HasWindow(q QueueID, producer uint64) (bool, error) {
	if !s.gate.enter() {
		return false, ErrClosed
	}
	defer s.gate.leave()
	value, err := s.get(appendWindowKey(nil, q, producer))
	return value != nil, err
}
