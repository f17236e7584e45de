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
	// Key chooses the queue when Queue is nil and there is no MessageGroup: equal keys land
	// in the same queue, in order. A nil key is none, which differs from an empty one. At most 65,535 bytes.
	Key   []byte
	Value []byte
	// Tag is a short label, UTF-8, at most 255 bytes.
	Tag string
	// ID is the sender's own name for the message, UTF-8, at most 255 bytes; brokers do
	// not look whether it is unique.
	ID      string
	Headers []Header
	// Timestamp is the sender's clock in whole milliseconds; Publish fills a zero one.
	Timestamp time.Time
	// DeliverAt is when the message may be delivered, in whole milliseconds; zero: at
	// once. At most a year ahead. Such a message takes its place in the queue, and its
	// offset, at that time: its Receipt has a Handle in the place of an offset.
	DeliverAt time.Time
	// Delay is DeliverAt counted from now, if that is zero. Never set in consumed messages.
	Delay time.Duration
	// MessageGroup names what is kept in order in a topic of type FIFO, UTF-8, at most 255
	// bytes: equal ones land in the same queue, in order, whatever the key, and a FIFO
	// work-queue group is given them one after the other. Empty: none.
	MessageGroup string
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
	// Offset is the message's number in its queue; -1 while it waits for its delivery
	// time (Handle is set), and when it was stored by an earlier
	// try so long ago that the brokers no longer know where.
	Offset int64
	// LedgerIndex and Term belong to the batch that holds the message.
	LedgerIndex int64
	Term        int64
	// Handle names a message that waits: for its delivery time (Recall takes it) or for
	// the end of its transaction (Transactional.End takes it).
	Handle string
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
	if !r.batch.over.Load() { // of what is over, the channel would only cost
		select {
		case <-r.batch.done:
		default:
			select {
			case <-r.batch.done:
			case <-ctx.Done():
				return Receipt{}, context.Cause(ctx)
			}
		}
	}
	return r.batch.receipt(int64(r.nth))
}

// Sequence is how the brokers know an idempotent producer's message again: no two
// messages of a queue have the same, and a message that is sent twice is stored once.
type Sequence struct {
	// ProducerID and Epoch are those of the producer at the last try.
	ProducerID uint64
	Epoch      uint32
	// Number counts the producer's messages to the queue in that epoch, from 0.
	Number int64
}

// Sequence is the message's own at the last try. It stands once Done is closed; ok is
// false before, and for a message that was never sent.
func (r *Result) Sequence() (s Sequence, ok bool) {
	select {
	case <-r.batch.done:
	default:
		return Sequence{}, false
	}
	if r.batch.who.id == 0 {
		return Sequence{}, false
	}
	return Sequence{r.batch.who.id, r.batch.who.epoch, r.batch.seq + int64(r.nth)}, true
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
func toRecord(m *Message, headers []batch.RecordHeader) batch.Record {
	at := m.Timestamp
	if at.IsZero() {
		at = time.Now()
	}
	r := batch.Record{Key: m.Key, Value: m.Value, Tag: m.Tag, MessageID: m.ID, MessageGroup: m.MessageGroup, Timestamp: at.UnixMilli()}
	switch {
	case !m.DeliverAt.IsZero():
		r.DeliverAt = m.DeliverAt.UnixMilli()
	case m.Delay > 0:
		r.DeliverAt = time.Now().Add(m.Delay).UnixMilli()
	}
	switch {
	case r.DeliverAt != 0:
		r.Type = batch.Delay
	case r.MessageGroup != "":
		r.Type = batch.FIFO
	}
	for _, h := range m.Headers {
		headers = append(headers, batch.RecordHeader(h))
	}
	r.Headers = headers
	return r
}

// fromRecord fills the sender's part of m; the list of headers is m's own.
func fromRecord(m *Message, r *batch.Record) {
	m.Key, m.Value, m.Tag, m.ID, m.MessageGroup = r.Key, r.Value, r.Tag, r.MessageID, r.MessageGroup
	m.Timestamp = time.UnixMilli(r.Timestamp)
	if r.DeliverAt != 0 {
		m.DeliverAt = time.UnixMilli(r.DeliverAt)
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, Header(h))
	}
}
