package state

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// load fills the working state from what is stored.
func (s *Store) load() error {
	s.work = newWorking()
	s.work.spill, s.work.blockFirst = s.spillTo, s.blockFirst
	found, err := s.loadApplied()
	if err != nil {
		return err
	}
	if err := s.checkFormat(found); err != nil || !found {
		return err
	}
	for _, kind := range []struct {
		prefix byte
		load   func(key, value []byte) error
	}{
		{prefixTopic, s.work.loadTopic},
		{prefixTrim, s.work.loadTrim},
		{prefixProducer, s.work.loadProducer},
		{prefixRequest, s.work.loadRequest},
		{prefixWindow, s.work.loadWindow},
		{prefixGroup, s.work.loadGroup},
		{prefixWork, s.work.loadWork},
		{prefixDelayed, s.work.loadDelayed},
	} {
		if err := s.loadAll(kind.prefix, kind.load); err != nil {
			return err
		}
	}
	if err := s.loadTransactions(); err != nil {
		return err
	}
	if err := s.loadAll(prefixKeyIndex, s.work.loadKeyIndex); err != nil {
		return err
	}
	if err := s.loadUses(); err != nil {
		return err
	}
	if err := s.loadLate(); err != nil {
		return err
	}
	return s.loadQueues()
}

func (s *Store) loadApplied() (found bool, err error) {
	value, err := s.get(appliedKey())
	if err != nil || value == nil {
		return false, err
	}
	if s.work.applied, err = parseApplied(value); err != nil {
		return false, s.corrupt(err, "applied index %x", value)
	}
	return true, nil
}

// checkFormat refuses the store of another version, and marks a new one.
func (s *Store) checkFormat(used bool) error {
	value, err := s.get(formatKey())
	switch {
	case err != nil:
		return err
	case value == nil && used:
		return s.corrupt(nil, "it has an applied index but no format")
	case value == nil:
		return s.db.Set(formatKey(), []byte{formatVersion}, pebble.NoSync)
	case len(value) != 1:
		return s.corrupt(errValue, "format %x", value)
	case value[0] != formatVersion:
		return fmt.Errorf("state store %s has format %d, this build knows %d: use the build that made it, or remove the store and let it be applied again",
			s.cfg.Dir, value[0], formatVersion)
	}
	return nil
}

// get returns a copy of a value, nil if there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, s.corrupt(err, "key %q", key)
	}
	value = append([]byte{}, value...)
	return value, closer.Close()
}

func (s *Store) loadAll(prefix byte, load func(key, value []byte) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return fmt.Errorf("state: open store %s: %w", s.cfg.Dir, err)
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		if err = load(it.Key(), it.Value()); err != nil {
			err = s.corrupt(err, "key %q", it.Key())
		}
	}
	if closeErr := it.Close(); closeErr != nil {
		return s.corrupt(closeErr, "keys with prefix %q", prefix)
	}
	return err
}

func (w *working) loadTopic(key, value []byte) error {
	name, err := parseTopicKey(key)
	if err != nil {
		return err
	}
	t, err := parseTopic(name, value)
	if err != nil {
		return err
	}
	for i, q := range t.Queues {
		if q >= w.nextQueue || w.queues[q] != nil || i > 0 && q <= t.Queues[i-1] {
			return errValue
		}
	}
	w.addTopic(t)
	return nil
}

func (w *working) loadProducer(key, value []byte) error {
	id, err := parseProducerKey(key)
	if err != nil {
		return err
	}
	p, err := parseProducer(value)
	if err != nil {
		return err
	}
	w.addProducer(id, p)
	return nil
}

func (w *working) loadRequest(key, value []byte) error {
	index, err := parseRequestKey(key)
	if err != nil {
		return err
	}
	request, outcome, err := parseRequest(value)
	if err != nil {
		return err
	}
	if _, full := w.requests.add(index, request, outcome); full {
		return errors.New("more requests than are remembered")
	}
	return nil
}

func (w *working) loadWindow(key, value []byte) error {
	id, producer, err := parseWindowKey(key)
	if err != nil {
		return err
	}
	q := w.queues[id]
	if q == nil || w.producers[producer] == nil {
		return errors.New("window of an unknown queue or producer")
	}
	window, err := parseWindow(id, producer, value)
	if err != nil {
		return err
	}
	w.addWindow(q, window)
	return nil
}

// loadQueues reads the newest block of each queue and takes its end from there.
func (s *Store) loadQueues() error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixBlock}, UpperBound: prefixEnd(prefixBlock)})
	if err != nil {
		return fmt.Errorf("state: open store %s: %w", s.cfg.Dir, err)
	}
	for id, q := range s.work.queues {
		if !it.SeekLT(appendBlockKey(nil, id+1, 0)) {
			continue
		}
		at, first, keyErr := parseBlockKey(it.Key())
		if keyErr == nil && at != id {
			continue // nothing in this queue yet
		}
		if keyErr == nil {
			keyErr = q.load(first, it.Value(), s.work.index)
		}
		if keyErr != nil {
			err = s.corrupt(keyErr, "block %x", it.Key())
			break
		}
		q.publish()
	}
	for id, q := range s.work.queues {
		if err == nil && q.trimmed > q.end {
			err = s.corrupt(nil, "queue %d is served from offset %d on, but ends at %d", id, q.trimmed, q.end)
		}
	}
	if closeErr := it.Close(); closeErr != nil {
		return s.corrupt(closeErr, "blocks")
	}
	return err
}

// load makes a stored block the open one.
func (q *queue) load(first Offset, value []byte, applied Index) error {
	batches, err := parseBlock(nil, first, value)
	if err != nil {
		return err
	}
	newest := batches[len(batches)-1]
	if newest.Given > applied {
		return fmt.Errorf("it names entry %d, above the applied index %d", newest.Given, applied)
	}
	q.recent = append(make([]Location, 0, 2*recentBatches), batches...)
	q.open = block{first: first, count: len(batches), last: newest.Given, bytes: append([]byte(nil), value...)}
	q.end = newest.BaseOffset + Offset(newest.Count)
	return nil
}
