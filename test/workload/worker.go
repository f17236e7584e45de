package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// poisonous marks values that no worker can do: they become dead letters.
const poisonous = "/poison"

// Worker receives as a member of a work-queue group, and acknowledges most of what it is
// given; some it gives back, of some it says nothing until the lease is over.
type Worker struct {
	*Scene
	// Who names it in the history, with the number of its life.
	Who          string
	Group, Topic string
	// Invisible is how long a lease lasts; default 2 s.
	Invisible time.Duration
	Rng       *rand.Rand

	life int
}

// WorkPolicy is that of the groups of workers.
func WorkPolicy() client.WorkPolicy {
	return client.WorkPolicy{MaxAttempts: 4, BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond, FIFO: true}
}

// Work receives until stop is done.
func (w *Worker) Work(stop context.Context) error {
	return w.work(stop, w.Who, func(c *client.Client) error { return w.live(stop, c) })
}

func (w *Worker) live(stop context.Context, c *client.Client) error {
	invisible := w.Invisible
	if invisible == 0 {
		invisible = 2 * time.Second
	}
	w.life++
	who := fmt.Sprintf("%s.%d", w.Who, w.life)
	in, err := c.WorkConsumer(stop, client.WorkConfig{Group: w.Group, Topic: w.Topic, Policy: WorkPolicy(), Invisible: invisible})
	if err != nil {
		return err
	}
	life, cancel := w.Scene.life(stop, w.Rng)
	defer cancel()
	if w.Rng.IntN(2) == 0 { // with everything under way
		defer context.AfterFunc(life, func() {
			if stop.Err() == nil {
				_ = c.Close()
			}
		})()
	}
	for life.Err() == nil {
		began := w.Recorder.Now()
		deliveries, err := in.Receive(life, 8)
		if err != nil && life.Err() == nil {
			return err
		}
		if err := w.received(who, began, deliveries); err != nil {
			return err
		}
		if err := w.settleAll(who, deliveries); err != nil {
			return err
		}
	}
	return in.Close()
}

// received notes deliveries, a line for each queue.
func (w *Worker) received(who string, began int64, deliveries []*client.Delivery) error {
	lines := map[int]*history.Operation{}
	for _, d := range deliveries {
		o := lines[*d.Queue]
		if o == nil {
			line := w.operation(history.Receive, who, w.Topic, *d.Queue)
			line.Group, line.Invoke, line.Complete = w.Group, began, w.Recorder.Now()
			o = &line
			lines[*d.Queue] = o
		}
		o.Messages = append(o.Messages, history.Message{Offset: d.Offset, Value: string(d.Value), Attempt: int64(d.Attempt)})
	}
	for _, o := range lines {
		if err := w.record(*o); err != nil {
			return err
		}
	}
	return nil
}

// settleAll says of each delivery what has become of it.
func (w *Worker) settleAll(who string, deliveries []*client.Delivery) error {
	var all errgroup.Group
	for _, d := range deliveries {
		chance := w.Rng.IntN(100)
		switch {
		case strings.HasSuffix(string(d.Value), poisonous), chance < 10 && d.Attempt == 1:
			all.Go(func() error { return w.giveBack(who, d) })
		case chance == 99 && d.Attempt == 1: // nothing is said: the lease runs out
		default:
			all.Go(func() error { return w.ack(who, d) })
		}
	}
	return all.Wait()
}

func (w *Worker) ack(who string, d *client.Delivery) error {
	o := w.operation(history.Ack, who, w.Topic, *d.Queue)
	o.Group, o.Offset, o.Value = w.Group, d.Offset, string(d.Value)
	err := d.Ack(context.Background())
	o.Complete, o.Outcome = w.Recorder.Now(), outcome(err)
	if err != nil && !errors.Is(err, client.ErrReceiptExpired) {
		w.failed(who, "acknowledge", err)
	}
	return w.record(o)
}

func (w *Worker) giveBack(who string, d *client.Delivery) error {
	err := d.Nack(context.Background(), -1)
	if err != nil && !errors.Is(err, client.ErrReceiptExpired) {
		w.failed(who, "give back", err)
	}
	w.count(w.Topic + " nack")
	return nil
}

// DeadLetters notes all dead letters of a group.
func (s *Scene) DeadLetters(ctx context.Context, c *client.Client, who, group, topic string) (n int, err error) {
	for from := int64(0); ; {
		asked := s.Recorder.Now()
		page, err := c.Admin().DeadLetters(ctx, group, from, 1000, true)
		if err != nil {
			return n, fmt.Errorf("dead letters of %s: %w", group, err)
		}
		lines := map[int]*history.Operation{}
		for _, l := range page.Letters {
			name, queueText, offsetText := l.Origin()
			queue, err := strconv.Atoi(queueText)
			offset, err2 := strconv.ParseInt(offsetText, 10, 64)
			if err := errors.Join(err, err2); err != nil || name != topic {
				return n, fmt.Errorf("a dead letter of %s tells of %q, %q, %q: %w", group, name, queueText, offsetText, err)
			}
			if lines[queue] == nil {
				o := s.operation(history.Dead, who, topic, queue)
				o.Group, o.Invoke, o.Complete = group, asked, s.Recorder.Now()
				lines[queue] = &o
			}
			if slices.ContainsFunc(lines[queue].Messages, func(m history.Message) bool { return m.Offset == offset }) {
				s.Recorder.Problem("%s queue %d offset %d is a dead letter twice", topic, queue, offset)
			}
			lines[queue].Messages = append(lines[queue].Messages, history.Message{Offset: offset, Value: string(l.Value)})
			n++
		}
		for _, o := range lines {
			if err := s.record(*o); err != nil {
				return n, err
			}
		}
		if from = page.Next; from >= page.End {
			return n, nil
		}
	}
}
