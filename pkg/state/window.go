package state

import (
	"encoding/binary"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// producer is an identity that was registered.
type producer struct {
	epoch uint32
	name  string // empty: cannot be registered again
}

// window is what is remembered of one producer on one queue: the last batches
// that were stored, of the newest epoch that stored one.
type window struct {
	queue    QueueID
	producer uint64
	epoch    uint32
	next     int64                     // sequence that must come
	count    int                       // of remembered batches
	batches  [WindowBatches]remembered // oldest first
	dirty    bool                      // changed by the Apply that runs
}

// remembered is a stored batch as far as a resend of it must be known again.
type remembered struct {
	base  Offset
	count uint32
	crc   uint32
}

// judge says what a batch with a registered producer's epoch is to this window;
// ok means that it must be stored. It changes nothing.
func (w *window) judge(h *batch.Header) (outcome Outcome, ok bool) {
	next := w.expected(h.ProducerEpoch)
	switch {
	case h.FirstSequence == next:
		return Outcome{}, true
	case h.FirstSequence > next:
		return refuse(CodeOutOfOrderSequence, "producer %d sends sequence %d to queue %d, %d must come first",
			h.ProducerID, h.FirstSequence, h.Queue, next), false
	}
	return w.judgeResend(h), false
}

// expected is the sequence with which the next batch of epoch must begin.
func (w *window) expected(epoch uint32) int64 {
	if w == nil || w.epoch != epoch {
		return 0
	}
	return w.next
}

// judgeResend looks at a batch below the next sequence: is it one that was stored?
func (w *window) judgeResend(h *batch.Header) Outcome {
	end := w.next
	for i := w.count - 1; i >= 0; i-- {
		stored := w.batches[i]
		begin := end - int64(stored.count)
		if h.FirstSequence == begin && h.Count == stored.count && h.CRC == stored.crc {
			return Outcome{Queue: w.queue, BaseOffset: stored.base, Count: h.Count, Duplicate: true}
		}
		if h.FirstSequence >= begin {
			return refuse(CodeSequenceConflict, "producer %d sends sequence %d to queue %d again, but with other records than before",
				h.ProducerID, h.FirstSequence, h.Queue)
		}
		end = begin
	}
	if h.FirstSequence+int64(h.Count) > end {
		return refuse(CodeSequenceConflict, "producer %d sends sequences %d to %d to queue %d again, cut differently than before",
			h.ProducerID, h.FirstSequence, h.LastSequence(), h.Queue)
	}
	return Outcome{Queue: w.queue, BaseOffset: NoOffset, Count: h.Count, Duplicate: true}
}

// add remembers a batch that was stored at base.
func (w *window) add(h *batch.Header, base Offset) {
	if w.epoch != h.ProducerEpoch {
		w.epoch, w.count = h.ProducerEpoch, 0
	}
	if w.count == WindowBatches {
		copy(w.batches[:], w.batches[1:])
		w.count--
	}
	w.batches[w.count] = remembered{base: base, count: h.Count, crc: h.CRC}
	w.count++
	w.next = h.FirstSequence + int64(h.Count)
}

func (w *window) append(b []byte) []byte {
	b = append(b, valueVersion)
	b = binary.AppendUvarint(b, uint64(w.epoch))
	b = binary.AppendUvarint(b, uint64(w.next))
	b = append(b, byte(w.count))
	for _, s := range w.batches[:w.count] {
		b = binary.AppendUvarint(b, uint64(s.base))
		b = binary.AppendUvarint(b, uint64(s.count))
		b = binary.LittleEndian.AppendUint32(b, s.crc)
	}
	return b
}

func parseWindow(q QueueID, producer uint64, b []byte) (*window, error) {
	r := valueReader{b: b}
	r.version()
	w := &window{queue: q, producer: producer, epoch: r.uint32(), next: r.int64()}
	n := r.uvarint()
	if n == 0 || n > WindowBatches {
		return nil, errValue
	}
	w.count = int(n)
	for i := range w.batches[:w.count] {
		w.batches[i] = remembered{base: Offset(r.int64()), count: r.uint32(), crc: r.fixed32()}
	}
	return w, r.end()
}
