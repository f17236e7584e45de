package client

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// pullAction is what the fake cluster does instead of, or to, one pull answer.
type pullAction int

const (
	deliver     pullAction = iota
	pullCut                // end the stream
	pullMoved              // lead elsewhere, end the stream with NOT_LEADER
	pullSilence            // lead elsewhere, say nothing
	pullBehind             // OFFSET_TOO_HIGH: a leader that has not caught up
	pullTwice              // send the batches before the wanted one again
	pullDamaged            // one bit flipped
	pullActions
	pullSkip     // leave the first batch out
	pullInternal // INTERNAL
)

// fill stores n messages in a queue, in batches of perBatch.
func (c *cluster) fill(topic string, queue, from, n, perBatch int, compression batch.Compression) {
	c.mu.Lock()
	id := c.mu.topics[topic][queue]
	q := c.mu.queues[id]
	c.mu.producers[7] = &fakeProducer{}
	c.mu.Unlock()
	b, err := batch.NewBuilder(batch.BuilderConfig{Compression: compression})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := from; i < from+n; i++ {
		r := batch.Record{Value: []byte(message(i)), Timestamp: int64(i), Tag: "tag", Key: []byte{byte(i)}}
		r.Headers = []batch.RecordHeader{{Key: "h", Value: []byte(message(i))}}
		if err := b.Append(&r); err != nil {
			c.t.Fatal(err)
		}
		if b.Len() < perBatch && i < from+n-1 {
			continue
		}
		data, err := b.Build(batch.Stamp{Queue: id, ProducerID: 7, FirstSequence: q.end})
		if err != nil {
			c.t.Fatal(err)
		}
		if res := c.append(data); res[0].GetError() != nil {
			c.t.Fatal(res[0].GetError())
		}
	}
}

func message(i int) string {
	const digits = "0123456789"
	return "m" + string([]byte{digits[i/100000%10], digits[i/10000%10], digits[i/1000%10], digits[i/100%10], digits[i/10%10], digits[i%10]})
}

// credits counts what a client allows a stream to send.
type credits struct {
	mu struct {
		sync.Mutex
		left int64
	}
	more chan struct{}
}

func (cr *credits) add(n int64) {
	cr.mu.Lock()
	cr.mu.left += n
	cr.mu.Unlock()
	notify(cr.more)
}

func (cr *credits) left() int64 {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	return cr.mu.left
}

// PullStream sends a batch or two at a time, as credit allows and the script says.
func (n *fakeNode) PullStream(s grpc.BidiStreamingServer[brokerv1.PullStreamRequest, brokerv1.PullStreamResponse]) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if err := n.notLeader(); err != nil {
		return err
	}
	cr := &credits{more: make(chan struct{}, 1)}
	cr.add(first.GetCreditBytes())
	g, ctx := errgroup.WithContext(s.Context())
	n.c.tasks.Go(func() error { // ends with the stream
		for {
			req, err := s.Recv()
			if err != nil {
				return nil
			}
			cr.add(req.GetCreditBytes())
		}
	})
	g.Go(func() error { return n.deliver(ctx, s, first, cr) })
	return g.Wait()
}

// sameQueue refuses a queue whose topic was made anew.
func (c *cluster) sameQueue(req *brokerv1.PullStreamRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := c.mu.topics[req.GetTopic()]
	if want := req.GetQueueId(); want != 0 && int(req.GetQueue()) < len(ids) && ids[req.GetQueue()] != want {
		return codeError(codes.NotFound, CodeUnknownQueue, map[string]string{"outcome": "definite"})
	}
	return nil
}

func (n *fakeNode) deliver(ctx context.Context, s grpc.BidiStreamingServer[brokerv1.PullStreamRequest, brokerv1.PullStreamResponse],
	first *brokerv1.PullStreamRequest, cr *credits,
) error {
	next := first.GetOffset()
	for {
		for cr.left() <= 0 {
			select {
			case <-cr.more:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := n.c.sameQueue(first); err != nil {
			return err
		}
		resp, after, arrived, err := n.c.read(first.GetTopic(), int(first.GetQueue()), next)
		if err != nil {
			return err
		}
		if resp == nil {
			select {
			case <-arrived:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		n.c.mu.Lock()
		n.c.mu.answers++
		what := n.c.mu.pulls(n.c.mu.answers)
		n.c.mu.Unlock()
		switch what {
		case pullCut:
			return errCut
		case pullMoved:
			n.c.leadNext()
			return n.notLeader()
		case pullSilence:
			n.c.leadNext()
			<-ctx.Done()
			return ctx.Err()
		case pullBehind:
			return codeError(codes.OutOfRange, CodeOffsetTooHigh, nil)
		case pullInternal:
			return codeError(codes.Internal, CodeInternal, map[string]string{"outcome": "indefinite"})
		case pullTwice:
			if err := s.Send(resp); err != nil {
				return err
			}
		case pullDamaged:
			resp.Batches[len(resp.Batches)-1] ^= 1
		case pullSkip:
			h, _, rest, _ := batch.Next(resp.Batches)
			resp.Batches, resp.Infos = rest, resp.Infos[1:]
			_ = h
		}
		cr.add(-int64(len(resp.Batches)))
		if cr.left() < -int64(len(resp.Batches)) {
			n.c.t.Errorf("credit overdrawn: %d", cr.left())
		}
		if err := s.Send(resp); err != nil {
			return err
		}
		next = after
	}
}

// read returns up to two batches of a queue, from the one that holds offset.
func (c *cluster) read(topic string, queue int, offset int64) (resp *brokerv1.PullStreamResponse, after int64, arrived chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids, ok := c.mu.topics[topic]
	if !ok {
		return nil, 0, nil, codeError(codes.NotFound, CodeUnknownTopic, nil)
	}
	q := c.mu.queues[ids[queue]]
	switch {
	case offset < q.first:
		return nil, 0, nil, codeError(codes.OutOfRange, CodeOffsetTooLow, nil)
	case offset > q.end:
		return nil, 0, nil, codeError(codes.OutOfRange, CodeOffsetTooHigh, nil)
	case offset == q.end:
		return nil, 0, c.mu.arrived, nil
	}
	resp = &brokerv1.PullStreamResponse{FirstOffset: q.first, EndOffset: q.end}
	for _, b := range q.batches {
		h, err := batch.ParseHeader(b.data)
		if err != nil {
			return nil, 0, nil, err
		}
		if b.base+int64(h.Count) <= offset {
			continue
		}
		resp.Infos = append(resp.Infos, &brokerv1.BatchInfo{BaseOffset: b.base, LedgerIndex: b.index, Term: b.term, AppendTimeUnixMs: 5})
		resp.Batches = append(resp.Batches, b.data...)
		after = b.base + int64(h.Count)
		if len(resp.Infos) == 2 {
			break
		}
	}
	return resp, after, nil, nil
}
