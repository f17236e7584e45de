package state

import (
	"fmt"
	"sort"

	"github.com/cockroachdb/pebble/v2"
)

// Retain tells the store that this member's ledger begins at the entry begin.
// Each queue's first offset is then that of its oldest batch that got its offsets
// there or later, or its end. Nothing is stored: how far back a ledger reaches is a
// matter of each member, while the stored state is the same on all of them
// (docs/adr/0011-local-retention.md). First offsets never fall. It is called once
// after Open and before each purge, so that no reader is sent to an entry that is
// gone; one goroutine at a time. Errors: ErrClosed, ErrCorrupt.
func (s *Store) Retain(begin Index) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	views := make(map[*queue]*queueView)
	for _, q := range s.catalog.Load().queues {
		views[q] = q.view.Load()
	}
	// After the views: what they show is in Pebble already.
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixBlock}, UpperBound: prefixEnd(prefixBlock)})
	if err != nil {
		return fmt.Errorf("state: look for first offsets: %w", err)
	}
	for q, view := range views {
		var first Offset
		if first, err = s.firstFrom(it, q, view, begin); err != nil {
			break
		}
		s.RaiseFirst(q.id, first)
	}
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = s.corrupt(closeErr, "blocks")
	}
	return err
}

// firstFrom finds the offset of q's first batch that got its offsets by the entry
// begin or a later one, by halving: batches stand in the order of those.
func (s *Store) firstFrom(it *pebble.Iterator, q *queue, view *queueView, begin Index) (Offset, error) {
	first, end := Offset(q.first.Load()), view.end
	if n := len(view.recent); n == 0 || view.recent[n-1].Given < begin {
		return end, nil
	}
	for at := first; first < end; at = first + (end-first)/2 {
		batches, err := s.blockAt(it, q.id, at)
		switch {
		case err != nil && (q.gone.Load() || at < Offset(q.first.Load())):
			return Offset(q.first.Load()), nil // removed, or trimmed, while we were looking
		case err != nil:
			return 0, err
		case batches[0].Given >= begin:
			end = max(first, batches[0].BaseOffset)
			continue
		}
		n := sort.Search(len(batches), func(n int) bool { return batches[n].Given >= begin })
		if n < len(batches) {
			return min(end, batches[n].BaseOffset), nil
		}
		newest := batches[n-1]
		first = newest.BaseOffset + Offset(newest.Count)
	}
	return min(first, end), nil
}

// blockAt reads the posting block that holds an offset.
func (s *Store) blockAt(it *pebble.Iterator, q QueueID, at Offset) ([]Location, error) {
	if !it.SeekLT(appendBlockKey(nil, q, at+1)) {
		return nil, s.corrupt(it.Error(), "queue %d has no block for offset %d", q, at)
	}
	id, first, err := parseBlockKey(it.Key())
	if err == nil && id != q {
		err = errKey
	}
	var batches []Location
	if err == nil {
		batches, err = parseBlock(nil, first, it.Value())
	}
	if err != nil {
		return nil, s.corrupt(err, "block of queue %d for offset %d", q, at)
	}
	return batches, nil
}
