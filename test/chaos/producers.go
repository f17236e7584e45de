package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// producer lives many short lives, each with a client, an idempotent producer and a
// name of its own. Some end in order, some with messages under way.
type producer struct {
	run    *run
	number int
	rng    *rand.Rand
	life   int
}

// sent is a message whose outcome is awaited.
type sent struct {
	op     history.Operation
	result *client.Result
}

// work produces until stop; ctx ends everything at once.
func (p *producer) work(ctx, stop context.Context) error {
	for stop.Err() == nil {
		if err := p.live(ctx, stop); err != nil && stop.Err() == nil {
			p.run.note("producer %d: %v", p.number, err)
			pause(100 * time.Millisecond)
		}
	}
	return ctx.Err()
}

// live is one life.
func (p *producer) live(ctx, stop context.Context) error {
	p.life++
	c, err := p.run.dial(stop)
	if err != nil {
		return err
	}
	defer c.Close()
	cfg := client.ProducerConfig{Topic: topic, MaxBatchBytes: maxBatch, DeliveryTimeout: []time.Duration{2, 5, 30}[p.rng.IntN(3)] * time.Second}
	if p.rng.IntN(3) == 0 {
		cfg.Compression = client.S2Compression
	}
	out, err := c.Producer(stop, cfg)
	if err != nil {
		return err
	}
	life, cancel := context.WithTimeout(stop, 3*time.Second+time.Duration(p.rng.Int64N(int64(12*time.Second))))
	defer cancel()
	underWay := make(chan sent, 1<<16)
	both := errgroup.Group{}
	both.Go(func() error { return p.collect(ctx, underWay) })
	p.publish(life, out, underWay)
	if stop.Err() != nil || p.rng.IntN(2) == 0 {
		flush, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		_ = out.Close(flush) // the outcomes tell
	} else {
		_ = c.Close() // with everything under way
	}
	close(underWay)
	return both.Wait()
}

// publish sends until its life ends.
func (p *producer) publish(life context.Context, out *client.Producer, underWay chan<- sent) {
	limit := rate.NewLimiter(rate.Limit(p.run.rate), p.run.rate/20+1)
	next := make([]int64, queues)
	who := fmt.Sprintf("p%d.%d", p.number, p.life)
	for limit.Wait(life) == nil {
		queue := p.rng.IntN(queues)
		o := unknown(history.Send, who, queue)
		o.Sequence = next[queue]
		next[queue]++
		o.Value = fmt.Sprintf("%s/%d/%d", who, queue, o.Sequence)
		o.Invoke = p.run.record.now()
		underWay <- sent{o, out.Publish(life, client.Message{Value: p.pad(o.Value), Queue: &queue})}
	}
}

// pad makes some messages long: batches of many sizes, and packets too.
func (p *producer) pad(value string) []byte {
	text := append([]byte(value), ' ')
	if p.rng.IntN(50) == 0 {
		text = append(text, make([]byte, p.rng.IntN(20_000))...)
	}
	return text
}

// collect writes down what became of each message. It does not give up on any: the
// client owes every one an outcome.
func (p *producer) collect(ctx context.Context, underWay <-chan sent) error {
	for s := range underWay {
		receipt, err := s.result.Get(ctx)
		o := s.op
		o.Complete = p.run.record.now()
		if sequence, ok := s.result.Sequence(); ok {
			o.Producer, o.Epoch, o.Number = sequence.ProducerID, sequence.Epoch, sequence.Number+1
		}
		var refused *client.Error
		switch {
		case err == nil:
			// The acknowledgement came before it was noted here, and the earlier instant says more.
			o.Complete = max(o.Invoke, int64(receipt.AckTime.Sub(p.run.record.began)))
			o.Offset, o.Index, o.Term = receipt.Offset, receipt.LedgerIndex, receipt.Term
			if receipt.Queue != o.Queue {
				p.run.record.problem("%s was sent to queue %d and acknowledged in queue %d", o.Value, o.Queue, receipt.Queue)
			}
		case errors.As(err, &refused):
			if o.Outcome = history.Fail; refused.Indefinite {
				o.Outcome = history.Info
			}
			p.run.record.refused(refused)
		case ctx.Err() != nil:
			o.Outcome = history.Info
		default: // Publish waited for room until its life ended: certainly not sent
			o.Outcome = history.Fail
		}
		if err := p.run.record.write(o); err != nil {
			return err
		}
	}
	return nil
}
