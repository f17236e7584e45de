package client

import (
	"context"
	"errors"
	"slices"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// identity is what makes publishing idempotent: sequences of one identity on one
// queue are stored in order and once.
type identity struct {
	id    uint64 // 0: none yet
	epoch uint32
}

// identify gives an identity to the queues that have none.
//
// Without a name those get one of their own. With a name there is one identity for
// all queues, and the next one fences this producer's own batches, too: it must wait
// until none of them is in doubt.
func (p *Producer) identify(ctx context.Context) error {
	p.mu.Lock()
	wait := !p.anonymousLocked() || p.cfg.Name != "" && p.doubtLocked()
	p.mu.Unlock()
	if wait {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.AckTimeout)
	defer cancel()
	err := p.register(ctx)
	var e *Error
	if errors.As(err, &e) && errors.Is(err, context.DeadlineExceeded) {
		// The time was ours. What becomes of messages must not look like the end of their
		// sender's, which may have given up before they were taken.
		ours := *e
		ours.cause = nil
		return &ours
	}
	return err
}

// register asks for an identity. A named producer whose request may have been carried
// out sends the very same one again: a new one would find the name taken, by itself.
func (p *Producer) register(ctx context.Context) error {
	request := p.wish
	if request == nil {
		request = p.newWish()
	}
	var who identity
	err := p.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		resp, err := brokerv1.NewMessagingServiceClient(cc).RegisterProducer(ctx, request)
		who = identity{id: resp.GetProducerId(), epoch: resp.GetEpoch()}
		return err
	})
	switch {
	case err != nil:
		p.wish = nil
		if e := asError(err); p.cfg.Name != "" && (e.Indefinite || e.Code == CodeClosed) {
			p.wish = request
		}
		return err
	case who.id == 0:
		return errorf(CodeInternal, "broker gave out producer id 0")
	}
	p.wish = nil
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.who = who
	for _, q := range p.queues {
		if q.dead == nil && (q.who.id == 0 || p.cfg.Name != "") {
			q.who, q.next = who, 0
		}
	}
	return nil
}

// newWish names what is asked for. Names are each topic's own, so that one process can
// publish to several topics under one.
func (p *Producer) newWish() *brokerv1.RegisterProducerRequest {
	request := &brokerv1.RegisterProducerRequest{RequestId: newRequestID()}
	if p.cfg.Name != "" {
		p.mu.Lock()
		defer p.mu.Unlock()
		request.Name = p.cfg.Topic + "/" + p.cfg.Name
		request.ContinuesId, request.ContinuesEpoch = p.mu.who.id, p.mu.who.epoch
	}
	return request
}

// anonymousLocked tells whether a queue has no identity.
func (p *Producer) anonymousLocked() bool {
	return slices.ContainsFunc(p.queues, func(q *outQueue) bool { return q.who.id == 0 && q.dead == nil })
}

// doubtLocked tells whether any batch in flight may be stored.
func (p *Producer) doubtLocked() bool {
	return slices.ContainsFunc(p.queues, func(q *outQueue) bool { return q.doubts() > 0 })
}

// settlingLocked tells whether nothing but what is in doubt may be sent: a named producer
// needs another identity, and can have it when the brokers have said what became of that.
func (p *Producer) settlingLocked() bool { return p.cfg.Name != "" && p.anonymousLocked() }

// doubts is how many batches in flight there are up to the last one that may be stored.
func (q *outQueue) doubts() int {
	for i := len(q.flight) - 1; i >= 0; i-- {
		if b := q.flight[i]; b.maybe || b.waiting {
			return i + 1
		}
	}
	return 0
}
