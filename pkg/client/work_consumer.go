package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

const (
	// workWait is how long one Receive waits on a broker.
	workWait = 4 * time.Second
	// maxReceive is how many messages one Receive can bring, and one Ack can name.
	maxReceive = 1024
)

// WorkConsumer receives messages of a topic for a work-queue group. Any number of them
// share every queue: each message is given to one of them at a time, and again if it is not
// acknowledged before its time is over. Its methods are for any number of goroutines.
//
// What was acknowledged without an error never comes again, whoever leads, but for the moment
// in which a leader that stood still does not know that it was replaced. What was
// received and not acknowledged comes again, also when a leader is lost: at least once.
// While a leader is being replaced there is latency, not errors.
type WorkConsumer struct {
	c    *Client
	cfg  WorkConfig
	acks *acker
	stop context.CancelCauseFunc
	ctx  context.Context
}

// WorkConsumer makes a consumer of a work-queue group. Errors are ErrUnknownTopic,
// ErrGroupMismatch (the group is one that commits offsets), or those of brokers that cannot
// be reached.
func (c *Client) WorkConsumer(ctx context.Context, cfg WorkConfig) (*WorkConsumer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if _, err := c.Admin().DescribeTopic(ctx, cfg.Topic); err != nil {
		return nil, err
	}
	if err := c.Admin().CreateWorkGroup(ctx, cfg.Group, cfg.Policy); err != nil && CodeOf(err) != CodeGroupExists {
		return nil, err
	}
	w := &WorkConsumer{c: c, cfg: cfg, acks: newAcker(c)}
	w.ctx, w.stop = context.WithCancelCause(c.ctx)
	if err := w.probe(ctx); err != nil {
		w.stop(err)
		return nil, err
	}
	if err := c.start(func(context.Context) error { return w.acks.run(w.ctx) }); err != nil {
		w.stop(err)
		return nil, err
	}
	return w, nil
}

// probe finds out whether the group, which may have been there, is of the right kind.
func (w *WorkConsumer) probe(ctx context.Context) error {
	d, err := w.c.Admin().DescribeGroup(ctx, w.cfg.Group)
	if err != nil {
		return err
	}
	if d.Work == nil {
		return errorf(CodeGroupMismatch, "consumer group %q commits offsets: it is no work-queue group", w.cfg.Group)
	}
	return nil
}

// Receive waits for messages and returns up to limit of them (at most 1,024), or ctx's
// error. Errors besides: ErrUnknownGroup or ErrUnknownTopic when they were deleted,
// ErrInvalidFilter, ErrClosed; and ErrDataLost, or CodeInvalidBatch, for what cannot be read
// when no other messages of the topic can come.
func (w *WorkConsumer) Receive(ctx context.Context, limit int) ([]*Delivery, error) {
	wait := pacer{}
	for {
		deliveries, err := w.receive(ctx, min(max(1, limit), maxReceive))
		if len(deliveries) > 0 {
			return deliveries, nil
		}
		var e *Error
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case w.ctx.Err() != nil:
			return nil, context.Cause(w.ctx)
		case err == nil:
			wait = pacer{}
		case !errors.As(err, &e) || !passes(e) && e.Code != CodeTooManyInFlight:
			return nil, err
		default:
			wait.pause(ctx, w.c.router.route(), e)
		}
	}
}

// receive is one request.
func (w *WorkConsumer) receive(ctx context.Context, limit int) ([]*Delivery, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*workWait, errNoAnswer)
	defer cancel()
	defer context.AfterFunc(w.ctx, cancel)()
	req := &brokerv1.ReceiveRequest{
		Group: w.cfg.Group, Topic: w.cfg.Topic, MaxMessages: int32(limit), InvisibleMs: w.cfg.Invisible.Milliseconds(),
		MaxWaitMs: int32(workWait.Milliseconds()), Start: w.cfg.From.message(), Filter: w.cfg.Filter.proto(),
	}
	var resp *brokerv1.ReceiveResponse
	err := w.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) (err error) {
		resp, err = brokerv1.NewWorkServiceClient(cc).Receive(ctx, req)
		return err
	})
	if err != nil {
		if ctx.Err() != nil && CodeOf(err) == "" {
			err = errNoAnswer // the time was ours
		}
		return nil, err
	}
	until := time.Now().Add(w.cfg.Invisible)
	var deliveries []*Delivery
	for _, m := range resp.GetMessages() {
		deliveries = append(deliveries, w.delivery(m, until))
	}
	return deliveries, nil
}

func (w *WorkConsumer) delivery(m *brokerv1.WorkMessage, until time.Time) *Delivery {
	return &Delivery{Message: fromWork(w.cfg.Topic, m), Attempt: int(m.GetAttempt()), Receipt: m.GetReceipt(), Until: until, w: w}
}

// fromWork translates a message that came by itself.
func fromWork(topic string, m *brokerv1.WorkMessage) Message {
	queue := int(m.GetQueue())
	out := Message{
		Topic: topic, Queue: &queue, Offset: m.GetOffset(), LedgerIndex: m.GetLedgerIndex(), Term: m.GetTerm(),
		AppendTime: time.UnixMilli(m.GetAppendTimeUnixMs()), Timestamp: time.UnixMilli(m.GetTimestampUnixMs()),
		Key: m.Key, Value: m.GetValue(), Tag: m.GetTag(), ID: m.GetMessageId(), MessageGroup: m.GetMessageGroup(),
	}
	if ms := m.GetDeliverAtUnixMs(); ms != 0 {
		out.DeliverAt = time.UnixMilli(ms)
	}
	for _, h := range m.GetHeaders() {
		out.Headers = append(out.Headers, Header{Key: h.GetKey(), Value: h.GetValue()})
	}
	return out
}

// Close ends receiving. Acknowledgements that wait fail with ErrClosed; whether they were
// taken is not known then.
func (w *WorkConsumer) Close() error {
	w.stop(errConsumerClosed)
	<-w.acks.done
	return nil
}
