package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// Locate says where the batches of queue q are, in order, beginning with the one
// that holds offset from; at most limit of them, none when from is the queue's
// end. The slice is shared and must not be changed.
// Errors: ErrUnknownQueue, ErrOffsetTooLow, ErrOffsetTooHigh, ErrClosed, ErrCorrupt.
func (s *Store) Locate(q QueueID, from Offset, limit int) ([]Location, error) {
	found := s.catalog.Load().queues[q]
	if found == nil {
		return nil, ErrUnknownQueue
	}
	view := found.view.Load()
	switch {
	case from < Offset(found.first.Load()):
		return nil, ErrOffsetTooLow
	case from > view.end:
		return nil, ErrOffsetTooHigh
	case from == view.end || limit <= 0:
		return nil, nil
	}
	if batches, ok := view.find(from, limit); ok {
		return batches, nil
	}
	batches, err := s.locateStored(q, from, view.end, limit)
	if err == nil && (len(batches) == 0 || batches[0].BaseOffset > from) {
		err = s.corrupt(nil, "queue %d ends at %d, but offset %d is in no block", q, view.end, from)
	}
	switch {
	case err != nil && found.gone.Load():
		return nil, ErrUnknownQueue // removed while we were looking
	case err != nil && from < Offset(found.first.Load()):
		return nil, ErrOffsetTooLow // trimmed while we were looking
	}
	return batches, err
}

// locateStored is Locate for offsets that only Pebble knows.
func (s *Store) locateStored(q QueueID, from, end Offset, limit int) (batches []Location, err error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: appendBlockKey(nil, q, 0), UpperBound: appendBlockKey(nil, q+1, 0),
	})
	if err != nil {
		return nil, fmt.Errorf("state: locate offset %d of queue %d: %w", from, q, err)
	}
	batches, err = s.scan(it, q, from, end, limit)
	if closeErr := it.Close(); closeErr != nil {
		return nil, s.corrupt(closeErr, "blocks of queue %d", q)
	}
	return batches, err
}

// scan collects the batches that hold from and what follows, below end: blocks
// may already hold more than the view that the caller saw.
func (s *Store) scan(it *pebble.Iterator, q QueueID, from, end Offset, limit int) ([]Location, error) {
	var out []Location
	for ok := it.SeekLT(appendBlockKey(nil, q, from+1)); ok; ok = it.Next() {
		_, first, err := parseBlockKey(it.Key())
		if err != nil {
			return nil, s.corrupt(err, "block key %x", it.Key())
		}
		begin := len(out)
		out, err = parseBlock(out, first, it.Value())
		if err != nil {
			return nil, s.corrupt(err, "block of queue %d at offset %d", q, first)
		}
		if begin == 0 {
			out = dropBelow(out, from)
		}
		if n := len(out); n >= limit || (n > 0 && out[n-1].BaseOffset >= end) {
			break
		}
	}
	out = out[:min(len(out), limit)]
	for len(out) > 0 && out[len(out)-1].BaseOffset >= end {
		out = out[:len(out)-1]
	}
	return out, nil
}

// dropBelow drops the batches that end at or below from.
func dropBelow(batches []Location, from Offset) []Location {
	for len(batches) > 0 && batches[0].BaseOffset+Offset(batches[0].Count) <= from {
		batches = batches[1:]
	}
	return batches
}

// CheckBatch tells a leader, before it appends a batch, what it can already know:
// an outcome with a code if the batch cannot have any other when it is applied.
func (s *Store) CheckBatch(h batch.Header) Outcome {
	q := s.catalog.Load().queues[QueueID(h.Queue)]
	if q == nil {
		return unknownQueue(h.Queue)
	}
	return Outcome{Queue: q.id, BaseOffset: NoOffset}
}
