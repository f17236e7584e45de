package workload

import (
	"context"
	"errors"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// Delayed publishes messages with delivery times, and recalls some of them.
type Delayed struct {
	Source
	// Delay is the longest; default 2 s.
	Delay time.Duration
}

// recallOne is of how many messages one is recalled.
const recallOne = 4

// Work publishes until stop is done.
func (d *Delayed) Work(stop context.Context) error {
	return d.work(stop, d.Who, func(c *client.Client) error { return d.live(stop, c) })
}

func (d *Delayed) live(stop context.Context, c *client.Client) error {
	out, err := c.Producer(stop, client.ProducerConfig{Topic: d.Topic})
	if err != nil {
		return err
	}
	most := d.Delay
	if most == 0 {
		most = 2 * time.Second
	}
	who := d.born(false)
	life, cancel := d.Scene.life(stop, d.Rng)
	defer cancel()
	publish := func() sent {
		o := d.send(who)
		delay := 1 + d.Rng.Int64N(int64(most/time.Millisecond))
		at := time.Now().Add(time.Duration(delay) * time.Millisecond).Truncate(time.Millisecond)
		o.Due = max(1, o.Invoke+int64(time.Until(at))) // at has no monotonic reading, as brokers have none of it
		return sent{o, out.Publish(life, client.Message{Value: []byte(o.Value), Queue: &o.Queue, DeliverAt: at})}
	}
	recall := 0
	return d.pipeline(life, publish, func() { d.close(stop, c, out.Close) }, func(one sent) error {
		o, receipt := d.settle(one)
		if err := d.write(o); err != nil || o.Outcome != history.OK || receipt.Handle == "" {
			return err
		}
		if recall++; recall%recallOne != 0 {
			return nil
		}
		return d.recall(c, o, receipt.Handle)
	})
}

func (d *Delayed) recall(c *client.Client, sent history.Operation, handle string) error {
	o := d.operation(history.Recall, sent.Client, d.Topic, sent.Queue)
	o.Value = sent.Value
	err := c.Recall(context.Background(), handle)
	o.Complete, o.Outcome = d.Recorder.Now(), outcome(err)
	if err != nil && !errors.Is(err, client.ErrNotWaiting) {
		d.failed(o.Client, "recall", err)
	}
	return d.write(o)
}
