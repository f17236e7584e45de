package state

import (
	"slices"
	"sync/atomic"
)

// recentBatches is how many of a queue's newest batches are surely in memory, so
// that reads of the tail need no Pebble.
const recentBatches = 64

// queue is one queue. Readers touch only the first group of fields.
type queue struct {
	id     QueueID
	topic  string
	number int // within the topic
	view   atomic.Pointer[queueView]
	first  atomic.Int64 // Offset: the oldest one that this member's ledger has, see Retain
	// keysFrom is the Offset from which on the key index knows all messages; NoOffset:
	// there is none.
	keysFrom atomic.Int64
	gone     atomic.Bool  // its topic is removed; set before its keys go
	hidden   atomic.Int64 // Unix ms: until when its topic, which is deleted, can be had back; 0: it is not

	// Owned by Apply.
	end     Offset // the next one to be given
	trimmed Offset // the oldest one that is served, on every member
	open    block  // the newest block; full ones stay here until the next batch comes
	recent  []Location
	windows map[uint64]*window // by producer id
	dirty   bool               // changed by the Apply that runs
}

// queueView is what readers see of a queue; it never changes.
type queueView struct {
	end    Offset
	recent []Location // newest batches without a gap, up to end
}

func newQueue(id QueueID, topic string, number int) *queue {
	q := &queue{id: id, topic: topic, number: number}
	q.keysFrom.Store(int64(NoOffset))
	q.publish()
	return q
}

// indexed says whether the queue has a key index.
func (q *queue) indexed() bool { return q.keysFrom.Load() != int64(NoOffset) }

// raise lets the queue begin at an offset or later, for readers.
func (q *queue) raise(first Offset) {
	for {
		now := q.first.Load()
		if now >= int64(first) || q.first.CompareAndSwap(now, int64(first)) {
			return
		}
	}
}

// extend adds a batch at the end of the queue: the entry index holds it, the entry
// given gives it its offsets.
func (q *queue) extend(index, given Index, records uint32) (base Offset) {
	base = q.end
	l := Location{BaseOffset: base, Count: records, Index: index, Given: given}
	q.open.add(l)
	q.remember(l)
	q.end += Offset(records)
	return base
}

// remember appends to recent. Views share its array: they end before what is
// appended, and what they hold is never overwritten.
func (q *queue) remember(l Location) {
	if len(q.recent) == 2*recentBatches {
		fresh := make([]Location, 0, 2*recentBatches)
		q.recent = append(fresh, q.recent[recentBatches+1:]...)
	}
	q.recent = append(q.recent, l)
}

// publish lets readers see the queue as it is now.
func (q *queue) publish() {
	q.view.Store(&queueView{end: q.end, recent: slices.Clip(q.recent)})
	q.dirty = false
}

// find returns up to limit of the recent batches from the one that holds from;
// ok is false when that one is too old to be here.
func (v *queueView) find(from Offset, limit int) (batches []Location, ok bool) {
	if len(v.recent) == 0 || from < v.recent[0].BaseOffset {
		return nil, false
	}
	i, exact := slices.BinarySearchFunc(v.recent, from, func(l Location, from Offset) int {
		return int(max(-1, min(1, l.BaseOffset-from)))
	})
	if !exact {
		i--
	}
	n := min(len(v.recent)-i, limit)
	return v.recent[i : i+n : i+n], true
}
