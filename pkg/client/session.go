package client

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// maxFrameBytes closes a frame to further batches: small enough that one frame
// never holds up the acknowledgements of others for long.
const maxFrameBytes = 1 << 20

// forever is a wait that something else will end.
const forever = time.Duration(math.MaxInt64)

// session is one publish stream to one leader. Its fields that are not set at the
// start are guarded by Producer.mu.
type session struct {
	p        *Producer
	stream   grpc.ClientStream
	turn     int         // the queue that gather begins with; the sender's own
	frames   []sentFrame // sent and not answered, in order
	shrunk   float64     // what was left of the newest frame by compression; 1: all
	heard    time.Time   // when the last answer came
	ending   *Error      // how the broker ended the stream, nil if it did not
	verdicts []verdict   // failures to carry out when the session has ended
}

type sentFrame struct {
	number  uint64
	nth     uint64 // of all that the producer has sent, on any stream
	size    int    // on the wire
	at      time.Time
	batches []*outBatch
}

// verdict is an error that ends a batch or, with renew, only its queue's identity.
type verdict struct {
	b     *outBatch
	err   *Error
	renew bool
}

// session publishes to the leader of r until the stream breaks, another leader is
// known or the producer is closed. Batches in flight are sent first, in order.
func (p *Producer) session(ctx context.Context, r *route) error {
	if r.leader == nil {
		return errLeaderless
	}
	if err := p.identify(ctx); err != nil {
		return err
	}
	p.renumber()
	sctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(r.leading, func() { cancel(errLeaderMoved) })
	defer stop()
	g, gctx := errgroup.WithContext(sctx)
	stream, err := r.leader.conn.NewStream(gctx,
		&grpc.StreamDesc{StreamName: "PublishStream", ClientStreams: true, ServerStreams: true},
		brokerv1.MessagingService_PublishStream_FullMethodName, grpc.ForceCodecV2(p.frames))
	if err != nil {
		return fromRPC(gctx, err)
	}
	s := &session{p: p, stream: stream, heard: time.Now()}
	s.begin()
	g.Go(func() error { return s.receive(gctx) })
	g.Go(func() error { return s.watch(gctx) })
	g.Go(func() error { return s.send(gctx) })
	err = g.Wait()
	s.conclude()
	return err
}

// send packs what is ready into frames, one after the other.
func (s *session) send(ctx context.Context) error {
	for number := uint64(1); ; {
		s.p.sweep(time.Now(), nil)
		batches, wait, err := s.gather(time.Now())
		if err != nil {
			return err
		}
		if len(batches) == 0 {
			if err := s.p.await(ctx, wait); err != nil {
				return err
			}
			continue
		}
		frame, err := s.seal(number, batches)
		if err != nil {
			return err
		}
		switch err := s.stream.SendMsg(frame); {
		case errors.Is(err, io.EOF):
			<-ctx.Done() // the receiver gets the stream's error
			return context.Cause(ctx)
		case err != nil:
			return fromRPC(ctx, err)
		}
		number++
	}
}

// await waits until there may be something to send.
func (p *Producer) await(ctx context.Context, wait time.Duration) error {
	var due <-chan time.Time
	if wait != forever {
		t := time.NewTimer(wait)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-p.wake:
	case <-due:
	}
	return nil
}

// seal finishes the bytes of the batches and enters the frame in the list of
// those that wait for an answer.
func (s *session) seal(number uint64, batches []*outBatch) (*publishFrame, error) {
	p := s.p
	frame := &publishFrame{number: number, batches: make([]*sealedBytes, len(batches))}
	for i, b := range batches {
		if b.sealed == nil || b.stale {
			if err := p.seal(b); err != nil {
				return nil, err
			}
		}
		frame.batches[i] = b.sealed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	load := 0
	for _, b := range batches {
		load += b.load
		p.spareLocked(b)
		if b.tries++; b.tries > 1 {
			p.mu.stats.Retries++
		}
		b.stale, b.waiting = false, true
	}
	p.mu.sent++
	s.frames = append(s.frames, sentFrame{number: number, nth: p.mu.sent, size: frame.size(), at: time.Now(), batches: batches})
	s.shrunk = min(1, float64(frame.size())/float64(load))
	return frame, nil
}

// receive reads answers until the stream ends.
func (s *session) receive(ctx context.Context) error {
	for {
		resp := new(brokerv1.PublishStreamResponse)
		if err := s.stream.RecvMsg(resp); err != nil {
			s.ending = fromStatus(err)
			return fromRPC(ctx, err)
		}
		if err := s.answer(resp, time.Now()); err != nil {
			return err
		}
	}
}

// answer settles the batches of a frame. An error ends the session.
func (s *session) answer(resp *brokerv1.PublishStreamResponse, now time.Time) error {
	s.p.mu.Lock()
	stored, err := s.answerLocked(resp, now)
	s.p.mu.Unlock()
	s.p.finish(stored)
	s.p.signal()
	return err
}

func (s *session) answerLocked(resp *brokerv1.PublishStreamResponse, now time.Time) (stored []*outBatch, err error) {
	if len(s.frames) == 0 || s.frames[0].number != resp.GetFrame() || len(s.frames[0].batches) != len(resp.GetResults()) {
		return nil, errorf(CodeInternal, "broker answered frame %d with %d results, which was not asked", resp.GetFrame(), len(resp.GetResults()))
	}
	batches := s.frames[0].batches
	s.frames[0] = sentFrame{}
	s.frames = s.frames[1:]
	s.heard = now
	s.p.mu.apart = max(0, s.p.mu.apart-1)
	s.p.mu.window = advised(resp)
	for i, res := range resp.GetResults() {
		b := batches[i]
		if b.err != nil {
			continue // ran out of time meanwhile
		}
		b.waiting = false
		if e := fromDetail(res.GetError()); e != nil {
			err = errors.Join(err, s.judgeLocked(b, e))
			continue
		}
		s.storedLocked(b, res, now)
		stored = append(stored, b)
	}
	return stored, err
}

// storedLocked writes the good outcome into b.
func (s *session) storedLocked(b *outBatch, res *brokerv1.BatchResult, now time.Time) {
	p := s.p
	q := p.queues[b.queue]
	q.remove(b)
	q.strays = 0
	b.offset, b.index, b.term = res.GetBaseOffset(), res.GetLedgerIndex(), res.GetTerm()
	b.handle, b.duplicate, b.acked = res.GetHandle(), res.GetDuplicate(), now
	p.mu.inFlight -= b.load
	p.settledLocked(b)
	p.mu.stats.Acked += uint64(b.count)
	if b.duplicate {
		p.mu.stats.Duplicates += uint64(b.count)
	}
}

// judgeLocked decides what a refusal means: try again, or a verdict.
func (s *session) judgeLocked(b *outBatch, e *Error) error {
	q := s.p.queues[b.queue]
	oldest := len(q.flight) > 0 && q.flight[0] == b
	b.maybe = b.maybe || e.Indefinite
	switch {
	case e.Code == CodeUnknownProducer && !b.maybe:
		s.verdicts = append(s.verdicts, verdict{b: b, err: e, renew: true})
	case e.Code == CodeOutOfOrder && oldest:
		// Nothing of ours is missing before it. A try that is overtaken by its own
		// predecessor on a dying stream may see this once or twice.
		if q.strays++; q.strays >= maxStrays {
			s.verdicts = append(s.verdicts, verdict{b: b, err: e})
		}
	case transient(e.Code), e.Code == CodeCorruptBatch:
	default:
		s.verdicts = append(s.verdicts, verdict{b: b, err: e})
	}
	return e
}

// maxStrays is how often the oldest batch may be called out of order.
const maxStrays = 5

// watch ends the session when the leader is silent while frames wait for it, and
// lets the sender look for messages that ran out of time.
func (s *session) watch(ctx context.Context) error {
	t := time.NewTicker(max(s.p.cfg.AckTimeout/4, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-t.C:
			if s.silent(now) {
				return errSilent
			}
			s.p.signal()
		}
	}
}

func (s *session) silent(now time.Time) bool {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if len(s.frames) == 0 {
		return false
	}
	since := s.frames[0].at
	if s.heard.After(since) {
		since = s.heard
	}
	return now.Sub(since) > s.p.cfg.AckTimeout
}

// conclude runs after the session's goroutines: it marks what may have been
// stored and carries out the verdicts.
func (s *session) conclude() {
	p := s.p
	p.mu.Lock()
	s.endedLocked()
	var lost []*outBatch
	for _, v := range s.verdicts {
		q := p.queues[v.b.queue]
		switch {
		case v.b.err != nil: // went down with another one
		case q.doubtBefore(v.b): // what was sent before it comes first, under its old identity
		case v.renew:
			q.startOver(slices.Index(q.flight, v.b))
		default:
			lost = append(lost, p.failLocked(q, v.b, v.err)...)
			lost = append(lost, p.learnLocked(q, v)...)
		}
	}
	for _, q := range p.queues {
		q.sent = 0
		for _, b := range q.flight {
			b.maybe = b.maybe || b.waiting
			b.waiting = false
		}
	}
	p.mu.Unlock()
	p.finish(lost)
	for _, v := range s.verdicts {
		if v.err.Code == CodeMessageTypeMismatch || v.err.Code == CodeMessageTooLarge {
			p.lookAgain()
		}
	}
}

// learnLocked spares the brokers what they will refuse again: messages for a
// queue that is gone, and those as large as one that was too large.
func (p *Producer) learnLocked(q *outQueue, v verdict) (lost []*outBatch) {
	switch v.err.Code {
	case CodeUnknownQueue, CodeUnknownTopic:
		q.dead = v.err
		for b := q.oldest(); b != nil; b = q.oldest() {
			lost = append(lost, p.failLocked(q, b, v.err)...)
		}
	case CodeMessageTooLarge:
		if v.b.count == 1 && p.cfg.Compression == NoCompression {
			p.mu.limit = min(p.mu.limit, v.b.bytes)
		}
	}
	return lost
}

// endedLocked uses what a definite end of the stream says: the broker answered all
// that it proposed before, so nothing of what is left was stored, and the first
// frame that is left is the one that was meant.
func (s *session) endedLocked() {
	switch {
	case s.ending == nil:
	case s.ending.limit > 0:
		s.oversizeLocked()
	case s.ending.definite:
		s.unseenLocked(s.frames)
		if s.ending.Code == CodeMessageTooLarge && len(s.frames) > 0 {
			s.apartLocked(s.frames[0].batches)
		}
	}
}

// renumber gives batches in flight new sequences where their queue began anew.
// None of them may be stored under its old one, or it would be stored twice.
func (p *Producer) renumber() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queues {
		if !slices.ContainsFunc(q.flight, func(b *outBatch) bool { return b.who != q.who }) {
			continue
		}
		q.next = 0
		for _, b := range q.flight {
			if b.maybe {
				panic("client: a batch that may be stored is numbered anew")
			}
			q.number(b)
			b.stale = true
		}
	}
}
