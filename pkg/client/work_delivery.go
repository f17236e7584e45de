package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Delivery is a message that was received, and the lease on it.
type Delivery struct {
	Message
	// Attempt is the how-many-eth delivery this is, from 1.
	Attempt int
	// Receipt names the lease among brokers; it is text, and can be handed to others.
	Receipt string
	// Until is about when the lease ends, if it is not extended.
	Until time.Time

	w *WorkConsumer
}

// Ack says that the message is done. Nil means that this is committed: it never comes
// again. Acknowledging what is done already is no error. ErrReceiptExpired: the lease had
// ended, and the message was given to somebody else.
func (d *Delivery) Ack(ctx context.Context) error { return d.w.acks.ack(ctx, d.Receipt) }

// Nack has the message delivered again after a time; negative: as the group's policy says.
// Its attempt counts. ErrReceiptExpired as for Ack.
func (d *Delivery) Nack(ctx context.Context, delay time.Duration) error {
	ms := delay.Milliseconds()
	if delay < 0 {
		ms = -1
	}
	req := &brokerv1.NackRequest{Receipts: []string{d.Receipt}, DelayMs: ms}
	return d.w.call(ctx, func(ctx context.Context, s brokerv1.WorkServiceClient) ([]*brokerv1.WorkResult, error) {
		resp, err := s.Nack(ctx, req)
		return resp.GetResults(), err
	})
}

// Extend has the lease end after a time from now. ErrReceiptExpired: it had ended, or its
// leader is gone; the message may come again, but can still be acknowledged until it does.
func (d *Delivery) Extend(ctx context.Context, invisible time.Duration) error {
	began := time.Now()
	err := d.w.extend(ctx, []string{d.Receipt}, invisible)
	if err == nil {
		d.Until = began.Add(invisible)
	}
	return err
}

func (w *WorkConsumer) extend(ctx context.Context, receipts []string, invisible time.Duration) error {
	req := &brokerv1.ChangeInvisibleRequest{Receipts: receipts, InvisibleMs: invisible.Milliseconds()}
	return w.call(ctx, func(ctx context.Context, s brokerv1.WorkServiceClient) ([]*brokerv1.WorkResult, error) {
		resp, err := s.ChangeInvisible(ctx, req)
		return resp.GetResults(), err
	})
}

// call makes a request and returns the first error among its results.
func (w *WorkConsumer) call(ctx context.Context, do func(context.Context, brokerv1.WorkServiceClient) ([]*brokerv1.WorkResult, error)) error {
	var results []*brokerv1.WorkResult
	err := w.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) (err error) {
		results, err = do(ctx, brokerv1.NewWorkServiceClient(cc))
		return err
	})
	for _, r := range results {
		if e := fromDetail(r.GetError()); err == nil && e != nil {
			err = e
		}
	}
	return err
}
