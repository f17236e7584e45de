package client

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// acker sends acknowledgements: while one request is on its way, the next gathers what
// comes.
type acker struct {
	c    *Client
	due  chan struct{} // capacity 1
	done chan struct{} // closed when run has returned

	mu struct {
		sync.Mutex
		waiting []*ackWait
		closed  error
	}
}

// ackWait is one acknowledgement.
type ackWait struct {
	receipt string
	outcome chan error // capacity 1
}

func newAcker(c *Client) *acker {
	return &acker{c: c, due: make(chan struct{}, 1), done: make(chan struct{})}
}

// ack waits until a message is known to be done.
func (a *acker) ack(ctx context.Context, receipt string) error {
	wait := &ackWait{receipt: receipt, outcome: make(chan error, 1)}
	if err := a.enter(wait); err != nil {
		return err
	}
	select {
	case a.due <- struct{}{}:
	default:
	}
	select {
	case err := <-wait.outcome:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *acker) enter(wait *ackWait) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.closed == nil {
		a.mu.waiting = append(a.mu.waiting, wait)
	}
	return a.mu.closed
}

func (a *acker) take() []*ackWait {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(len(a.mu.waiting), maxReceive)
	taken := a.mu.waiting[:n:n]
	a.mu.waiting = a.mu.waiting[n:]
	return taken
}

// run sends until ctx is done.
func (a *acker) run(ctx context.Context) error {
	defer close(a.done)
	for {
		select {
		case <-a.due:
		case <-ctx.Done():
			a.close(context.Cause(ctx))
			return nil
		}
		for batch := a.take(); len(batch) > 0; batch = a.take() {
			a.send(ctx, batch)
		}
	}
}

func (a *acker) close(err error) {
	a.mu.Lock()
	a.mu.closed = err
	waiting := a.mu.waiting
	a.mu.waiting = nil
	a.mu.Unlock()
	for _, w := range waiting {
		w.outcome <- err
	}
}

func (a *acker) send(ctx context.Context, batch []*ackWait) {
	req := &brokerv1.AckRequest{}
	for _, w := range batch {
		req.Receipts = append(req.Receipts, w.receipt)
	}
	var resp *brokerv1.AckResponse
	err := a.c.invoke(ctx, harmless, func(ctx context.Context, cc grpc.ClientConnInterface) (err error) {
		resp, err = brokerv1.NewWorkServiceClient(cc).Ack(ctx, req)
		return err
	})
	if err == nil && len(resp.GetResults()) != len(batch) {
		err = errorf(CodeInternal, "%d acknowledgements had %d answers", len(batch), len(resp.GetResults()))
	}
	for i, w := range batch {
		if err != nil {
			w.outcome <- err
		} else if e := fromDetail(resp.GetResults()[i].GetError()); e != nil {
			w.outcome <- e
		} else {
			w.outcome <- nil
		}
	}
}
