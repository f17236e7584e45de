package state

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// applyBatch gives a batch its offsets, or says why not. Its error is an
// UnsupportedError.
func (w *working) applyBatch(out *pebble.Batch, e *Entry) (Outcome, error) {
	h, err := parseBatch(e)
	if err != nil {
		return Outcome{}, err
	}
	outcome := w.judgeBatch(out, e.Index, &h, e.AppendTimeUnixNano)
	if outcome.Code == CodeOK && !outcome.Duplicate {
		w.indexKeys(out, e.Body, &outcome)
	}
	return outcome, nil
}

// parseBatch reads the batch's header. Leaders propose nothing but what their
// build reads as a batch, so bytes that this build cannot read come from a newer
// one: refusing them here would let the members' states drift apart.
func parseBatch(e *Entry) (batch.Header, error) {
	h, err := batch.ParseHeader(e.Body)
	if err != nil {
		return h, &UnsupportedError{Index: e.Index, What: fmt.Sprintf("a batch that cannot be read (%v)", err)}
	}
	if int(h.Length) != len(e.Body) {
		return h, &UnsupportedError{Index: e.Index, What: fmt.Sprintf("a batch of length %d in %d bytes", h.Length, len(e.Body))}
	}
	return h, nil
}

func (w *working) judgeBatch(out *pebble.Batch, index Index, h *batch.Header, stamp int64) Outcome {
	q := w.queues[QueueID(h.Queue)]
	if q == nil {
		return unknownQueue(h.Queue)
	}
	var window *window
	if h.ProducerID != 0 {
		if refusal, ok := w.judgeProducer(h); !ok {
			return refusal
		}
		w.touch(out, h.ProducerID, w.producers[h.ProducerID])
		window = q.windows[h.ProducerID]
		if resend, ok := window.judge(h); !ok {
			return resend
		}
		if window == nil && w.usesFrom != 0 && w.windows >= MaxWindows {
			return refuse(CodeLimitExceeded, "batches of producers are remembered in %d queues, producer by producer, the limit", w.windows)
		}
	}
	if code, why := w.topics[q.topic].judge(h); code != CodeOK {
		return refuse(code, "%s", why)
	}
	outcome := w.storeBatch(out, q, index, h, stamp)
	if h.ProducerID != 0 && outcome.Code == CodeOK {
		w.remember(q, window, h, &outcome)
	}
	return outcome
}

// storeBatch gives a batch its offsets, or lets it wait for them.
func (w *working) storeBatch(out *pebble.Batch, q *queue, index Index, h *batch.Header, stamp int64) Outcome {
	switch {
	case h.DeliverAt != 0:
		return w.delay(out, q, index, h)
	case h.TransactionGroup != 0:
		return w.begin(out, q, index, h, stamp)
	}
	return Outcome{Queue: q.id, BaseOffset: w.extend(out, q, index, index, h.Count), Count: h.Count}
}

func unknownQueue(q uint32) Outcome {
	return refuse(CodeUnknownQueue, "queue %d does not exist: its topic was deleted, or never was", q)
}

// judgeProducer says whether the batch's producer may send at all.
func (w *working) judgeProducer(h *batch.Header) (refusal Outcome, ok bool) {
	p := w.producers[h.ProducerID]
	switch {
	case p == nil:
		return refuse(CodeUnknownProducer, "producer %d is not registered: it never was, or it has expired", h.ProducerID), false
	case h.ProducerEpoch < p.epoch:
		return refuse(CodeProducerFenced, "a newer producer of the name %q has registered since, so this one can store nothing more (producer %d: epoch %d by now, the batch has %d)",
			p.name, h.ProducerID, p.epoch, h.ProducerEpoch), false
	case h.ProducerEpoch > p.epoch:
		return refuse(CodeUnknownProducer, "producer %d has epoch %d, epoch %d was never given out", h.ProducerID, p.epoch, h.ProducerEpoch), false
	}
	return Outcome{}, true
}

// extend adds a batch to q. A full block is written with the first batch behind
// it at the latest: only the newest one waits for the end of the call.
func (w *working) extend(out *pebble.Batch, q *queue, index, given Index, records uint32) Offset {
	if q.open.count == BlockBatches {
		if q.dirty {
			w.storeBlock(out, q)
		}
		q.open.reset(q.end)
	}
	w.changed(q)
	return q.extend(index, given, records)
}

// remember notes the batch in its producer's window on q, making one if there is none.
func (w *working) remember(q *queue, seen *window, h *batch.Header, o *Outcome) {
	if seen == nil {
		seen = &window{queue: q.id, producer: h.ProducerID}
		w.addWindow(q, seen)
	}
	seen.add(h, o)
	if !seen.dirty {
		seen.dirty = true
		w.windowsChanged = append(w.windowsChanged, seen)
	}
}
