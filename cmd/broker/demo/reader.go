package demo

import (
	"context"
	"errors"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// reader consumes one queue.
type reader struct {
	queue    int
	books    *tally
	consumer *client.Consumer
}

func newReader(ctx context.Context, c *client.Client, queue int, books *tally) (*reader, error) {
	consumer, err := c.Consumer(ctx, client.ConsumerConfig{Topic: topic, Queues: []int{queue}})
	if err != nil {
		return nil, err
	}
	return &reader{queue: queue, books: books, consumer: consumer}, nil
}

// read consumes until ctx ends.
func (r *reader) read(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.next(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("consume %s/%d: %w", topic, r.queue, err)
		}
	}
	return nil
}

// drain consumes the rest of the queue; read must have returned.
func (r *reader) drain(ctx context.Context) error {
	ranges, err := r.consumer.Ranges(ctx)
	if err != nil {
		return fmt.Errorf("ask for the end of %s/%d: %w", topic, r.queue, err)
	}
	for {
		at, err := r.consumer.Position(r.queue)
		if err != nil || at >= ranges[0].End {
			return errors.Join(err, r.consumer.Close())
		}
		if err := r.next(ctx); err != nil {
			return fmt.Errorf("consume the rest of %s/%d from %d to %d: %w", topic, r.queue, at, ranges[0].End, err)
		}
	}
}

func (r *reader) next(ctx context.Context) error {
	messages, err := r.consumer.Poll(ctx, 1000)
	for _, m := range messages {
		r.books.consumed(uint32(*m.Queue), m.Value)
	}
	return err
}
