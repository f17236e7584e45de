package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// receiveAtOnce is how many messages are received at a time.
const receiveAtOnce = 256

// received reads for a work-queue group: it acknowledges each message that is written out.
type received struct {
	*client.WorkConsumer
	ctx     context.Context
	left    int64 // that are wanted; 0: no limit
	here    []*client.Delivery
	now     *client.Delivery // that TryNext gave last
	written []*client.Delivery
	began   time.Time
}

func (p *program) receiveFor(ctx context.Context, cl *client.Client, topic string) (*received, error) {
	f := &p.flags
	w, err := cl.WorkConsumer(ctx, client.WorkConfig{
		Group: f.group, Topic: topic, From: f.from.At, Filter: f.wanted(), Invisible: f.invisible,
		Policy: client.WorkPolicy{MaxAttempts: f.attempts, FIFO: f.fifo},
	})
	if err != nil {
		return nil, err
	}
	return &received{WorkConsumer: w, ctx: ctx, left: int64(f.count), began: time.Now()}, nil
}

// TryNext gives the next message that is here.
func (r *received) TryNext() (client.Message, bool, error) {
	if len(r.here) == 0 {
		return client.Message{}, false, nil
	}
	r.now, r.here = r.here[0], r.here[1:]
	return r.now.Message, true, nil
}

// Await receives some more, and no more than are wanted.
func (r *received) Await(ctx context.Context) (err error) {
	limit := int64(receiveAtOnce)
	if r.left > 0 {
		limit = min(limit, r.left)
	}
	r.here, err = r.Receive(ctx, int(limit))
	if r.left > 0 {
		r.left -= int64(len(r.here))
	}
	return err
}

// took notes that a message is in our buffer.
func (r *received) took(*client.Message) (due bool) {
	r.written = append(r.written, r.now)
	return len(r.written) >= finishMessages || time.Since(r.began) >= finishEvery
}

// flushed acknowledges what was in our buffer. A message that somebody else has by now is
// his to finish.
func (r *received) flushed() error {
	var g errgroup.Group
	for _, d := range r.written {
		g.Go(func() error {
			if err := d.Ack(context.WithoutCancel(r.ctx)); err != nil && !errors.Is(err, client.ErrReceiptExpired) {
				return err
			}
			return nil
		})
	}
	r.written, r.began = r.written[:0], time.Now()
	return g.Wait()
}

// end gives back what was received and not written, and leaves.
func (r *received) end() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), closeTimeout)
	defer cancel()
	_ = r.Release(ctx, r.here...) // if it is not heard, they come again when their time is over
	return r.Close()
}

// checkReceive refuses flags that do not go with --receive, or only go with it.
func (f *flags) checkReceive() error {
	switch {
	case f.receive && f.group == "":
		return cli.Usagef("--receive is for a work-queue group: name it with --group")
	case !f.receive && (f.fifo || f.attempts != 0):
		return cli.Usagef("--max-attempts and --fifo are for a group that --receive makes")
	case f.receive && (f.invisible < 10*time.Millisecond || f.invisible > 12*time.Hour):
		return cli.Usagef("--invisible must be 10ms to 12h, not %v", f.invisible)
	}
	return nil
}
