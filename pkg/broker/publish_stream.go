package broker

import (
	"context"
	"errors"
	"io"
	"sync"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger"
)

// maxStreamFrames bounds the frames that a stream may have in flight; their
// bytes are bounded by limits.stream_window_bytes.
const maxStreamFrames = 1024

// publishStream is one client's stream of frames. The reader checks and proposes
// them one after the other; gRPC's own goroutine answers them in that order.
// What waits in between is bounded: each answer tells the client its share of what may wait.
// If it takes more, a full window stops the reader, HTTP/2 stops the client.
//
// Every frame that was proposed is answered before the stream ends with a
// status, so a definite status says that none of the unanswered ones was stored.
type publishStream struct {
	svc    *messagingService
	rpc    brokerv1.MessagingService_PublishStreamServer
	lead   *leadership
	window int
	ready  chan struct{} // capacity 1: the first frame may be done
	space  chan struct{} // capacity 1: the window has got room

	mu struct {
		sync.Mutex
		fifo    []*frame
		bytes   int
		inHand  bool // the reader has a frame, for which there may not be room yet
		counted bool // in the share
		closing bool // nothing new is taken
	}
}

// PublishStream implements broker.v1.MessagingService.
func (s *messagingService) PublishStream(rpc brokerv1.MessagingService_PublishStreamServer) error {
	lead, err := s.router.stream(rpc.Context())
	if err != nil {
		return err
	}
	p := &publishStream{
		svc: s, rpc: rpc, lead: lead, window: s.streamWindow,
		ready: make(chan struct{}, 1), space: make(chan struct{}, 1),
	}
	// The reader ends when this handler has returned: only that ends its Recv.
	s.streams.Go(func() error {
		p.read(rpc.Context())
		return nil
	})
	defer p.close()
	return p.write(rpc.Context())
}

// read takes frames until the client is done, something is wrong or the stream ends.
func (p *publishStream) read(ctx context.Context) {
	for {
		req := new(publishRequest)
		if err := p.rpc.RecvMsg(req); err != nil {
			p.push(&frame{end: err})
			return
		}
		f, err := p.svc.publisher.parse(req.GetFrame(), req.contents())
		if err != nil {
			p.push(&frame{end: err})
			return
		}
		p.setInHand()
		f.request = req
		if len(f.headers) == 1 && len(f.bodies) == 1 {
			f.bodies[0].Lent = req.lend()
		}
		if !p.awaitSpace(ctx, f) || !p.propose(ctx, f) {
			return
		}
	}
}

// awaitSpace returns false if the stream ends before f fits into its window.
func (p *publishStream) awaitSpace(ctx context.Context, f *frame) bool {
	for !p.fits(f) {
		select {
		case <-p.space:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (p *publishStream) fits(f *frame) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.mu.fifo)
	return n == 0 || n < maxStreamFrames && p.mu.bytes+f.size <= p.window
}

// propose gives the frame to the ledger. It returns false when the stream takes
// no more.
func (p *publishStream) propose(ctx context.Context, f *frame) bool {
	if len(f.bodies) == 0 {
		f.outcome.Store(&dledger.ProposalResult{})
		f.request.release()
		return p.push(f)
	}
	if err := p.svc.budget.acquire(ctx, f.size); err != nil {
		return false
	}
	if !p.push(f) {
		p.svc.budget.release(f.size)
		return false
	}
	err := p.svc.disk.refusal()
	if err == nil {
		err = p.svc.ledger.Propose(&dledger.Proposal{
			Bodies: f.bodies, Taken: f.request.release,
			Done: func(res dledger.ProposalResult) {
				p.svc.budget.release(f.size)
				f.outcome.Store(&res)
				signal(p.ready)
			},
		})
	}
	if err != nil {
		p.svc.budget.release(f.size)
		p.refuse(f, err)
		return false
	}
	return true
}

// push appends a frame to those that wait for their answer.
func (p *publishStream) push(f *frame) bool {
	p.mu.Lock()
	taken := !p.mu.closing
	if taken {
		p.mu.fifo = append(p.mu.fifo, f)
		p.mu.bytes += f.size
	}
	p.mu.inHand = false
	p.countLocked()
	p.mu.Unlock()
	if f.end != nil || f.outcome.Load() != nil { // else Done tells
		signal(p.ready)
	}
	return taken
}

// refuse makes the frame, the last one, the end of the stream: later frames may
// not overtake it.
func (p *publishStream) refuse(f *frame, err error) {
	p.mu.Lock()
	f.end = err
	p.mu.Unlock()
	signal(p.ready)
}

// write answers frames in their order until the stream ends.
func (p *publishStream) write(ctx context.Context) error {
	over, stopping := p.lead.done, p.svc.router.stopping
	var ending error
	for {
		select {
		case <-p.ready:
		case <-over:
			over, ending = nil, p.svc.router.ended()
			p.close()
		case <-stopping:
			stopping, ending = nil, errors.Join(ending, errorf(CodeShuttingDown, "the broker is shutting down"))
			p.close()
		case <-ctx.Done():
			p.close()
			return ctx.Err()
		}
		if done, err := p.answerDone(); done {
			return err
		}
		if ending != nil && p.empty() {
			return ending
		}
	}
}

// answerDone answers the frames at the front whose outcome is known. It returns
// true when the stream is over.
func (p *publishStream) answerDone() (bool, error) {
	for {
		f, end := p.front()
		switch {
		case errors.Is(end, io.EOF):
			return true, nil
		case end != nil:
			return true, end
		case f == nil:
			return false, nil
		}
		resp := &brokerv1.PublishStreamResponse{Frame: f.number, Results: p.svc.publisher.answer(f), WindowBytes: p.svc.share.each()}
		if err := p.rpc.Send(resp); err != nil {
			return true, err
		}
		p.pop(f)
		signal(p.space)
	}
}

// front returns the first frame if it can be answered, or how the stream ends if
// that comes first.
func (p *publishStream) front() (*frame, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.mu.fifo) == 0 {
		return nil, nil
	}
	f := p.mu.fifo[0]
	if f.end != nil {
		return nil, f.end
	}
	if f.outcome.Load() == nil {
		return nil, nil
	}
	return f, nil
}

func (p *publishStream) pop(f *frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.fifo[0] = nil
	p.mu.fifo = p.mu.fifo[1:]
	p.mu.bytes -= f.size
	p.countLocked()
}

func (p *publishStream) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.mu.fifo) == 0
}

func (p *publishStream) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.closing = true
	p.countLocked()
}

func (p *publishStream) setInHand() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.inHand = true
	p.countLocked()
}

// countLocked has the stream count in the share while it has a frame that is not answered.
func (p *publishStream) countLocked() {
	waits := !p.mu.closing && (p.mu.inHand || len(p.mu.fifo) > 0)
	switch {
	case waits && !p.mu.counted:
		p.svc.share.busy(1)
	case !waits && p.mu.counted:
		p.svc.share.busy(-1)
	}
	p.mu.counted = waits
}

// signal makes sure that a channel of capacity 1 holds a signal.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
