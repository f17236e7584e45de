package state

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// window is what is remembered of one producer on one queue: the last batches
// that were stored, of the newest epoch that stored one.
type window struct {
	producer uint64
	next     int64                     // sequence that must come
	batches  [WindowBatches]remembered // oldest first
	queue    QueueID
	epoch    uint32
	count    uint8 // of remembered batches
	dirty    bool  // changed by the Apply that runs
	gone     bool  // its producer has expired
}

// remembered is a stored batch as far as a resend of it must be known again. There are
// many of them: they are small.
type remembered struct {
	base  Offset // or, if it had no offsets when it was stored, ^handle
	count uint32
	crc   uint32
}

func (r *remembered) waits() bool { return r.base < 0 }

// windowVersionWaits is that of windows that remember a batch which had to wait.
const windowVersionWaits = 2

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
	for i := int(w.count) - 1; i >= 0; i-- {
		stored := w.batches[i]
		begin := end - int64(stored.count)
		if h.FirstSequence == begin && h.Count == stored.count && h.CRC == stored.crc {
			o := stored.outcome(w.queue)
			o.Transaction = o.Waits && h.TransactionGroup != 0
			return o
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

// outcome is that of a resend of the batch.
func (r *remembered) outcome(q QueueID) Outcome {
	o := Outcome{Queue: q, BaseOffset: r.base, Count: r.count, Duplicate: true}
	if r.waits() {
		o.BaseOffset, o.Waits, o.Handle = NoOffset, true, Index(^r.base)
	}
	return o
}

// add remembers a batch that was stored with the outcome o.
func (w *window) add(h *batch.Header, o *Outcome) {
	if w.epoch != h.ProducerEpoch {
		w.epoch, w.count = h.ProducerEpoch, 0
	}
	if w.count == WindowBatches {
		copy(w.batches[:], w.batches[1:])
		w.count--
	}
	w.batches[w.count] = remembered{base: o.BaseOffset, count: h.Count, crc: h.CRC}
	if o.Waits {
		w.batches[w.count].base = ^Offset(o.Handle)
	}
	w.count++
	w.next = h.FirstSequence + int64(h.Count)
}

func (w *window) append(b []byte) []byte {
	waits := slices.ContainsFunc(w.batches[:w.count], func(r remembered) bool { return r.waits() })
	if waits {
		b = append(b, windowVersionWaits)
	} else {
		b = append(b, valueVersion)
	}
	b = binary.AppendUvarint(b, uint64(w.epoch))
	b = binary.AppendUvarint(b, uint64(w.next))
	b = append(b, w.count)
	for _, s := range w.batches[:w.count] {
		base := uint64(s.base)
		switch {
		case s.waits():
			base = uint64(^s.base)<<1 | 1
		case waits:
			base <<= 1
		}
		b = binary.AppendUvarint(b, base)
		b = binary.AppendUvarint(b, uint64(s.count))
		b = binary.LittleEndian.AppendUint32(b, s.crc)
	}
	return b
}

func parseWindow(q QueueID, producer uint64, b []byte) (*window, error) {
	waits := len(b) > 0 && b[0] == windowVersionWaits
	if !waits && (len(b) == 0 || b[0] != valueVersion) {
		return nil, errValue
	}
	r := valueReader{b: b[1:]}
	w := &window{queue: q, producer: producer, epoch: r.uint32(), next: r.int64()}
	n := r.uvarint()
	if n == 0 || n > WindowBatches {
		return nil, errValue
	}
	w.count = uint8(n)
	some := false
	for i := range w.batches[:w.count] {
		s := &w.batches[i]
		base := r.uvarint()
		switch {
		case !waits && base <= math.MaxInt64:
			s.base = Offset(base)
		case !waits:
			return nil, errValue
		case base&1 != 0:
			s.base = ^Offset(base >> 1)
		default:
			s.base = Offset(base >> 1)
		}
		s.count, s.crc = r.uint32(), r.fixed32()
		some = some || s.waits()
	}
	if waits != some {
		return nil, errValue
	}
	return w, r.end()
}
