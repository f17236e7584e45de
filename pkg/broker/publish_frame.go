package broker

import (
	"sync/atomic"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxFrameBatches bounds the batches of one publish request: small ones take
// more memory while they are in hand than their bytes show. A mebibyte, of which
// our clients make frames, holds less than that of the smallest.
const maxFrameBatches = 16384

// frame is one publish request on its way: some batches refused at once, the
// others proposed to the ledger together.
type frame struct {
	number   uint64
	received time.Time
	size     int // bytes that it counts for in windows
	results  []*brokerv1.BatchResult
	headers  []batch.Header
	bodies   []commitlog.Body
	slots    []int           // slots[i] is the result that bodies[i] is for
	request  *publishRequest // of a stream: it holds the bytes of the bodies

	// outcome is set, once, when the ledger has answered.
	outcome atomic.Pointer[dledger.ProposalResult]
	// end, in place of everything above, is how the stream ends after all frames
	// before this one are answered; io.EOF for a client that is done.
	end error
}

// publisher checks publish requests and makes answers of what becomes of them.
type publisher struct {
	limit   int // of one batch, bytes
	frame   int // of one request, bytes
	store   *state.Store
	errors  *translator
	metrics *metrics
	now     func() time.Time

	producers *producerRoom
	// delayed and transactions are how many batches may wait for their time, and for the
	// end of their transaction, when one is published here.
	delayed, transactions int
}

// parse checks a request: every batch's header, CRC, size and queue, never its
// records. A batch that is refused has its result then; bytes in which no
// further batch can be found are an error for the whole request.
func (p *publisher) parse(number uint64, batches []byte) (*frame, error) {
	f := &frame{number: number, received: p.now(), size: len(batches)}
	switch {
	case len(batches) == 0:
		return nil, errorf(CodeInvalidBatch, "the request holds no batch")
	case len(batches) > p.frame:
		return nil, errorf(CodeMessageTooLarge, "request of %d bytes is above limits.max_frame_bytes, %d", len(batches), p.frame)
	}
	for rest := batches; len(rest) > 0; {
		if len(f.headers) == maxFrameBatches {
			p.metrics.refused(CodeLimitExceeded)
			return nil, errorf(CodeLimitExceeded, "the request holds more than %d batches", maxFrameBatches)
		}
		var header batch.Header
		var body []byte
		var err error
		header, body, rest, err = batch.Next(rest)
		if err != nil {
			p.metrics.refused(ownError(err).Code)
			return nil, err
		}
		f.headers = append(f.headers, header)
		if refusal := p.check(header, body); refusal != nil {
			p.metrics.refused(refusal.Code)
			f.results = append(f.results, &brokerv1.BatchResult{Error: p.errors.detail(refusal), BaseOffset: -1, LedgerIndex: -1})
			continue
		}
		f.slots = append(f.slots, len(f.results))
		f.bodies = append(f.bodies, commitlog.Body{Type: commitlog.TypeBatch, Bytes: body})
		f.results = append(f.results, nil)
	}
	return f, nil
}

func (p *publisher) check(h batch.Header, body []byte) *Error {
	if len(body) > p.limit {
		return errorf(CodeMessageTooLarge, "batch of %d bytes is above limits.max_batch_bytes, %d", len(body), p.limit)
	}
	if n := batch.HeaderBytes + int(h.RecordsBytes); n > batch.MaxPublishedBytes {
		return errorf(CodeMessageTooLarge, "batch of %d bytes when it is unpacked is above %d", n, batch.MaxPublishedBytes)
	}
	if _, err := batch.Verify(body); err != nil {
		return ownError(err)
	}
	if _, _, ok := p.store.TopicOfQueue(state.QueueID(h.Queue)); !ok {
		return errorf(CodeUnknownQueue, "no queue has the id %d: its topic was deleted, or never was", h.Queue)
	}
	// What an idempotent producer sends may be stored from an earlier try: then the state
	// says so, and only it knows.
	if h.ProducerID == 0 {
		if code, why := p.store.Refuses(&h); code != state.CodeOK {
			return errorf(Code(code), "%s", why)
		}
	}
	if err := p.producers.publish(h); err != nil {
		return ledgerError(err)
	}
	return p.checkDelivery(h)
}

// answer fills in what became of the proposed batches.
func (p *publisher) answer(f *frame) []*brokerv1.BatchResult {
	res := f.outcome.Load()
	for i, slot := range f.slots {
		header := f.headers[slot]
		if res.Err != nil {
			f.results[slot] = p.failed(ledgerError(res.Err))
			continue
		}
		out, _ := res.Outcomes[i].(state.Outcome)
		if out.Code != "" {
			f.results[slot] = p.failed(errorf(Code(out.Code), "%s", out.Message))
			continue
		}
		f.results[slot] = result(out, res, i)
		p.metrics.stored(header, out.Duplicate)
	}
	p.metrics.sendSeconds.Observe(p.now().Sub(f.received).Seconds())
	return f.results
}

// result is the answer for the i-th body of a proposal. The entry of a duplicate
// was applied to nothing, and which one has the batch is not remembered.
func result(out state.Outcome, res *dledger.ProposalResult, i int) *brokerv1.BatchResult {
	r := &brokerv1.BatchResult{BaseOffset: int64(out.BaseOffset), LedgerIndex: -1, Duplicate: out.Duplicate}
	if !out.Duplicate {
		r.LedgerIndex, r.Term = int64(res.First)+int64(i), int64(res.Term)
	}
	if out.Waits {
		r.Handle = handleOf(out)
	}
	if out.Transaction {
		r.Handle = transactionHandle(out.Queue, out.Handle)
	}
	return r
}

func (p *publisher) failed(e *Error) *brokerv1.BatchResult {
	p.metrics.refused(e.Code)
	return &brokerv1.BatchResult{Error: p.errors.detail(e), BaseOffset: -1, LedgerIndex: -1}
}

// ledgerError is ownError for errors of the ledger, which all have a code.
func ledgerError(err error) *Error {
	if own := ownError(err); own != nil {
		return own
	}
	return errorf(CodeInternal, "internal error").wrap(err)
}
