package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// Reasons for a session to end that are not errors of a broker.
var (
	errDrained  = errors.New("producer is closed and has nothing left")
	errRenumber = errors.New("batches have to be numbered anew")
)

var (
	errSilent     = &Error{Code: CodeUnavailable, Message: "the leader does not answer", Indefinite: true}
	errLeaderless = &Error{Code: CodeNoLeader, Message: "no leader is known"}
)

// run holds one publish session after the other until the producer is closed.
func (p *Producer) run(ctx context.Context) error {
	defer close(p.done)
	pace := pacer{}
	var last *Error
	for ctx.Err() == nil {
		r := p.c.router.route()
		began := time.Now()
		err := p.session(ctx, r)
		if errors.Is(err, errDrained) {
			return nil
		}
		if time.Since(began) > maxBackoff {
			pace = pacer{}
		}
		var e *Error
		if errors.As(err, &e) {
			last = e
			p.c.router.hint(r, r.leader, e)
			if fatal(e.Code) || e.Code == CodeProducerFenced {
				p.fail(e)
				return nil
			}
			p.c.cfg.Logger.Debug("publish session ended", "topic", p.cfg.Topic, "err", err)
		}
		p.sweep(time.Now(), last)
		if p.drained() {
			return nil
		}
		if !errors.Is(err, errRenumber) {
			pace.pause(ctx, r, e)
		}
	}
	p.fail(context.Cause(ctx))
	return nil
}

// drained tells whether a closed producer may end.
func (p *Producer) drained() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.closed != nil && p.mu.buffered == 0
}

// sweep fails the batches that ran out of time.
func (p *Producer) sweep(now time.Time, last *Error) {
	p.mu.Lock()
	lost := p.expireLocked(now, last)
	p.mu.Unlock()
	p.finish(lost)
}

// expireLocked takes out batches older than DeliveryTimeout.
func (p *Producer) expireLocked(now time.Time, last *Error) []*outBatch {
	var lost []*outBatch
	for _, q := range p.queues {
		for {
			b := q.oldest()
			if b == nil || now.Sub(b.created) < p.cfg.DeliveryTimeout {
				break
			}
			e := errorf(CodeDeliveryTimeout, "not acknowledged within %v", p.cfg.DeliveryTimeout)
			if last != nil {
				e.cause = last
			}
			lost = append(lost, p.failLocked(q, b, e)...)
		}
	}
	return lost
}

// fail ends the producer: everything outstanding fails with err.
func (p *Producer) fail(err error) {
	p.mu.Lock()
	if p.mu.closed == nil {
		p.mu.closed = err
	}
	var lost []*outBatch
	for _, q := range p.queues {
		for b := q.oldest(); b != nil; b = q.oldest() {
			lost = append(lost, p.failLocked(q, b, asError(err))...)
		}
	}
	p.mu.Unlock()
	p.finish(lost)
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: CodeClosed, Message: "producer has ended", cause: err}
}

// failLocked takes the batch b out of q with an error that trying again would not
// cure, and everything with it that can no longer be stored in order.
//
// The queue then starts over with a new identity. Numbering the followers anew
// under the old one would not be safe: a copy of one of them that is still on its
// way from an earlier try could take the place of its successor.
func (p *Producer) failLocked(q *outQueue, b *outBatch, e *Error) []*outBatch {
	at := slices.Index(q.flight, b)
	if at < 0 { // never sent: nothing depends on it
		q.remove(b)
		p.settleLocked(b, e, false)
		return []*outBatch{b}
	}
	doubt := e.Indefinite || b.maybe || b.waiting
	lost := []*outBatch{b}
	for _, later := range q.flight[at+1:] {
		if doubt && later.tries > 0 {
			lost = append(lost, later)
		}
	}
	for _, l := range lost {
		p.settleLocked(l, e, doubt)
		q.remove(l)
		p.mu.inFlight -= l.load
	}
	q.startOver(at)
	return lost
}

// settledLocked counts a batch off: its outcome is known.
func (p *Producer) settledLocked(b *outBatch) {
	p.mu.buffered -= b.count
	if b.layout < p.mu.layout {
		p.mu.before--
	}
}

// settleLocked writes a failure into b.
func (p *Producer) settleLocked(b *outBatch, e *Error, indefinite bool) {
	final := *e
	final.Indefinite = indefinite
	b.err = &final
	p.settledLocked(b)
	if indefinite {
		p.mu.stats.Unknown += uint64(b.count)
	} else {
		p.mu.stats.Failed += uint64(b.count)
	}
}

// finish tells the futures of batches whose outcome is written, and makes room.
func (p *Producer) finish(batches []*outBatch) {
	free := 0
	for _, b := range batches {
		if b.sealed != nil {
			b.sealed.release()
		}
		b.sealed, b.results = nil, nil // a kept future keeps little else
		free += b.bytes
		b.over.Store(true)
		close(b.done)
	}
	p.mu.Lock()
	p.mu.room.give(free)
	p.mu.Unlock()
}

// number gives b its place in the queue's order.
func (q *outQueue) number(b *outBatch) {
	b.who, b.seq = q.who, q.next
	q.next += int64(b.count)
}

// seal finishes the bytes of a numbered batch; its builder is free afterwards.
func (p *Producer) seal(b *outBatch) error {
	stamp := batch.Stamp{
		Queue: b.id, ProducerID: b.who.id, ProducerEpoch: b.who.epoch, FirstSequence: b.seq,
		DeliverAt: b.due, TransactionGroup: b.half, Grouped: b.grouped,
	}
	if b.sealed == nil {
		data, err := b.builder.Build(stamp)
		if err != nil {
			return fmt.Errorf("building a batch: %w", err)
		}
		b.sealed = newSealedBytes(data, p.c.codec)
		return nil
	}
	// A copy, for gRPC may still be reading the old bytes.
	data := slices.Clone(b.sealed.data)
	if err := batch.Restamp(data, stamp); err != nil {
		return fmt.Errorf("stamping a batch anew: %w", err)
	}
	b.sealed.release()
	b.sealed = newSealedBytes(data, p.c.codec)
	return nil
}
