package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
	"github.com/ledgermq/ledgermq/test/workload"
)

// consumer reads one queue from its beginning to its end. A wanderer also goes back
// now and then and reads again.
type consumer struct {
	run      *run
	queue    int
	wanders  bool
	rng      *rand.Rand
	name     string
	position int64
	seek     bool // the next pull begins where the consumer chose to
	purged   bool // what it wanted to read next has been purged
}

// fatalCodes are errors that no consumer may ever see here: offsets that were told
// exist, and nothing is deleted in a round without retention.
var fatalCodes = []client.Code{
	client.CodeSkipped, client.CodeCorruptBatch, client.CodeInvalidBatch, client.CodeOffsetTooLow, client.CodeOffsetTooHigh,
	client.CodeUnknownTopic, client.CodeUnknownQueue, client.CodeInternal,
}

// work consumes until the queue's end is reached after the producers have stopped.
func (c *consumer) work(ctx context.Context, ends <-chan []int64) error {
	var end int64 = -1
	for ctx.Err() == nil && (end < 0 || c.position < end) {
		err := c.live(ctx, ends, &end)
		var refused *client.Error
		switch {
		case err == nil || ctx.Err() != nil:
		case c.run.retention && errors.Is(err, client.ErrOffsetTooLow):
			c.purged = true
		case errors.As(err, &refused) && slices.Contains(fatalCodes, refused.Code):
			c.run.record.problem("%s at offset %d of queue %d: %v", c.name, c.position, c.queue, err)
			pause(200 * time.Millisecond)
		default:
			c.run.note("%s: %v", c.name, err)
			pause(100 * time.Millisecond)
		}
	}
	if end < 0 || c.position < end {
		return fmt.Errorf("%s is at offset %d of queue %d, which ends at %d: %w", c.name, c.position, c.queue, end, context.Cause(ctx))
	}
	return nil
}

// live reads with one client until it fails, the end is reached or its life is over.
func (c *consumer) live(ctx context.Context, ends <-chan []int64, end *int64) error {
	conn, err := c.run.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	in, err := conn.Consumer(ctx, client.ConsumerConfig{Topic: topic, Queues: []int{c.queue}, From: client.Offset(c.position)})
	if err != nil {
		return err
	}
	if c.purged {
		if err := c.catchUp(ctx, in); err != nil {
			return err
		}
	}
	for over := time.Now().Add(5*time.Second + time.Duration(c.rng.Int64N(int64(20*time.Second)))); time.Now().Before(over); {
		if err := c.pull(ctx, in); err != nil {
			return err
		}
		select {
		case all := <-ends:
			*end = all[c.queue]
		default:
		}
		if *end >= 0 && c.position >= *end {
			return nil
		}
		if c.wanders && *end < 0 && c.rng.IntN(20) == 0 {
			c.position = max(0, c.position-c.rng.Int64N(500))
			c.seek = true
			if err := in.Seek(c.queue, c.position); err != nil {
				return err
			}
		}
	}
	return nil
}

// catchUp goes on at the first offset that there still is.
func (c *consumer) catchUp(ctx context.Context, in *client.Consumer) error {
	ranges, err := in.Ranges(ctx)
	if err != nil {
		return err
	}
	c.purged, c.seek, c.position = false, true, max(c.position, ranges[0].First)
	return in.Seek(c.queue, c.position)
}

// pull takes what is there, or waits a little.
func (c *consumer) pull(ctx context.Context, in *client.Consumer) error {
	o := unknown(history.Pull, c.name, c.queue)
	o.Offset, o.Seek, o.Invoke = c.position, c.seek, c.run.record.now()
	wait, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	messages, err := in.Poll(wait, 1000)
	o.Complete = c.run.record.now()
	if err != nil {
		if wait.Err() != nil && errors.Is(err, wait.Err()) {
			return ctx.Err()
		}
		return err
	}
	for _, m := range messages {
		o.Messages = append(o.Messages, history.Message{Offset: m.Offset, Value: workload.ValueOf(m)})
		c.position = m.Offset + 1
	}
	c.seek = false
	return c.run.record.write(o)
}
