package state

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// maxFindBuckets is how many buckets of postings one FindKey goes through.
const maxFindBuckets = 1_024

// KeyIndexFrom says from which offset on the key index of a queue knows all messages; not
// ok: it has none.
func (s *Store) KeyIndexFrom(q QueueID) (from Offset, ok bool) {
	found := s.catalog.Load().queues[q]
	if found == nil {
		return 0, false
	}
	from = Offset(found.keysFrom.Load())
	return from, from != NoOffset
}

// FindKey names the batches of a queue that may hold messages with a key, by their base
// offsets: all that begin at from or later and before next, at most limit. Where next is
// the queue's end there are no more. Different keys may have one hash, and some batches are
// always named: the caller looks into them.
// Errors: ErrNotIndexed (from is below KeyIndexFrom by now, or there is no index),
// ErrUnknownQueue, ErrClosed, ErrCorrupt.
func (s *Store) FindKey(q QueueID, hash KeyHash, from Offset, limit int) (bases []Offset, next Offset, err error) {
	found := s.catalog.Load().queues[q]
	if found == nil {
		return nil, 0, ErrUnknownQueue
	}
	if !s.gate.enter() {
		return nil, 0, ErrClosed
	}
	defer s.gate.leave()
	end := found.view.Load().end
	it, err := s.db.NewIter(&pebble.IterOptions{
		LowerBound: appendPostingKey(nil, q, 0, 0, 0), UpperBound: appendPostingKey(nil, q+1, 0, 0, 0),
	})
	if err != nil {
		return nil, 0, fmt.Errorf("state: find a key in queue %d: %w", q, err)
	}
	// It rises before postings go: if they were gone when the iterator was made, it shows.
	if begin := Offset(found.keysFrom.Load()); begin == NoOffset || from < begin {
		err = ErrNotIndexed
	} else {
		bases, next, err = s.findKey(it, q, hash, from, end, limit)
	}
	if closeErr := it.Close(); err == nil && closeErr != nil {
		err = s.corrupt(closeErr, "key postings of queue %d", q)
	}
	return bases, next, err
}

// findKey goes from bucket to bucket.
func (s *Store) findKey(it *pebble.Iterator, q QueueID, hash KeyHash, begin, end Offset, limit int) (bases []Offset, next Offset, err error) {
	first := begin >> keyBucketShift
	for bucket := first; bucket<<keyBucketShift < end; bucket++ {
		if bucket == first+maxFindBuckets || len(bases) >= limit {
			return bases, bucket << keyBucketShift, nil
		}
		at := len(bases)
		for _, h := range []KeyHash{anyKey, hash} {
			if bases, err = s.postings(it, bases, q, bucket, h, begin, end); err != nil {
				return nil, 0, err
			}
		}
		slices.Sort(bases[at:])
		bases = slices.Compact(bases)
		if len(bases) > limit {
			return bases[:limit], bases[limit], nil
		}
	}
	return bases, end, nil
}

// postings appends the batches of one bucket and hash.
func (s *Store) postings(it *pebble.Iterator, out []Offset, q QueueID, bucket Offset, h KeyHash, begin, end Offset) ([]Offset, error) {
	last := string(appendPostingKey(nil, q, bucket, h, 1<<63-1))
	for ok := it.SeekGE(appendPostingKey(nil, q, bucket, h, begin)); ok && string(it.Key()) <= last; ok = it.Next() {
		base, err := parsePosting(it.Key(), it.Value())
		if err != nil {
			return nil, s.corrupt(err, "key posting %x", it.Key())
		}
		if base >= end {
			break
		}
		out = append(out, base)
	}
	return out, nil
}
