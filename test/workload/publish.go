package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// Source is what clients that publish have in common.
type Source struct {
	*Scene
	// Who names the client in the history. Its lives have names of their own, unless its
	// producer is Named.
	Who string
	// Topic has so many Queues.
	Topic  string
	Queues int
	// Rate is messages a second.
	Rate int
	Rng  *rand.Rand

	life int
	next []int64 // by queue: the sequence of the next message
}

// sent is a message whose outcome is awaited.
type sent struct {
	op     history.Operation
	result *client.Result
}

// pipeline publishes until life is over, and then closes the producer; collect is told
// each message's outcome, which the client owes.
func (s *Source) pipeline(life context.Context, publish func() sent, end func(), collect func(sent) error) error {
	limit := rate.NewLimiter(rate.Limit(s.Rate), s.Rate/20+1)
	underWay := make(chan sent, 1<<14)
	both := errgroup.Group{}
	both.Go(func() error {
		var first error
		for one := range underWay {
			if err := collect(one); first == nil {
				first = err
			}
		}
		return first
	})
	for limit.Wait(life) == nil {
		underWay <- publish()
	}
	end()
	close(underWay)
	return both.Wait()
}

// born names a life; its messages are numbered anew, except under a name.
func (s *Source) born(named bool) (who string) {
	s.life++
	if s.next == nil || !named {
		s.next = make([]int64, s.Queues)
	}
	if named {
		return s.Who
	}
	return fmt.Sprintf("%s.%d", s.Who, s.life)
}

// send is the operation of the next message.
func (s *Source) send(who string) history.Operation {
	queue := s.Rng.IntN(s.Queues)
	o := s.operation(history.Send, who, s.Topic, queue)
	o.Sequence = s.next[queue]
	s.next[queue]++
	o.Value = fmt.Sprintf("%s/%s/%d/%d", who, s.Topic, queue, o.Sequence)
	return o
}

// settle awaits the outcome of a message and notes what is known of it.
func (s *Source) settle(one sent) (history.Operation, client.Receipt) {
	receipt, err := one.result.Get(context.Background()) // the client's closing bounds it
	o := one.op
	o.Complete = s.Recorder.Now()
	if sequence, ok := one.result.Sequence(); ok {
		o.Producer, o.Epoch, o.Number = sequence.ProducerID, sequence.Epoch, sequence.Number+1
	}
	switch {
	case err == nil:
		o.Offset, o.Index, o.Term = receipt.Offset, receipt.LedgerIndex, receipt.Term
		if receipt.Queue != o.Queue {
			s.Recorder.Problem("%s was sent to queue %d and acknowledged in queue %d", o.Value, o.Queue, receipt.Queue)
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		o.Outcome = history.Fail // Publish waited for room until its life ended: certainly not sent
	default:
		o.Outcome = outcome(err)
		s.failed(o.Client, "publish", err)
	}
	return o, receipt
}

// close ends a producer in order, or its connection with everything under way.
func (s *Source) close(stop context.Context, c *client.Client, closeProducer func(context.Context) error) {
	if stop.Err() == nil && s.Rng.IntN(2) == 0 {
		_ = c.Close()
		return
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(stop), 30*time.Second)
	defer cancel()
	_ = closeProducer(flush) // the outcomes tell
}

// Producer publishes what is delivered at once.
type Producer struct {
	Source
	// Named: all lives are those of one producer, and each fences the one before.
	Named bool
	// ForWorkers: two messages of three are of message groups, and one of fifty is poison.
	ForWorkers bool
}

// Work publishes until stop is done.
func (p *Producer) Work(stop context.Context) error {
	return p.work(stop, p.Who, func(c *client.Client) error { return p.live(stop, c) })
}

func (p *Producer) live(stop context.Context, c *client.Client) error {
	cfg := client.ProducerConfig{Topic: p.Topic}
	if p.Named {
		cfg.Name = p.Who
	}
	out, err := c.Producer(stop, cfg)
	if err != nil {
		return err
	}
	who := p.born(p.Named)
	life, cancel := p.Scene.life(stop, p.Rng)
	defer cancel()
	publish := func() sent {
		o := p.send(who)
		m := client.Message{Queue: &o.Queue}
		if p.ForWorkers {
			if n := p.Rng.IntN(12); n < 8 {
				m.MessageGroup = fmt.Sprintf("%d/%d", o.Queue, n)
				o.Fifo = m.MessageGroup
			}
			if p.Rng.IntN(50) == 0 {
				o.Value += poisonous
			}
		}
		m.Value = []byte(o.Value)
		return sent{o, out.Publish(life, m)}
	}
	return p.pipeline(life, publish, func() { p.close(stop, c, out.Close) }, func(one sent) error {
		o, _ := p.settle(one)
		if p.ForWorkers {
			if o.Outcome == history.OK && strings.HasSuffix(o.Value, poisonous) {
				p.count(p.Topic + " poison")
			}
			return p.record(o) // when it is done with, the group's progress says
		}
		return p.write(o)
	})
}
