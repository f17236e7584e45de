package client

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Decision is how a transaction ends.
type Decision int

// The decisions. Unknown, the zero value, is no decision: the brokers ask again.
const (
	Unknown Decision = iota
	Commit
	Rollback
)

// TransactionalConfig says what to publish to, and who answers for what has become
// of a transaction.
type TransactionalConfig struct {
	// Producer is as for Client.Producer.
	Producer ProducerConfig
	// Group is the name of the producers that can answer for each other, 1 to 255 bytes:
	// usually all instances of one service.
	Group string
	// Check is asked how a transaction of the group ended of which the brokers have not
	// heard: its producer may have died. m is the half message. It looks at what the
	// transaction was about, such as a row in a database, and says Unknown if that
	// may still change. One call at a time. It is asked again until somebody knows, or
	// the transaction is rolled back: after so many times Unknown (transactions.max_checks),
	// or for its age, whether somebody was asked or not (transactions.expire_after).
	Check func(ctx context.Context, m Message) Decision
}

// Transactional publishes messages that are delivered only when their transaction is
// committed.
type Transactional struct {
	c        *Client
	cfg      TransactionalConfig
	producer *Producer
	group    uint32
	cancel   context.CancelFunc
	done     chan struct{} // closed when nobody is asked any more
}

// Transaction is one message that waits for its end.
type Transaction struct {
	t *Transactional
	// Receipt proves that the message is stored. Its Handle names the transaction.
	Receipt Receipt
}

// Transactional makes a transactional producer. ctx bounds the look-ups only.
func (c *Client) Transactional(ctx context.Context, cfg TransactionalConfig) (*Transactional, error) {
	if cfg.Group == "" || cfg.Check == nil {
		return nil, errorf(CodeInvalidConfig, "a transactional producer needs a Group and a Check")
	}
	t := &Transactional{c: c, cfg: cfg, done: make(chan struct{})}
	request := &brokerv1.RegisterTransactionGroupRequest{Name: cfg.Group}
	err := c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		resp, err := brokerv1.NewTransactionServiceClient(cc).RegisterTransactionGroup(ctx, request)
		t.group = resp.GetGroup()
		return err
	})
	if err != nil {
		return nil, err
	}
	if t.producer, err = c.Producer(ctx, cfg.Producer); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(c.ctx)
	t.cancel = cancel
	if err := c.start(func(context.Context) error { return t.answer(running) }); err != nil {
		cancel()
		return nil, errors.Join(err, t.producer.Close(ctx))
	}
	return t, nil
}

// Begin stores a message without delivering it and waits for the proof. Then do what
// the message is about, and Commit or Rollback. A message with a delivery time is
// refused.
func (t *Transactional) Begin(ctx context.Context, m Message) (*Transaction, error) {
	receipt, err := t.Publish(ctx, m).Get(ctx)
	if err != nil {
		return nil, err
	}
	return &Transaction{t: t, Receipt: receipt}, nil
}

// Publish is Begin without waiting: Producer.Publish for half messages. End takes the
// Handle of the Receipt.
func (t *Transactional) Publish(ctx context.Context, m Message) *Result {
	if !m.DeliverAt.IsZero() || m.Delay != 0 {
		return t.producer.refuse(errorf(CodeInvalidConfig, "a message cannot have a delivery time and a transaction"))
	}
	return t.producer.publish(ctx, &m, t.group)
}

// Commit has the message delivered and returns its offset. Committing twice is
// harmless. ErrTransactionEnded: it was rolled back before, by a check or for its age.
func (tx *Transaction) Commit(ctx context.Context) (offset int64, err error) {
	return tx.t.End(ctx, tx.Receipt.Handle, Commit)
}

// Rollback has the message dropped. ErrTransactionEnded: it was committed before.
func (tx *Transaction) Rollback(ctx context.Context) error {
	_, err := tx.t.End(ctx, tx.Receipt.Handle, Rollback)
	return err
}

// End ends the transaction of a handle. The offset is that of the message, -1 after a
// rollback. An indefinite error leaves open whether it has ended.
func (t *Transactional) End(ctx context.Context, handle string, d Decision) (offset int64, err error) {
	if d != Commit && d != Rollback {
		return -1, errorf(CodeInvalidConfig, "a transaction ends with Commit or Rollback")
	}
	request := &brokerv1.EndTransactionRequest{Handle: handle, Commit: d == Commit}
	offset = -1
	err = t.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		resp, err := brokerv1.NewTransactionServiceClient(cc).EndTransaction(ctx, request)
		if err == nil {
			offset = resp.GetBaseOffset()
		}
		return err
	})
	return offset, asEnded(err)
}

// asEnded makes TRANSACTION_ENDED as definite as it is: the transaction has ended the other
// way, so that no earlier try can have ended it this way, whatever became of its answer.
func asEnded(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeTransactionEnded || !e.Indefinite {
		return err
	}
	sure := *e
	sure.Indefinite = false
	return &sure
}

// Close ends the answering and closes the producer, as Producer.Close. What is open
// stays open: other producers of the group are asked.
func (t *Transactional) Close(ctx context.Context) error {
	t.cancel()
	<-t.done
	return t.producer.Close(ctx)
}

// answer lets the leader, whoever that is, ask about transactions.
func (t *Transactional) answer(ctx context.Context) error {
	defer close(t.done)
	pace := pacer{}
	for ctx.Err() == nil {
		r := t.c.router.route()
		began := time.Now()
		err := t.listen(ctx, r)
		if time.Since(began) > maxBackoff {
			pace = pacer{}
		}
		var e *Error
		if errors.As(err, &e) {
			t.c.router.hint(r, r.leader, e)
			t.c.cfg.Logger.Debug("transaction checks ended", "group", t.cfg.Group, "err", err)
		}
		pace.pause(ctx, r, e)
	}
	return nil
}

// listen is one stream of questions.
func (t *Transactional) listen(ctx context.Context, r *route) error {
	if r.leader == nil {
		return errLeaderless
	}
	sctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.leading, func() { cancel(errLeaderMoved) })()
	stream, err := brokerv1.NewTransactionServiceClient(r.leader.conn).WatchTransactions(sctx, &brokerv1.WatchTransactionsRequest{Group: t.group})
	if err != nil {
		return fromRPC(sctx, err)
	}
	for {
		check, err := stream.Recv()
		if err != nil {
			return fromRPC(sctx, err)
		}
		t.check(ctx, check)
	}
}

// check asks the application and tells the brokers. What fails is asked again.
func (t *Transactional) check(ctx context.Context, check *brokerv1.WatchTransactionsResponse) {
	queue := int(check.GetQueue())
	m := Message{Topic: check.GetTopic(), Queue: &queue, Offset: -1, AppendTime: time.UnixMilli(check.GetBeginUnixMs())}
	reader := batch.NewReader(t.c.codec)
	var rec batch.Record
	if err := reader.Reset(check.GetBatch()); err != nil || !reader.Next(&rec) {
		t.c.cfg.Logger.Warn("a half message cannot be read", "group", t.cfg.Group, "handle", check.GetHandle(), "err", reader.Err())
		t.putOff(ctx, check.GetHandle(), true)
		return
	}
	fromRecord(&m, &rec)
	decision := t.cfg.Check(ctx, m)
	if decision == Unknown {
		t.putOff(ctx, check.GetHandle(), false)
		return
	}
	if _, err := t.End(ctx, check.GetHandle(), decision); err != nil {
		t.c.cfg.Logger.Warn("the end of a transaction was not taken", "group", t.cfg.Group, "handle", check.GetHandle(), "err", err)
		t.putOff(ctx, check.GetHandle(), true)
	}
}

// putOff tells the brokers that a question is answered, so that they ask the next one. If
// that is lost, the question comes again with the next stream.
func (t *Transactional) putOff(ctx context.Context, handle string, failed bool) {
	request := &brokerv1.PutOffTransactionRequest{Handle: handle, Failed: failed}
	err := t.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		_, err := brokerv1.NewTransactionServiceClient(cc).PutOffTransaction(ctx, request)
		return err
	})
	if err != nil {
		t.c.cfg.Logger.Debug("a check of a transaction was not answered", "group", t.cfg.Group, "handle", handle, "err", err)
	}
}
