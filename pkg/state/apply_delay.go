package state

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// delay lets a batch wait for its delivery time. Whether that has passed is not
// looked at: time comes with DeliverDue alone.
func (w *working) delay(out *pebble.Batch, q *queue, index Index, h *batch.Header) Outcome {
	if len(w.delays.byID) >= MaxDelayed {
		return refuse(CodeTooManyDelayed, "%d batches wait for their delivery time, the limit", MaxDelayed)
	}
	b := &delayed{id: index, place: index, queue: q.id, count: h.Count, due: h.DeliverAt}
	w.delays.add(b)
	w.storeDelayed(out, b)
	return Outcome{Queue: q.id, BaseOffset: NoOffset, Count: h.Count, Waits: true, Handle: index}
}

func (w *working) storeDelayed(out *pebble.Batch, b *delayed) {
	w.key, w.value = appendDelayedKey(w.key[:0], b.place), b.append(w.value[:0])
	set(out, w.key, w.value)
}

func (w *working) dropDelayed(out *pebble.Batch, b *delayed) {
	w.delays.remove(b)
	w.key = appendDelayedKey(w.key[:0], b.place)
	del(out, w.key)
}

// deliverDue gives their offsets to batches that are due, the earliest first.
func (w *working) deliverDue(out *pebble.Batch, index Index, c *recordv1.DeliverDue) Outcome {
	if n := c.GetLimit(); n == 0 || n > MaxDeliver {
		return refuse(CodeLimitExceeded, "%d batches to deliver at once, 1 to %d are possible", n, MaxDeliver)
	}
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	for range c.GetLimit() {
		b := w.delays.next()
		if b == nil || b.due > c.GetUpToUnixMs() {
			break
		}
		w.dropDelayed(out, b)
		base := w.deliver(out, index, &o, b.place, b.queue, b.count)
		w.postWaited(out, b.id, b.queue, base)
	}
	return o
}

// deliver gives offsets to a batch that has waited at the entry place.
func (w *working) deliver(out *pebble.Batch, index Index, o *Outcome, place Index, queue QueueID, count uint32) Offset {
	q := w.queues[queue] // a topic that is deleted takes its waiting batches with it
	base := w.extend(out, q, place, index, count)
	if w.late.note(index, place) {
		w.key = appendLateKey(w.key[:0], w.late.bucket)
		set(out, w.key, binary.BigEndian.AppendUint64(append(w.value[:0], valueVersion), uint64(place)))
	}
	var b [24]byte
	binary.LittleEndian.PutUint32(b[0:], o.Digest)
	binary.LittleEndian.PutUint32(b[4:], uint32(queue))
	binary.LittleEndian.PutUint64(b[8:], uint64(base))
	binary.LittleEndian.PutUint64(b[16:], uint64(place))
	o.Digest = checksum(b[:])
	o.DeliveredBatches++
	o.DeliveredRecords += int64(count)
	if n := len(o.Delivered); n == 0 || o.Delivered[n-1] != queue {
		o.Delivered = append(o.Delivered, queue)
	}
	return base
}

// carryForward notes that copies at the end of the ledger hold waiting batches from
// now on. What does not wait any more, or waits elsewhere, is left alone.
func (w *working) carryForward(out *pebble.Batch, index Index, c *recordv1.CarryForward) Outcome {
	ids, from, to := c.GetIds(), c.GetFrom(), c.GetTo()
	if n := len(ids); n == 0 || n > MaxDeliver || len(from) != n || len(to) != n {
		return refuse(CodeLimitExceeded, "%d batches to carry from %d entries to %d, 1 to %d are possible", n, len(from), len(to), MaxDeliver)
	}
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	for i := range ids {
		if Index(to[i]) >= index || to[i] <= from[i] {
			continue
		}
		if h := w.open.byID[Index(ids[i])]; h != nil && h.place == Index(from[i]) {
			w.key = appendMoreKey(w.key[:0], prefixHalf, uint64(h.place))
			del(out, w.key)
			h.place = Index(to[i])
			w.open.moved++
			w.storeHalf(out, h)
			o.Count++
			continue
		}
		if b := w.delays.byID[Index(ids[i])]; b != nil && b.place == Index(from[i]) {
			w.key = appendDelayedKey(w.key[:0], b.place)
			del(out, w.key)
			b.place = Index(to[i])
			w.storeDelayed(out, b)
			o.Count++
		}
	}
	return o
}

// recall drops a batch that waits for its delivery time.
func (w *working) recall(out *pebble.Batch, c *recordv1.Recall) Outcome {
	b := w.delays.byID[Index(c.GetId())]
	if b == nil || uint32(b.queue) != c.GetQueue() {
		return refuse(CodeNotWaiting, "no message waits under this handle: it was delivered or recalled, its topic was deleted, or the handle is wrong")
	}
	w.dropDelayed(out, b)
	w.takeKeys(out, b.id)
	return Outcome{BaseOffset: NoOffset, AboutWaiting: true} // no more than is remembered for a retry
}
