package state

import (
	"time"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// begin lets a half message wait for the end of its transaction.
func (w *working) begin(out *pebble.Batch, q *queue, index Index, header *batch.Header, stamp int64) Outcome {
	switch {
	case int(header.TransactionGroup) > len(w.open.names):
		return refuse(CodeUnknownTransactionGroup, "transaction group %d is not registered", header.TransactionGroup)
	case len(w.open.byID) >= MaxTransactions:
		return refuse(CodeTooManyOpen, "%d transactions are open, the limit", MaxTransactions)
	}
	h := &half{id: index, place: index, queue: q.id, count: header.Count, group: header.TransactionGroup, unixMs: max(0, stamp/int64(time.Millisecond))}
	w.open.add(h)
	w.storeHalf(out, h)
	return Outcome{Queue: q.id, BaseOffset: NoOffset, Count: header.Count, Waits: true, Handle: index, Transaction: true}
}

func (w *working) storeHalf(out *pebble.Batch, h *half) {
	w.key, w.value = appendMoreKey(w.key[:0], prefixHalf, uint64(h.place)), h.append(w.value[:0])
	set(out, w.key, w.value)
}

func (w *working) dropHalf(out *pebble.Batch, h *half) {
	delete(w.open.byID, h.id)
	w.key = appendMoreKey(w.key[:0], prefixHalf, uint64(h.place))
	del(out, w.key)
}

// endTransaction commits or rolls back, once: whoever says the same again is
// answered the same, whoever says something else is told how it ended.
func (w *working) endTransaction(out *pebble.Batch, index Index, c *recordv1.EndTransaction) Outcome {
	h := w.open.byID[Index(c.GetId())]
	if h == nil || uint32(h.queue) != c.GetQueue() {
		return w.endedBefore(c)
	}
	w.dropHalf(out, h)
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	e := ended{id: h.id, commit: c.GetCommit(), base: NoOffset}
	if e.commit {
		e.queue, e.count = h.queue, h.count
		e.base = w.deliver(out, index, &o, h.place, h.queue, h.count)
		o.Queue, o.BaseOffset, o.Count = e.queue, e.base, e.count
		w.postWaited(out, h.id, h.queue, e.base)
	} else {
		w.takeKeys(out, h.id)
	}
	w.rememberEnd(out, index, e)
	return o
}

// rememberEnd notes an end that the entry index has made, in the place of the oldest one.
func (w *working) rememberEnd(out *pebble.Batch, index Index, e ended) {
	w.key, w.value = appendMoreKey(w.key[:0], prefixEnded, uint64(index)), e.append(w.value[:0])
	set(out, w.key, w.value)
	if forgotten, full := w.open.remember(index, e); full {
		w.key = appendMoreKey(w.key[:0], prefixEnded, uint64(forgotten))
		del(out, w.key)
	}
}

func (w *working) endedBefore(c *recordv1.EndTransaction) Outcome {
	e, known := w.open.ended[Index(c.GetId())]
	switch {
	case !known || e.commit && uint32(e.queue) != c.GetQueue():
		return refuse(CodeUnknownTransaction, "no transaction of this handle is open or was ended lately, or its topic was deleted")
	case e.commit != c.GetCommit():
		how := "rolled back"
		if e.commit {
			how = "committed"
		}
		return refuse(CodeTransactionEnded, "the transaction was %s before", how)
	}
	return Outcome{Queue: e.queue, BaseOffset: e.base, Count: e.count, Duplicate: true, AboutWaiting: true}
}

// registerGroup gives the number of a transaction group; none is ever given up.
func (w *working) registerGroup(out *pebble.Batch, c *recordv1.RegisterTransactionGroup) Outcome {
	name := c.GetName()
	o := Outcome{BaseOffset: NoOffset, AboutWaiting: true}
	switch {
	case name == "" || len(name) > MaxProducerNameBytes || !utf8.ValidString(name):
		return refuse(CodeLimitExceeded, "transaction group name of %d bytes: 1 to %d are allowed, in UTF-8", len(name), MaxProducerNameBytes)
	case w.open.groups[name] != 0:
		o.ProducerID, o.Duplicate = uint64(w.open.groups[name]), true
		return o
	case len(w.open.names) >= MaxTransactionGroups:
		return refuse(CodeLimitExceeded, "there are %d transaction groups, the limit", MaxTransactionGroups)
	}
	id := w.open.addGroup(name)
	w.key = appendMoreKey(w.key[:0], prefixTransactionGroup, uint64(id))
	set(out, w.key, appendText(append(w.value[:0], valueVersion), name))
	o.ProducerID = uint64(id)
	return o
}
