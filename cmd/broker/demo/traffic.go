package demo

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// maxUnderWay bounds the messages of one producer whose acknowledgement is not
// noted yet; a publisher that has so many waits.
const maxUnderWay = 1 << 16

// sent is a message under way.
type sent struct {
	id     messageID
	result *client.Result
	at     time.Time
}

// publisher publishes the messages of one producer at its rate.
type publisher struct {
	number   uint32
	cfg      config
	books    *tally
	producer *client.Producer
	underWay chan sent
}

func newPublisher(ctx context.Context, c *client.Client, number int, cfg config, books *tally) (*publisher, error) {
	producer, err := c.Producer(ctx, client.ProducerConfig{Topic: topic})
	if err != nil {
		return nil, err
	}
	return &publisher{number: uint32(number), cfg: cfg, books: books, producer: producer, underWay: make(chan sent, maxUnderWay)}, nil
}

// publish gives out messages, queue after queue, until ctx ends.
func (p *publisher) publish(ctx context.Context) {
	perSecond := float64(p.cfg.rate) / float64(p.cfg.producers)
	limit := rate.NewLimiter(rate.Limit(perSecond), int(perSecond/20)+1)
	for n := 0; limit.Wait(ctx) == nil; n++ {
		queue := n % p.cfg.queues
		id := p.books.publish(p.number, uint32(queue))
		at := time.Now()
		// The message is in the books: it must get an outcome, so ctx must not cut it.
		result := p.producer.Publish(context.WithoutCancel(ctx), client.Message{Value: id.encode(p.cfg.size), Queue: &queue})
		p.underWay <- sent{id, result, at}
	}
}

// finish waits until everything published has its outcome, or ctx ends.
func (p *publisher) finish(ctx context.Context) error {
	close(p.underWay)
	return p.producer.Flush(ctx)
}

// collect notes the outcome of each message, until finish and the last one.
func (p *publisher) collect(ctx context.Context) error {
	for s := range p.underWay {
		receipt, err := s.result.Get(ctx)
		if err != nil {
			p.books.failed()
			continue
		}
		p.books.acked(s.id, receipt.Term, receipt.AckTime, receipt.AckTime.Sub(s.at))
	}
	return nil
}
