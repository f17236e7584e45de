package client

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// outQueue is the sending side of one queue, guarded by Producer.mu.
type outQueue struct {
	index  int
	id     uint32      // the broker's number
	open   *outBatch   // takes records; nil when there are none
	full   []*outBatch // closed to records, not yet sealed
	flight []*outBatch // numbered, in order; the first sent of them went out on the present stream
	sent   int
	who    identity
	next   int64 // sequence of the next batch to be numbered
	strays int   // how often the oldest batch in flight was called out of order
	dead   error // why nothing more can be stored here: the topic was deleted
}

// outstanding lists all batches that are not acknowledged, oldest first.
func (q *outQueue) outstanding() []*outBatch {
	all := append(append([]*outBatch(nil), q.flight...), q.full...)
	if q.open != nil {
		all = append(all, q.open)
	}
	return all
}

// outBatch is a batch on its way and the outcome that its messages share.
type outBatch struct {
	topic   string
	queue   int
	id      uint32 // the broker's number of the queue
	layout  int    // Producer.mu.layout when it was begun
	grouped bool   // all its messages have a message group, and the topic has a type
	created time.Time
	after   uint64 // so many frames had been sent when it was begun
	bytes   int    // taken from Producer.room
	count   int
	due     int64    // delivery time of its one message, Unix ms; 0: none
	half    uint32   // transaction group of its one message; 0: none
	results []Result // the newest chunk that futures are given from

	builder *batch.Builder // until it is sealed
	bound   int            // of bytes, that builder was made for
	sealed  *sealedBytes
	seq     int64
	who     identity
	load    int // its share of Producer.mu.inFlight
	tries   int
	stale   bool // sealed with a number that is no longer its own
	waiting bool // sent on the present stream and not answered there
	// maybe is set when an earlier try may have stored the batch.
	maybe bool
	// condemned is why it is not sent again, once it is known what became of what is before it.
	condemned *Error

	// The outcome, written before done is closed.
	done      chan struct{}
	over      atomic.Bool // done is closed, or about to be
	err       error
	offset    int64
	handle    string
	index     int64
	term      int64
	duplicate bool
	acked     time.Time
}

// add makes the future of one more record; futures come out of small arrays
// instead of one allocation each.
func (b *outBatch) add(size int) *Result {
	if len(b.results) == cap(b.results) {
		b.results = make([]Result, 0, min(256, max(4, 2*cap(b.results))))
	}
	b.results = append(b.results, Result{batch: b, nth: int32(b.count)})
	b.count++
	b.bytes += size
	return &b.results[len(b.results)-1]
}

// size is its length in bytes before compression.
func (b *outBatch) size() int {
	if b.load > 0 {
		return b.load
	}
	return b.builder.Size()
}

func (b *outBatch) receipt(nth int64) (Receipt, error) {
	if b.err != nil {
		return Receipt{}, b.err
	}
	r := Receipt{
		Topic: b.topic, Queue: b.queue, Offset: b.offset, LedgerIndex: b.index, Term: b.term,
		Handle: b.handle, Duplicate: b.duplicate, AckTime: b.acked,
	}
	if r.Offset >= 0 {
		r.Offset += nth
	}
	return r, nil
}

// unsent is the batch that has never been sent and is next; nil if there is none.
func (q *outQueue) unsent() *outBatch {
	if len(q.full) > 0 {
		return q.full[0]
	}
	return q.open
}

// oldest is the batch that was published first of those not acknowledged.
func (q *outQueue) oldest() *outBatch {
	switch {
	case len(q.flight) > 0:
		return q.flight[0]
	case len(q.full) > 0:
		return q.full[0]
	}
	return q.open
}

// doubtBefore tells whether a batch in flight before b may be stored.
func (q *outQueue) doubtBefore(b *outBatch) bool {
	for _, earlier := range q.flight {
		if earlier == b {
			break
		}
		if earlier.maybe || earlier.waiting {
			return true
		}
	}
	return false
}

// startOver takes away q's identity when what stood at this place in flight cannot
// be stored under it. What follows is not stored either, then, for the brokers
// keep the order; what precedes must not be in doubt.
func (q *outQueue) startOver(at int) {
	q.who, q.next, q.strays = identity{}, 0, 0
	for _, b := range q.flight[at:] {
		b.maybe, b.waiting = false, false
	}
}

// remove takes b out, wherever it stands.
func (q *outQueue) remove(b *outBatch) {
	if q.open == b {
		q.open = nil
	}
	q.full = without(q.full, b)
	if at := slices.Index(q.flight, b); at >= 0 && at < q.sent {
		q.sent--
	}
	q.flight = without(q.flight, b)
}

// without removes b from list, which is short or has b in front.
func without[T comparable](list []T, b T) []T {
	if len(list) > 0 && list[0] == b {
		var none T
		list[0] = none
		return list[1:]
	}
	if at := slices.Index(list, b); at >= 0 {
		return slices.Delete(list, at, at+1)
	}
	return list
}
