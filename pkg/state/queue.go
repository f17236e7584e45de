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
	gone   atomic.Bool  // its topic is deleted; set before its keys go

	// Owned by Apply.
	end     Offset // the next one to be given
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
	q.publish()
	return q
}

// extend adds a batch at the end of the queue.
func (q *queue) extend(index Index, records uint32) (base Offset) {
	base = q.end
	q.open.add(index, records)
	q.remember(Location{BaseOffset: base, Count: records, Index: index})
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
