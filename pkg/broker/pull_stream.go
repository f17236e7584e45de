package broker

import (
	"context"
	"errors"
	"io"
	"sync"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// pullStream is one client that reads on and on. It has a cursor and a credit in
// bytes, nothing else: what the client has no room for stays in the ledger.
type pullStream struct {
	rpc   brokerv1.MessagingService_PullStreamServer
	sieve *pullFilter   // nil: everything is wanted
	more  chan struct{} // capacity 1: there is new credit, or the reader has ended

	mu struct {
		sync.Mutex
		credit int64 // bytes; a batch larger than the rest of it makes it negative
		ended  bool
		err    error // how the reader ended; io.EOF for a client that is done
	}
}

// PullStream implements broker.v1.MessagingService.
func (s *messagingService) PullStream(rpc brokerv1.MessagingService_PullStreamServer) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	lead, err := s.router.stream(rpc.Context())
	if err != nil {
		return err
	}
	q, err := s.puller.resolve(first.GetTopic(), first.GetQueue(), first.GetQueueId())
	if err != nil {
		return err
	}
	sieve, err := s.puller.filters.open(first.GetFilter())
	if err != nil {
		return err
	}
	defer sieve.close()
	q.filtered = sieve != nil
	if q.group, err = readingGroup(first.GetGroup()); err != nil {
		return err
	}
	p := &pullStream{rpc: rpc, sieve: sieve, more: make(chan struct{}, 1)}
	if err := p.add(first.GetCreditBytes()); err != nil {
		return err
	}
	// The reader ends when this handler has returned: only that ends its Recv.
	s.streams.Go(func() error {
		p.read()
		return nil
	})
	err = s.pullOn(rpc.Context(), p, q, state.Offset(first.GetOffset()), lead)
	switch {
	case errors.Is(err, errLeadershipOver):
		return s.router.ended()
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// pullOn sends batches from offset on, as far as the credit reaches.
func (s *messagingService) pullOn(ctx context.Context, p *pullStream, q queue, offset state.Offset, lead *leadership) error {
	for {
		credit, err := p.await(ctx, s.ends(lead))
		if err != nil {
			return err
		}
		got, err := s.puller.await(ctx, q, offset, s.puller.limit(min(credit, s.streamAnswer)), -1, s.ends(lead))
		if err != nil {
			return err
		}
		var looked state.Offset
		if p.sieve != nil {
			if err := p.sieve.keep(ctx, q, offset, &got); err != nil {
				return err
			}
			looked = got.next
		}
		p.spend(got.size)
		answer := &pullAnswer{got: &got, head: &brokerv1.PullStreamResponse{FirstOffset: int64(got.first), EndOffset: int64(got.end), Infos: got.infos, NextOffset: int64(looked)}}
		err = p.rpc.SendMsg(answer)
		got.release()
		if err != nil {
			return err
		}
		offset = got.next
	}
}

// read takes the client's credit until it has no more to say.
func (p *pullStream) read() {
	for {
		req, err := p.rpc.Recv()
		if err == nil {
			err = p.add(req.GetCreditBytes())
		}
		if err != nil {
			p.end(err)
			return
		}
	}
}

func (p *pullStream) add(bytes int64) error {
	const most = 1 << 40
	if bytes < 0 {
		return errorf(CodeLimitExceeded, "credit_bytes is %d: credit cannot be taken back", bytes)
	}
	p.mu.Lock()
	p.mu.credit = min(p.mu.credit+min(bytes, most), most)
	p.mu.Unlock()
	signal(p.more)
	return nil
}

func (p *pullStream) spend(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.credit -= int64(bytes)
}

func (p *pullStream) end(err error) {
	p.mu.Lock()
	p.mu.ended, p.mu.err = true, err
	p.mu.Unlock()
	signal(p.more)
}

func (p *pullStream) left() (credit int64, ended bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.credit, p.mu.ended, p.mu.err
}

// await returns the credit as soon as there is some. A client that has closed
// its side still gets what its credit pays for.
func (p *pullStream) await(ctx context.Context, ends streamEnds) (int64, error) {
	for {
		credit, ended, err := p.left()
		switch {
		case credit > 0:
			return credit, nil
		case ended:
			return 0, err
		}
		select {
		case <-p.more:
		case <-ends.lost:
			return 0, errLeadershipOver
		case <-ends.stopping:
			return 0, errorf(CodeShuttingDown, "the broker is shutting down")
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
