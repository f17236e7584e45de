package dledger

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// inboundStream is a push stream that a peer has opened. Its gRPC handler sends
// the answers and ends it; the peer's push receiver reads it. A handler that
// returns makes the reader's Recv fail, so the two always end together.
type inboundStream struct {
	stream      grpc.BidiStreamingServer[dledgerv1.PushRequest, dledgerv1.PushResponse]
	incarnation string
	flow        *flow
	wake        chan struct{} // capacity 1: an answer waits
	replaced    chan struct{} // closed when the peer has opened a newer stream
	ended       chan error    // capacity 1: why the reader stopped

	mu struct {
		sync.Mutex
		answers []member.PushResponse
	}
}

// maxPushAnswers bounds the answers that wait; beyond it the oldest go. Each
// stands for everything before it.
const maxPushAnswers = 256

// Push implements dledgerv1.DLedgerServiceServer. The first message says only who
// is calling.
func (s peerService) Push(stream grpc.BidiStreamingServer[dledgerv1.PushRequest, dledgerv1.PushResponse]) error {
	hello, err := stream.Recv()
	if err != nil {
		return err
	}
	p, err := s.checkHeader(hello.GetHeader())
	switch {
	case err != nil:
		return err
	case p == nil:
		return status.Errorf(codes.PermissionDenied, "%q is not another member of group %s", hello.GetHeader().GetFrom(), s.cfg.Group)
	}
	in := &inboundStream{
		stream: stream, incarnation: hello.GetHeader().GetIncarnation(), flow: newFlow(),
		wake: make(chan struct{}, 1), replaced: make(chan struct{}), ended: make(chan error, 1),
	}
	if old := p.current.Swap(in); old != nil {
		close(old.replaced) // newest wins
	}
	err = s.servePush(p, in)
	if p.current.CompareAndSwap(in, nil) {
		// The peer's process or its connection died: if it led, somebody else should.
		s.deliver(context.WithoutCancel(stream.Context()), letter{event: member.Disconnected{Peer: p.id}})
	}
	return err
}

// servePush hands the stream to the peer's reader and sends answers until either
// side ends it.
func (s *Server) servePush(p *peer, in *inboundStream) error {
	select {
	case p.inbound <- in: // the reader of the stream before this one has ended
	case <-in.replaced:
		return status.Error(codes.Aborted, "a newer stream of this peer has come")
	case <-in.stream.Context().Done():
		return in.stream.Context().Err()
	case <-p.gone():
		return errRetired
	case <-s.stopping:
		return errStopping
	}
	p.redialSoon()
	if err := in.stream.Send(&dledgerv1.PushResponse{From: string(s.cfg.ID)}); err != nil {
		return err
	}
	for {
		select {
		case <-in.wake:
			if err := s.sendAnswers(p, in); err != nil {
				return err
			}
		case err := <-in.ended:
			return err
		case <-in.replaced:
			return status.Error(codes.Aborted, "a newer stream of this peer has come")
		case <-p.gone():
			return errRetired
		case <-s.stopping:
			return errStopping
		}
	}
}

func (s *Server) sendAnswers(p *peer, in *inboundStream) error {
	for _, m := range in.takeAnswers() {
		if p.paused.Load() {
			continue
		}
		if err := in.stream.Send(s.pushResponseToWire(m)); err != nil {
			return err
		}
	}
	return nil
}

func (in *inboundStream) takeAnswers() []member.PushResponse {
	in.mu.Lock()
	defer in.mu.Unlock()
	answers := in.mu.answers
	in.mu.answers = nil
	return answers
}

// sendPushResponse gives an answer of the member to the stream of its leader.
// Without a stream it is lost: the leader compares when it has connected again.
func (s *Server) sendPushResponse(m member.PushResponse) {
	p := s.peer(m.To)
	if p == nil {
		return
	}
	in := p.current.Load()
	if in == nil {
		return
	}
	in.addAnswer(m)
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

// addAnswer queues m; an acknowledgement replaces the one before it, which it
// includes.
func (in *inboundStream) addAnswer(m member.PushResponse) {
	in.mu.Lock()
	defer in.mu.Unlock()
	n := len(in.mu.answers)
	if n > 0 {
		last := &in.mu.answers[n-1]
		acks := last.Type == member.Append && m.Type == member.Append && last.Code == member.Success && m.Code == member.Success
		if acks && last.RequestTerm == m.RequestTerm && last.DurableIndex <= m.DurableIndex {
			*last = m
			return
		}
	}
	if n >= maxPushAnswers {
		in.mu.answers = append(in.mu.answers[:0], in.mu.answers[1:]...)
	}
	in.mu.answers = append(in.mu.answers, m)
}

// receivePushes reads the push streams of p, one after the other, checks what
// comes and brings it to the member.
func (s *Server) receivePushes(ctx context.Context, p *peer) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case in := <-p.inbound:
			err := s.readStream(ctx, p, in)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			in.ended <- err
		}
	}
}

func (s *Server) readStream(ctx context.Context, p *peer, in *inboundStream) error {
	for {
		if err := s.waitForCredit(ctx, in); err != nil {
			return err
		}
		var frame pushFrame
		if err := in.stream.RecvMsg(&frame); err != nil {
			return err
		}
		if p.paused.Load() {
			frame.release()
			continue
		}
		push, err := s.checkPush(p, in, frame)
		if err != nil {
			p.log.Error("push refused", "err", err)
			return err
		}
		in.flow.held.Add(int64(len(push.entries)))
		if !s.deliver(ctx, letter{push: push}) {
			return errStopping
		}
	}
}

// waitForCredit waits until few enough received bytes are not durable yet. While
// it waits the stream is not read, and the peer's sends block in time.
func (s *Server) waitForCredit(ctx context.Context, in *inboundStream) error {
	for in.flow.held.Load() > s.inbound.Load() {
		select {
		case <-in.flow.wake:
		case <-in.replaced:
			return errStopping
		case <-in.stream.Context().Done():
			return in.stream.Context().Err()
		case <-ctx.Done():
			return errStopping
		}
	}
	return nil
}

// checkPush verifies everything about a push that needs no knowledge of this
// member's state, so that the state maintainer need not.
func (s *Server) checkPush(p *peer, in *inboundStream, frame pushFrame) (*receivedPush, error) {
	r := frame.request
	from, err := s.checkHeader(r.GetHeader())
	switch {
	case err != nil:
		return nil, err
	case from != p || r.GetLeader() != string(p.id):
		return nil, status.Errorf(codes.InvalidArgument, "push of %q for leader %q on the stream of %s", r.GetHeader().GetFrom(), r.GetLeader(), p.id)
	}
	if err := s.checkTerm(r.GetTerm()); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	push := &receivedPush{entries: frame.entries, frame: frame, from: in}
	var runs []member.Run
	var changes []member.Change
	if len(frame.entries) > 0 {
		summary, err := commitlog.Verify(frame.entries)
		if err != nil {
			return nil, status.Errorf(codes.DataLoss, "entries from %d: %v", r.GetFirstIndex(), err)
		}
		if int64(summary.First) != r.GetFirstIndex() || int64(summary.Last) != r.GetLastIndex() {
			return nil, status.Errorf(codes.InvalidArgument, "entries are %d to %d, the push says %d to %d",
				summary.First, summary.Last, r.GetFirstIndex(), r.GetLastIndex())
		}
		for _, run := range summary.Runs {
			runs = append(runs, member.Run{First: memberIndex(run.First), Term: member.Term(run.Term)})
		}
		if summary.ConfigChanges > 0 {
			if changes, push.membership, err = changesIn(frame.entries); err != nil {
				return nil, status.Errorf(codes.DataLoss, "push: %v", err)
			}
		}
	} else if r.GetLastIndex() >= r.GetFirstIndex() {
		return nil, status.Errorf(codes.InvalidArgument, "push of entries %d to %d carries none", r.GetFirstIndex(), r.GetLastIndex())
	}
	push.request = s.pushRequestFromWire(r, runs)
	push.request.Changes = changes
	return push, nil
}
