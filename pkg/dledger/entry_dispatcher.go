package dledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

type pushStream = grpc.BidiStreamingClient[dledgerv1.PushRequest, dledgerv1.PushResponse]

// A stream that ends young is followed by a wait, so that a peer which refuses
// every stream is not asked in a loop.
const (
	streamYoung    = time.Second
	streamMinDelay = 20 * time.Millisecond
	streamMaxDelay = time.Second
)

// dispatchEntries keeps a push stream to p open and sends on it what the outbox
// holds. The stream is open in every role: a leader has it at once, and a
// process that dies is noticed by all its peers in the same moment.
func (s *Server) dispatchEntries(ctx context.Context, p *peer) error {
	delay := streamMinDelay
	for s.awaitSeat(ctx) {
		began := time.Now()
		err := s.pushUntilLost(ctx, p)
		if ctx.Err() != nil {
			return nil
		}
		var fatal *fatalError
		if errors.As(err, &fatal) {
			return err
		}
		s.reportLost(ctx, p, err)
		if time.Since(began) > streamYoung {
			delay = streamMinDelay
		}
		pause(ctx, delay)
		delay = min(2*delay, streamMaxDelay)
	}
	return nil
}

// fatalError ends the server: an error of this member's own disk, not of a peer.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// pushUntilLost opens a stream and serves it until it breaks.
func (s *Server) pushUntilLost(ctx context.Context, p *peer) error {
	streamCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.lagging.Store(false) // it may have been seeded
	stream, err := dledgerv1.NewDLedgerServiceClient(p.bulk).Push(streamCtx, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	// The first message says who is calling; the other side knows the stream by it.
	if err := stream.Send(&dledgerv1.PushRequest{Header: s.header(p.id)}); err != nil {
		return streamError(stream, err)
	}
	g, gctx := errgroup.WithContext(streamCtx)
	g.Go(func() error {
		defer cancel()
		return s.receiveResponses(gctx, p, stream)
	})
	g.Go(func() error {
		defer cancel()
		return s.sendPushes(gctx, p, stream)
	})
	err = g.Wait()
	p.active.Store(nil)
	p.outbox.clear()
	return err
}

// streamError is why a stream broke: Send only says that it did.
func streamError(stream pushStream, err error) error {
	if _, recvErr := stream.Recv(); recvErr != nil {
		return recvErr
	}
	return err
}

// reportLost tells the member and the log that the stream to p is gone.
func (s *Server) reportLost(ctx context.Context, p *peer, err error) {
	s.metrics.peerUp.WithLabelValues(string(p.id)).Set(0)
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.Aborted:
		p.log.Debug("push stream lost", "err", err)
	default:
		if s.complaints.fresh("refused by "+string(p.id), time.Now()) {
			p.log.Error("peer refuses this member", "addr", p.addr, "err", err)
		}
	}
	s.noteRefusal(ctx, p, err)
	s.deliver(ctx, letter{event: member.Disconnected{Peer: p.id}})
}

// receiveResponses brings the peer's answers to the member. The peer's first word
// is an empty answer: it has taken the stream.
func (s *Server) receiveResponses(ctx context.Context, p *peer, stream pushStream) error {
	for first := true; ; first = false {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		if first {
			now := time.Now()
			p.active.Store(&now)
			s.metrics.peerUp.WithLabelValues(string(p.id)).Set(1)
			s.deliver(ctx, letter{event: member.Connected{Peer: p.id}})
			continue
		}
		if p.paused.Load() {
			continue
		}
		if msg, ok := s.pushResponseFromWire(p, resp); ok {
			s.deliver(ctx, letter{event: member.Receive{Message: msg}})
		}
	}
}

// sendPushes sends what the outbox holds, a frame at a time, as long as this
// member leads in the term of it, until ctx is done or the stream breaks.
func (s *Server) sendPushes(ctx context.Context, p *peer, stream pushStream) error {
	for ctx.Err() == nil { // a request that waits for a repair stays at the head, be it for ever
		request, serial, ok := p.outbox.head()
		if !ok {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-p.outbox.wake:
			}
			continue
		}
		wire, last, err := s.readPush(p, request)
		if errors.Is(err, commitlog.ErrFaulty) {
			s.awaitRepair(ctx, p, request)
			continue
		}
		if err != nil {
			return err
		}
		p.outbox.advance(serial, request, last)
		if wire == nil {
			continue
		}
		if p.paused.Load() || !s.leads(request.Term) {
			wire.release()
			continue
		}
		if err := stream.SendMsg(wire); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// readPush puts a request into its wire form with as many of its entries as one
// frame takes, up to last. It returns nil if the range is not in the log any
// more: then the request is of a leadership that is over, or the peer is so far
// behind that it must be seeded.
func (s *Server) readPush(p *peer, r member.PushRequest) (wire *pushFrame, last member.Index, err error) {
	if r.Last < r.First {
		return s.pushRequestToWire(r, commitlog.Frame{}), r.Last, nil
	}
	frame, err := s.ledger.ReadForGroup(logIndex(r.First), logIndex(r.Last), s.cfg.MaxPushBytes)
	switch {
	case errors.Is(err, commitlog.ErrPurged):
		s.noteLagging(p, r)
		return nil, r.Last, nil
	case errors.Is(err, commitlog.ErrBeyondEnd), errors.Is(err, commitlog.ErrClosed):
		return nil, r.Last, nil
	case errors.Is(err, commitlog.ErrFaulty):
		return nil, r.Last, err
	case err != nil:
		return nil, r.Last, &fatalError{fmt.Errorf("read entries from %d for peer %s: %w", r.First, p.id, err)}
	}
	last = memberIndex(frame.Last)
	if !termsAgree(frame.Bytes, r.Runs) {
		frame.Release()
		return nil, r.Last, nil
	}
	r.Last = last
	s.metrics.pushedBytes.WithLabelValues(string(p.id)).Add(float64(len(frame.Bytes)))
	return s.pushRequestToWire(r, frame), last, nil
}

// awaitRepair waits until what a peer needs may be readable here again, or it
// needs something else.
func (s *Server) awaitRepair(ctx context.Context, p *peer, r member.PushRequest) {
	if s.complaints.fresh("damaged for "+string(p.id), time.Now()) {
		p.log.Warn("peer needs an entry that is damaged here: it waits for the repair", "index", int64(r.First))
	}
	ctx, cancel := context.WithTimeout(ctx, repairFirstRetry)
	defer cancel()
	_ = s.AwaitReadable(ctx, logIndex(r.First)) // whatever comes of it, the caller looks again
}

// termsAgree says whether the entries are the ones that the member named: a log
// that was truncated and written anew since then holds others.
func termsAgree(entries []byte, runs []member.Run) bool {
	for len(entries) > 0 {
		h, _, rest, err := commitlog.NextEntry(entries)
		if err != nil || member.Term(h.Term) != termIn(runs, memberIndex(h.Index)) {
			return false
		}
		entries = rest
	}
	return true
}
