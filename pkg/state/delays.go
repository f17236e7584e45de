package state

import (
	"container/heap"
	"encoding/binary"
	"math"
)

// delayed is a batch that waits for its delivery time.
type delayed struct {
	id    Index // of the entry that brought it: its handle
	place Index // the entry that holds it now: id, or where it was carried to
	queue QueueID
	count uint32
	due   int64 // Unix ms
	at    int   // in delays.order
}

// delays are the batches that wait for their delivery time. All of them are in
// memory, about 120 bytes each.
type delays struct {
	byID  map[Index]*delayed
	order dueOrder
}

func (d *delays) add(b *delayed) {
	if d.byID == nil {
		d.byID = make(map[Index]*delayed)
	}
	d.byID[b.id] = b
	heap.Push(&d.order, b)
}

func (d *delays) remove(b *delayed) {
	delete(d.byID, b.id)
	heap.Remove(&d.order, b.at)
}

// next is the one that is due first, nil if none waits.
func (d *delays) next() *delayed {
	if len(d.order) == 0 {
		return nil
	}
	return d.order[0]
}

// of lists those for a topic. It looks at all that wait: topics are deleted seldom.
func (d *delays) of(t *Topic) (found []*delayed) {
	for _, b := range d.order {
		if t.has(b.queue) {
			found = append(found, b)
		}
	}
	return found
}

// dueOrder is a heap by (delivery time, id).
type dueOrder []*delayed

// Len implements heap.Interface.
func (o dueOrder) Len() int { return len(o) }

// Less implements heap.Interface.
func (o dueOrder) Less(i, j int) bool {
	if o[i].due != o[j].due {
		return o[i].due < o[j].due
	}
	return o[i].id < o[j].id
}

// Swap implements heap.Interface.
func (o dueOrder) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].at, o[j].at = i, j
}

// Push implements heap.Interface.
func (o *dueOrder) Push(x any) {
	b := x.(*delayed)
	b.at = len(*o)
	*o = append(*o, b)
}

// Pop implements heap.Interface.
func (o *dueOrder) Pop() any {
	last := len(*o) - 1
	b := (*o)[last]
	(*o)[last] = nil
	*o = (*o)[:last]
	return b
}

func (b *delayed) append(v []byte) []byte {
	v = append(v, valueVersion)
	v = binary.AppendUvarint(v, uint64(b.id))
	v = binary.AppendUvarint(v, uint64(b.due))
	v = binary.AppendUvarint(v, uint64(b.queue))
	return binary.AppendUvarint(v, uint64(b.count))
}

func parseDelayed(place Index, v []byte) (*delayed, error) {
	r := valueReader{b: v}
	r.version()
	b := &delayed{place: place, id: Index(r.int64()), due: r.int64(), queue: QueueID(r.uint32()), count: r.uint32()}
	if b.id > place || b.due == 0 || b.count == 0 {
		r.bad = true
	}
	return b, r.end()
}

// lateShift makes buckets of 256 entries: retention spares what one of them needs as long
// as any of them is kept, so they must be small beside what is kept at all.
const lateShift = 8

// late remembers which old entries hold batches that were delivered lately, so
// that retention spares them: for each bucket of entries that gave offsets, the
// oldest entry that holds a batch of theirs. Apply changes only the newest bucket.
type late struct {
	bucket Index
	oldest Index // math.MaxInt64: none in this bucket
}

func newLate() late { return late{oldest: math.MaxInt64} }

// note says whether the bucket's value has changed.
func (l *late) note(given, holds Index) bool {
	if b := given >> lateShift; b != l.bucket {
		*l = late{bucket: b, oldest: math.MaxInt64}
	}
	if holds >= l.oldest {
		return false
	}
	l.oldest = holds
	return true
}
