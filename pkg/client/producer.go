package client

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Producer publishes to one topic. It is safe for concurrent use.
type Producer struct {
	c      *Client
	cfg    ProducerConfig
	frames frameCodec
	wake   chan struct{} // capacity 1: there may be something to send
	look   chan struct{} // capacity 1: the topic may have changed
	done   chan struct{} // closed when run has ended
	cancel context.CancelCauseFunc
	queues []*outQueue                       // guarded by mu; it only grows
	wish   *brokerv1.RegisterProducerRequest // of a named producer: sent, and not known to be carried out; run's own
	mu     struct {
		sync.Mutex
		sticky     int   // the queue that messages without a key go to at the moment
		closed     error // why Publish refuses; nil while open
		room       room
		flushing   int // Flush calls that wait: no lingering
		spare      []*batch.Builder
		limit      int // the size of messages from which the brokers refuse them
		frameBytes int // a second batch does not make a frame larger
		window     window
		apart      int      // so many frames that are answered have one batch each
		inFlight   int      // bytes of sealed batches
		sent       uint64   // frames, on all streams
		who        identity // the newest one; the only one of a named producer
		buffered   int      // messages not acknowledged
		stats      ProducerStats
		topic      TopicSettings
		layout     int // counts the growths of the topic
		before     int // batches not acknowledged that were begun under an earlier layout
	}
}

// ProducerStats counts what became of messages since the Producer was made.
type ProducerStats struct {
	// Acked messages are stored; Duplicates of them were found stored by an earlier try.
	Acked, Duplicates uint64
	// Failed messages certainly were not stored, Unknown ones may have been. Those that
	// Publish did not take because its context ended or the Producer is closed count nowhere.
	Failed, Unknown uint64
	// Retries counts batches that were sent again.
	Retries uint64
	// Buffered messages are not acknowledged yet.
	Buffered int
}

// Producer makes a producer for a topic. ctx bounds the look-up of the topic, and the
// registration of one with a name, only. Errors are ErrUnknownTopic, an *Error with CodeInvalidConfig, or those of a
// group that cannot be reached.
func (c *Client) Producer(ctx context.Context, cfg ProducerConfig) (*Producer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	topic, err := c.Admin().DescribeTopic(ctx, cfg.Topic)
	if err != nil {
		return nil, err
	}
	p := &Producer{
		c: c, cfg: cfg, frames: newFrameCodec(),
		wake: make(chan struct{}, 1), look: make(chan struct{}, 1), done: make(chan struct{}),
	}
	p.mu.topic = topic.Settings
	for i, id := range topic.queueIDs {
		p.queues = append(p.queues, &outQueue{index: i, id: id})
	}
	p.mu.room.free = cfg.MaxBufferedBytes
	p.mu.limit, p.mu.frameBytes, p.mu.window = math.MaxInt, maxFrameBytes, unadvised
	if cfg.Name != "" { // now, not with the first message: its predecessor is fenced when this returns
		if err := p.register(ctx); err != nil {
			return nil, err
		}
	}
	runCtx, cancel := context.WithCancelCause(c.ctx)
	p.cancel = cancel
	if err := c.start(func(context.Context) error { return p.run(runCtx) }); err != nil {
		cancel(err)
		return nil, err
	}
	if err := c.start(func(context.Context) error { return p.follow(runCtx) }); err != nil {
		cancel(err) // the client is closed, and run ends
		return nil, err
	}
	return p, nil
}

// Queues is the number of queues of the topic. It grows when the topic does.
func (p *Producer) Queues() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queues)
}

// Publish hands a message over and returns its future. It waits while
// MaxBufferedBytes are under way, until ctx ends: the future then fails with the
// context's error and the message was certainly not sent. Afterwards ctx has no
// say. The message's memory is not kept.
func (p *Producer) Publish(ctx context.Context, m Message) *Result { return p.publish(ctx, &m, 0) }

// publish is Publish for half messages too: half is the number of their transaction
// group, 0 for all others.
func (p *Producer) publish(ctx context.Context, m *Message, half uint32) *Result {
	var scratch [8]batch.RecordHeader
	rec := toRecord(m, scratch[:0])
	size := batch.RecordSize(&rec)
	if size > min(p.cfg.MaxMessageBytes, p.cfg.MaxBufferedBytes) {
		return p.refuse(errorf(CodeMessageTooLarge, "message of %d bytes is above the limit of %d", size,
			min(p.cfg.MaxMessageBytes, p.cfg.MaxBufferedBytes)))
	}
	if m.Queue != nil {
		if n := p.Queues(); *m.Queue < 0 || *m.Queue >= n {
			return p.refuse(errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", p.cfg.Topic, n-1, *m.Queue))
		}
	}
	res, ready, err := p.buffer(ctx, m, &rec, size, half)
	switch {
	case err == nil && ready:
		p.signal()
	case err == nil:
	case errors.Is(err, ErrClosed), ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return failedResult(err)
	default:
		return p.refuse(err)
	}
	return res
}

// refuse counts a message that can never be stored and makes its future.
func (p *Producer) refuse(err error) *Result {
	p.mu.Lock()
	p.mu.stats.Failed++
	p.mu.Unlock()
	return failedResult(err)
}

// buffer waits for room and adds the record to the open batch of its queue; ready
// tells that the sender has a reason to look.
func (p *Producer) buffer(ctx context.Context, m *Message, rec *batch.Record, size int, half uint32) (res *Result, ready bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.mu.room.take(size) {
		if err := p.awaitRoomLocked(ctx, size); err != nil {
			return nil, false, err
		}
	}
	if res, ready, err = p.enqueueLocked(m, rec, size, half); err != nil {
		p.mu.room.give(size)
	}
	return res, ready, err
}

// enqueueLocked adds the record to a batch. One with a delivery time or a transaction
// has a batch of its own: what is recalled, committed or rolled back is a batch. So has
// one that a FIFO topic does not take, or those around it would be refused with it.
func (p *Producer) enqueueLocked(m *Message, rec *batch.Record, size int, half uint32) (res *Result, ready bool, err error) {
	switch {
	case p.mu.closed != nil:
		return nil, false, p.mu.closed
	case size >= p.mu.limit:
		return nil, false, errorf(CodeMessageTooLarge, "message of %d bytes: the brokers refused one of %d", size, p.mu.limit)
	}
	held := rec.DeliverAt != 0 || half != 0
	grouped := p.mu.topic.Type != MixedTopic && rec.MessageGroup != "" && !held
	alone := held || p.mu.topic.Type == FIFOTopic && !grouped
	for {
		q := p.queueLocked(m)
		if q.dead != nil {
			return nil, false, q.dead
		}
		if q.open != nil && (alone || q.open.grouped != grouped || q.open.builder.Size()+size > p.mu.window.piece) {
			p.fillLocked(q)
			ready = true
			continue
		}
		if q.open == nil {
			if q.open, err = p.newBatchLocked(q, time.Now()); err != nil {
				return nil, false, err
			}
			ready = true
		}
		switch err := q.open.builder.Append(rec); {
		case err == nil:
			p.mu.buffered++
			res = q.open.add(size)
			q.open.due, q.open.half, q.open.grouped = rec.DeliverAt, half, grouped
			if alone {
				p.fillLocked(q)
			}
			return res, ready && len(q.flight) < p.cfg.MaxInFlightBatches, nil
		case errors.Is(err, batch.ErrFull):
			p.fillLocked(q)
			ready = true
		default:
			p.dropEmptyLocked(q)
			return nil, false, translate(err)
		}
	}
}

// dropEmptyLocked takes back a batch whose first record was refused.
func (p *Producer) dropEmptyLocked(q *outQueue) {
	if q.open != nil && q.open.count == 0 {
		p.spareLocked(q.open)
		q.open = nil
	}
}

// translate gives errors of the batch format their code.
func translate(err error) error {
	if errors.Is(err, batch.ErrTooLarge) {
		return &Error{Code: CodeMessageTooLarge, Message: "message is refused", cause: err}
	}
	return &Error{Code: CodeInvalidBatch, Message: "message is refused", cause: err}
}

// queueLocked chooses the queue of a message.
func (p *Producer) queueLocked(m *Message) *outQueue {
	switch {
	case m.Queue != nil:
		return p.queues[*m.Queue]
	case m.MessageGroup != "":
		return p.queues[QueueOfKey([]byte(m.MessageGroup), len(p.queues))]
	case m.Key != nil:
		return p.queues[QueueOfKey(m.Key, len(p.queues))]
	}
	return p.queues[p.mu.sticky]
}

// fillLocked closes the open batch of q to further records.
func (p *Producer) fillLocked(q *outQueue) {
	q.full = append(q.full, q.open)
	q.open = nil
	p.moveOnLocked(q)
}

// moveOnLocked lets messages without a key go to the next queue, if it is q's turn.
func (p *Producer) moveOnLocked(q *outQueue) {
	if q.index == p.mu.sticky {
		p.mu.sticky = (p.mu.sticky + 1) % len(p.queues)
	}
}

// spareLocked keeps the builder of a batch for another one, unless the topic's bound is
// another by now.
func (p *Producer) spareLocked(b *outBatch) {
	if b.builder != nil && b.bound == p.batchBytesLocked() {
		p.mu.spare = append(p.mu.spare, b.builder)
	}
	b.builder = nil
}

func (p *Producer) newBatchLocked(q *outQueue, now time.Time) (*outBatch, error) {
	b := &outBatch{
		topic: p.cfg.Topic, queue: q.index, id: q.id, layout: p.mu.layout, created: now, done: make(chan struct{}),
		bound: p.batchBytesLocked(), after: p.mu.sent,
	}
	if n := len(p.mu.spare); n > 0 {
		b.builder, p.mu.spare = p.mu.spare[n-1], p.mu.spare[:n-1]
		return b, nil
	}
	var err error
	b.builder, err = batch.NewBuilder(batch.BuilderConfig{
		MaxBytes: b.bound, RecordBytes: batch.MaxPublishedBytes,
		Compression: p.cfg.Compression, Codec: p.c.codec,
	})
	return b, err
}

// signal wakes the sender.
func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Flush sends what lingers and waits until all messages that were published
// before it are acknowledged or have failed; their futures tell which.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	p.mu.flushing++
	var waiting []*outBatch
	for _, q := range p.queues {
		waiting = append(waiting, q.outstanding()...)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.mu.flushing--
		p.mu.Unlock()
	}()
	p.signal()
	for _, b := range waiting {
		select {
		case <-b.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Close refuses further messages, flushes, and ends. When ctx ends first, what is
// left fails as indefinite (if it was sent) and the context's error is returned.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.mu.closed == nil {
		p.mu.closed = errProducerClosed
	}
	p.mu.Unlock()
	err := p.Flush(ctx)
	if err != nil {
		p.cancel(errProducerClosed)
	}
	p.signal()
	<-p.done
	p.cancel(nil)
	return err
}

var errProducerClosed = &Error{Code: CodeClosed, Message: "producer is closed"}

// Stats returns the counts up to now.
func (p *Producer) Stats() ProducerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.mu.stats
	s.Buffered = p.mu.buffered
	return s
}
