package client

import (
	"context"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// Header is one user header of a message; its key is UTF-8.
type Header struct {
	Key   string
	Value []byte
}

// Message is what is published and, with the fields that a broker knows, what is
// consumed.
//
// The slices and strings of a consumed message share the memory of the answer
// that brought it: they stay valid, must not be written to, and keep up to a few
// MiB alive; copy what is kept for long.
type Message struct {
	// Key chooses the queue when Queue is nil: equal keys land in the same queue, in
	// order. A nil key is none, which differs from an empty one. At most 65,535 bytes.
	Key   []byte
	Value []byte
	// Tag is a short label, UTF-8, at most 255 bytes.
	Tag     string
	Headers []Header
	// Timestamp is the sender's clock in whole milliseconds; Publish fills a zero one.
	Timestamp time.Time
	// Queue is the number of the queue in its topic, from 0. nil lets Publish choose;
	// in consumed messages it is always set.
	Queue *int

	// Set in consumed messages only.
	Topic       string
	Offset      int64
	LedgerIndex int64
	Term        int64
	// AppendTime is the leader's clock when it took the message's batch.
	AppendTime time.Time
}

// Receipt proves that a message is on disk on a majority.
type Receipt struct {
	Topic string
	Queue int
	// Offset is the message's number in its queue; -1 when it was stored by an earlier
	// try so long ago that the brokers no longer know where.
	Offset int64
	// LedgerIndex and Term belong to the batch that holds the message.
	LedgerIndex int64
	Term        int64
	// Duplicate is set when an earlier try had stored it already; it is stored once.
	Duplicate bool
	// AckTime is when the acknowledgement arrived here, with a monotonic reading.
	AckTime time.Time
}

// Result is the future of one published message.
type Result struct {
	batch *outBatch
	nth   int32 // in its batch
}

// Done is closed when the message is acknowledged or has failed.
func (r *Result) Done() <-chan struct{} { return r.batch.done }

// Get waits for the outcome. The error is an *Error; when ctx ends first, it is
// the context's and the message is still under way.
func (r *Result) Get(ctx context.Context) (Receipt, error) {
	select {
	case <-r.batch.done:
	default:
		select {
		case <-r.batch.done:
		case <-ctx.Done():
			return Receipt{}, context.Cause(ctx)
		}
	}
	return r.batch.receipt(int64(r.nth))
}

// failedResult is the future of a message that was not even accepted.
func failedResult(err error) *Result {
	b := &outBatch{done: closedChannel(), err: err}
	return &Result{batch: b}
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// toRecord translates m; headers is scratch space that the record may use.
func toRecord(m *Message, now time.Time, headers []batch.RecordHeader) batch.Record {
	at := m.Timestamp
	if at.IsZero() {
		at = now
	}
	r := batch.Record{Key: m.Key, Value: m.Value, Tag: m.Tag, Timestamp: at.UnixMilli()}
	for _, h := range m.Headers {
		headers = append(headers, batch.RecordHeader(h))
	}
	r.Headers = headers
	return r
}

// fromRecord fills the sender's part of m; the list of headers is m's own.
func fromRecord(m *Message, r *batch.Record) {
	m.Key, m.Value, m.Tag = r.Key, r.Value, r.Tag
	m.Timestamp = time.UnixMilli(r.Timestamp)
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, Header(h))
	}
}
