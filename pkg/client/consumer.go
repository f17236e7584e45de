package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// StartAt says where a Consumer begins in each queue. Its zero value is Earliest.
type StartAt struct {
	kind   startKind
	offset int64
	time   time.Time
}

type startKind int

const (
	startEarliest startKind = iota
	startLatest
	startOffset
	startTime
)

// Earliest begins with the oldest message that is kept.
func Earliest() StartAt { return StartAt{kind: startEarliest} }

// Latest begins with the first message published from now on.
func Latest() StartAt { return StartAt{kind: startLatest} }

// Offset begins with this offset. If it does not exist, Next fails with
// ErrOffsetTooLow or ErrOffsetTooHigh.
func Offset(o int64) StartAt { return StartAt{kind: startOffset, offset: o} }

// Timestamp begins, in each queue, with the first message that was stored at t or later,
// by the clock of the leader that stored it.
func Timestamp(t time.Time) StartAt { return StartAt{kind: startTime, time: t} }

// ConsumerConfig says what to read, and from where.
type ConsumerConfig struct {
	// Topic must exist.
	Topic string
	// Queues to read, by number; nil means all, and those that are added to the topic while
	// the consumer runs: from their beginning, wherever From is, so nothing is passed over.
	Queues []int
	// From is where reading begins in each queue; default Earliest.
	From StartAt
	// Filter says which messages are wanted; default all. The brokers look at them, and
	// send no batch in which there is none that is wanted.
	Filter Filter
	// MaxBytes bounds what is fetched ahead, in stored bytes, over all queues; one batch
	// per queue may exceed it, and each queue that is added later brings as much again as
	// one of those that there were. Default 16 MiB.
	MaxBytes int
	// TopicRefresh is how often the topic is looked at for queues that were added, if Queues
	// is nil. 100 ms or more; default 10 s.
	TopicRefresh time.Duration
}

func (cfg ConsumerConfig) withDefaults() ConsumerConfig {
	setDefault(&cfg.MaxBytes, 16<<20)
	setDefault(&cfg.TopicRefresh, 10*time.Second)
	return cfg
}

func (cfg ConsumerConfig) validate(queues int) error {
	if cfg.MaxBytes < 0 || cfg.From.offset < 0 {
		return errorf(CodeInvalidConfig, "MaxBytes and offsets must not be negative")
	}
	if cfg.TopicRefresh < 100*time.Millisecond {
		return errorf(CodeInvalidConfig, "TopicRefresh is %v, want 100ms or more", cfg.TopicRefresh)
	}
	for _, q := range cfg.Queues {
		if q < 0 || q >= queues {
			return errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", cfg.Topic, queues-1, q)
		}
	}
	return nil
}

// Consumer reads queues of one topic. Its methods are for one goroutine at a time,
// but for Close, which ends a Next that waits.
type Consumer struct {
	group    string // of which this reads for a member; empty: none
	c        *Client
	cfg      ConsumerConfig
	fetchers []*fetcher    // by place in cfg.Queues
	fetched  chan *fetched // what fetchers hand over
	grown    chan *Topic   // capacity 1: the topic has more queues; nil: nobody looks
	ctx      context.Context
	cancel   context.CancelCauseFunc
	reader   *batch.Reader
	current  *fetched             // what Next reads from
	headers  []batch.RecordHeader // memory for those of the record at hand
	failed   error                // what Next returns for ever, until Seek
	failedAt *fetcher             // whose queue must be sought then
	share    int                  // MaxBytes is for so many queues
	running  struct {
		sync.Mutex
		closed bool           // nothing new begins
		all    sync.WaitGroup // fetchers and whoever looks for new queues
	}
}

// Consumer makes a consumer. ctx bounds the look-up of the topic only. Errors are
// ErrUnknownTopic, ErrUnknownQueue, or those of a group that cannot be reached.
func (c *Client) Consumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	cfg = cfg.withDefaults()
	topic, err := c.Admin().DescribeTopic(ctx, cfg.Topic)
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(len(topic.Queues)); err != nil {
		return nil, err
	}
	all := cfg.Queues == nil
	if all {
		for i := range topic.Queues {
			cfg.Queues = append(cfg.Queues, i)
		}
	}
	cfg.Queues = slices.Compact(slices.Sorted(slices.Values(cfg.Queues)))
	starts, err := c.starts(ctx, &cfg, topic)
	if err != nil {
		return nil, err
	}
	cs := &Consumer{c: c, cfg: cfg, share: len(cfg.Queues), reader: batch.NewReader(c.codec), fetched: make(chan *fetched, len(cfg.Queues))}
	cs.ctx, cs.cancel = context.WithCancelCause(c.ctx)
	for _, q := range cfg.Queues {
		f := newFetcher(cs, q, topic.queueIDs[q], starts[q])
		f.seenEnd = topic.Queues[q].End
		cs.fetchers = append(cs.fetchers, f)
	}
	err = cs.start()
	if err == nil && all {
		err = cs.follow(topic.queueIDs)
	}
	if err != nil {
		return nil, errors.Join(err, cs.Close())
	}
	return cs, nil
}

// start sets the fetchers going. Those that a closed client refuses are done.
func (cs *Consumer) start() error {
	var refused error
	for _, f := range cs.fetchers {
		if err := cs.begin(f.ctx, f.run); err != nil {
			refused = err
			close(f.done)
		}
	}
	return refused
}

// begin runs something that ends with the consumer, whose Close waits for it.
func (cs *Consumer) begin(ctx context.Context, run func(context.Context) error) error {
	r := &cs.running
	r.Lock()
	defer r.Unlock()
	if r.closed {
		return errConsumerClosed
	}
	r.all.Add(1)
	err := cs.c.start(func(context.Context) error {
		defer r.all.Done()
		return run(ctx)
	})
	if err != nil {
		r.all.Done()
	}
	return err
}

// Next returns the next message: in order within each queue, queues in the order
// in which they arrive. It waits until there is one or ctx ends. Any other error
// stays until a Seek of its queue: ErrOffsetTooLow, ErrOffsetTooHigh, ErrSkipped,
// ErrCorruptBatch, ErrUnknownTopic, ErrUnknownQueue (the topic was made anew), ErrClosed.
func (cs *Consumer) Next(ctx context.Context) (m Message, err error) {
	for {
		ok, err := cs.buffered(&m)
		if ok || err != nil {
			return m, err
		}
		if err := cs.await(ctx); err != nil {
			return Message{}, err
		}
	}
}

// Poll waits for a message and returns it with all others that are here already,
// max at most.
func (cs *Consumer) Poll(ctx context.Context, limit int) ([]Message, error) {
	first, err := cs.Next(ctx)
	if err != nil {
		return nil, err
	}
	messages := []Message{first}
	for len(messages) < limit {
		m, ok, err := cs.TryNext()
		if !ok || err != nil { // an error comes again with the next call
			break
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// TryNext is Next that does not wait: ok is false when no message is here.
func (cs *Consumer) TryNext() (m Message, ok bool, err error) {
	for {
		ok, err = cs.buffered(&m)
		if ok || err != nil {
			return m, ok, err
		}
		select {
		case f := <-cs.fetched:
			cs.take(f)
		case topic := <-cs.grown:
			if err := cs.grow(topic); err != nil {
				return Message{}, false, err
			}
		default:
			return Message{}, false, nil
		}
	}
}

// buffered makes m the next message of what has been fetched.
func (cs *Consumer) buffered(m *Message) (ok bool, err error) {
	for cs.failed == nil && cs.current != nil {
		f := cs.current
		if f.stale() {
			cs.done()
			continue
		}
		record := batch.Record{Headers: cs.headers} // here, and not in cs: the collector need not look at it
		for cs.reader.Next(&record) {
			if cap(record.Headers) > cap(cs.headers) { // a pointer that is written costs, while the collector runs
				cs.headers = record.Headers
			}
			offset := f.offset
			f.offset++
			if offset < f.from.position || !f.matches(offset) {
				continue // the batch began below what was asked for, or a filter does not want it
			}
			f.from.position = offset + 1
			cs.fill(m, f, offset, &record)
			return true, nil
		}
		if err := cs.reader.Err(); err != nil {
			cs.distrust(f, err)
		} else if !cs.open(f) {
			cs.done()
		}
	}
	return false, cs.failed
}

func (cs *Consumer) fill(m *Message, f *fetched, offset int64, record *batch.Record) {
	info := f.infos[f.at-1]
	*m = Message{
		Topic: cs.cfg.Topic, Queue: &f.from.label, Offset: offset,
		LedgerIndex: info.GetLedgerIndex(), Term: info.GetTerm(), AppendTime: time.UnixMilli(info.GetAppendTimeUnixMs()),
	}
	fromRecord(m, record)
}

// open stands before the next batch of f; it returns false when there is none.
func (cs *Consumer) open(f *fetched) bool {
	if f.at == len(f.batches) {
		return false
	}
	f.offset = f.infos[f.at].GetBaseOffset()
	_ = cs.reader.Reset(f.batches[f.at]) // Err keeps it
	f.at++
	return true
}

// distrust fetches a batch that cannot be read once more, for it may have been
// damaged on its way; the second time it is an error.
func (cs *Consumer) distrust(f *fetched, err error) {
	base := f.infos[f.at-1].GetBaseOffset()
	if q := f.from; q.distrusted != base {
		q.distrusted = base
		q.seek(q.position)
		return
	}
	code := CodeInvalidBatch
	if errors.Is(err, batch.ErrCorrupt) {
		code = CodeCorruptBatch
	}
	cs.failedAt = f.from
	cs.failed = &Error{Code: code, cause: err, Message: fmt.Sprintf("%s/%d: batch at offset %d cannot be read",
		cs.cfg.Topic, f.from.queue, base)}
}

// Await waits until TryNext may have something to give, or Position has moved: with a
// Filter it moves also over messages that are not wanted. Errors are ctx's and ErrClosed.
func (cs *Consumer) Await(ctx context.Context) error {
	if cs.current != nil || cs.failed != nil {
		return nil
	}
	return cs.await(ctx)
}

// await waits for something to be fetched.
func (cs *Consumer) await(ctx context.Context) error {
	select {
	case f := <-cs.fetched:
		cs.take(f)
		return nil
	case topic := <-cs.grown:
		return cs.grow(topic)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-cs.ctx.Done():
		return context.Cause(cs.ctx)
	}
}

// take makes f what Next reads from.
func (cs *Consumer) take(f *fetched) {
	if f.stale() {
		f.release()
		return
	}
	if f.err != nil {
		cs.failed, cs.failedAt = f.err, f.from
		return
	}
	cs.current = f
	cs.open(f)
}

// done gives the bytes of what was read back to its fetcher, and goes over what a
// filter left out at its end.
func (cs *Consumer) done() {
	if f := cs.current; !f.stale() {
		f.from.position = max(f.from.position, f.after)
	}
	cs.current.release()
	cs.current = nil
	*cs.reader = *batch.NewReader(cs.c.codec) // lets go of the memory
}

// fetcherOf finds the fetcher of a queue.
func (cs *Consumer) fetcherOf(queue int) (*fetcher, error) {
	if i, ok := slices.BinarySearch(cs.cfg.Queues, queue); ok {
		return cs.fetchers[i], nil
	}
	return nil, errorf(CodeUnknownQueue, "queue %d of topic %q is not read here", queue, cs.cfg.Topic)
}

// Seek goes on with another offset of a queue, if that is paused when it is resumed. It
// clears an error of Next if that came from this queue.
func (cs *Consumer) Seek(queue int, offset int64) error {
	f, err := cs.fetcherOf(queue)
	if err != nil {
		return err
	}
	if offset < 0 {
		return errorf(CodeInvalidConfig, "offset %d is negative", offset)
	}
	if cs.failedAt == f {
		cs.failed, cs.failedAt = nil, nil
	}
	f.position = offset
	f.seek(offset)
	return nil
}

// Pause stops reading a queue; what was fetched ahead of it is dropped. Resume goes on
// where Next has come to.
func (cs *Consumer) Pause(queue int) error { return cs.pause(queue, true) }

// Resume ends a Pause.
func (cs *Consumer) Resume(queue int) error { return cs.pause(queue, false) }

func (cs *Consumer) pause(queue int, paused bool) error {
	f, err := cs.fetcherOf(queue)
	if err == nil {
		f.restart(f.position, paused)
	}
	return err
}

// Position is the offset that Next will return next for a queue.
func (cs *Consumer) Position(queue int) (int64, error) {
	f, err := cs.fetcherOf(queue)
	if err != nil {
		return 0, err
	}
	return f.position, nil
}

// Queues lists the queues that are read. Next and Await add those that the topic gets.
func (cs *Consumer) Queues() []int { return slices.Clone(cs.cfg.Queues) }

// Ranges asks which offsets the queues that are read hold at the moment.
func (cs *Consumer) Ranges(ctx context.Context) ([]QueueRange, error) {
	topic, err := cs.c.Admin().DescribeTopic(ctx, cs.cfg.Topic)
	if err != nil {
		return nil, err
	}
	var ranges []QueueRange
	for _, q := range cs.cfg.Queues {
		if q < len(topic.Queues) {
			ranges = append(ranges, topic.Queues[q])
		}
	}
	return ranges, nil
}

// Close ends fetching. Next returns ErrClosed from then on.
func (cs *Consumer) Close() error {
	cs.cancel(errConsumerClosed)
	cs.running.Lock()
	cs.running.closed = true
	cs.running.Unlock()
	cs.running.all.Wait()
	return nil
}

var errConsumerClosed = &Error{Code: CodeClosed, Message: "consumer is closed"}
