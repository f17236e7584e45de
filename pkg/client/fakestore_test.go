package client

import (
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

func (c *cluster) refuse(frame []byte, e *brokerv1.ErrorDetail) (results []*brokerv1.BatchResult) {
	for len(frame) > 0 {
		_, _, rest, err := batch.Next(frame)
		if err != nil {
			c.t.Error(err)
			return nil
		}
		results = append(results, &brokerv1.BatchResult{Error: e})
		frame = rest
	}
	return results
}

// append stores the batches of a frame as a broker would.
func (c *cluster) append(frame []byte) (results []*brokerv1.BatchResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for len(frame) > 0 {
		_, b, rest, err := batch.Next(frame)
		if err != nil {
			c.t.Error(err)
			return nil
		}
		if _, err := batch.Verify(b); err != nil {
			c.t.Error(err)
		}
		results = append(results, c.appendLocked(append([]byte(nil), b...)))
		frame = rest
		n++
	}
	c.mu.batches += n
	c.mu.perFrame = append(c.mu.perFrame, n)
	return results
}

func (c *cluster) appendLocked(b []byte) *brokerv1.BatchResult {
	h, err := batch.ParseHeader(b)
	if err != nil {
		c.t.Error(err)
	}
	refuse := func(code Code) *brokerv1.BatchResult {
		return &brokerv1.BatchResult{Error: &brokerv1.ErrorDetail{Code: string(code), Message: "fake refusal"}}
	}
	q := c.mu.queues[h.Queue]
	switch {
	case q == nil:
		return refuse(CodeUnknownQueue)
	case len(b) > c.mu.maxBatch:
		return refuse(CodeMessageTooLarge)
	case c.mu.producers[h.ProducerID] == nil:
		return refuse(CodeUnknownProducer)
	case c.mu.producers[h.ProducerID].epoch != h.ProducerEpoch:
		return refuse(CodeProducerFenced)
	}
	window := q.seen[h.ProducerID]
	var next int64
	for _, s := range window {
		if s.seq == h.FirstSequence {
			if s.count != h.Count || s.crc != h.CRC {
				c.t.Errorf("sequence conflict: %+v against %+v", h, s)
				return refuse(CodeSequenceConflict)
			}
			return &brokerv1.BatchResult{BaseOffset: s.offset, LedgerIndex: c.mu.index, Term: c.mu.term, Duplicate: true, Handle: s.handle}
		}
		next = s.seq + int64(s.count)
	}
	switch {
	case h.FirstSequence < next:
		return &brokerv1.BatchResult{BaseOffset: -1, Duplicate: true}
	case h.FirstSequence > next:
		return refuse(CodeOutOfOrder)
	}
	c.mu.index++
	seen := fakeSeen{seq: h.FirstSequence, count: h.Count, crc: h.CRC, offset: q.end}
	if h.DeliverAt != 0 || h.TransactionGroup != 0 {
		seen.offset, seen.handle = -1, fmt.Sprintf("d-%x-%x", h.Queue, c.mu.index)
	}
	window = append(window, seen)
	q.seen[h.ProducerID] = window[max(0, len(window)-dedupWindow):]
	if h.DeliverAt != 0 || h.TransactionGroup != 0 {
		c.mu.waiting[seen.handle] = b
		return &brokerv1.BatchResult{BaseOffset: -1, LedgerIndex: c.mu.index, Term: c.mu.term, Handle: seen.handle}
	}
	close(c.mu.arrived)
	c.mu.arrived = make(chan struct{})
	q.batches = append(q.batches, fakeBatch{base: q.end, index: c.mu.index, term: c.mu.term, data: b})
	base := q.end
	q.end += int64(h.Count)
	return &brokerv1.BatchResult{BaseOffset: base, LedgerIndex: c.mu.index, Term: c.mu.term}
}
