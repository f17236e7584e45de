package overload

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// load is everything that bears down on the brokers.
type load struct {
	t         *testing.T
	topic     string
	queue     uint32 // id of the topic's first queue
	producers []*client.Producer
	tasks     errgroup.Group
	acked     atomic.Int64 // bytes
	parks     atomic.Int64 // pulls that were answered or refused and were parked again

	mu struct {
		sync.Mutex
		refused map[string]int // by code and outcome
	}
}

// dial opens a connection of its own to a broker.
func (l *load) dial(addr string) *grpc.ClientConn {
	l.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// repeat does something again and again until ctx ends, with a breath after errors.
func (l *load) repeat(ctx context.Context, do func() error) {
	l.tasks.Go(func() error {
		for ctx.Err() == nil {
			if err := do(); err == nil || ctx.Err() != nil {
				continue
			} else if code := codeOf(err); code != "" {
				l.note(code)
			}
			breath := time.NewTimer(20 * time.Millisecond)
			select {
			case <-breath.C:
			case <-ctx.Done():
			}
			breath.Stop()
		}
		return nil
	})
}

func (l *load) note(code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.refused == nil {
		l.mu.refused = make(map[string]int)
	}
	l.mu.refused[code]++
}

// refusals are the answers by code and outcome.
func (l *load) refusals() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.refused
}

// codeOf is code and outcome of a broker's error, "" if it is none of a broker's.
func codeOf(err error) string {
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason() + " " + info.GetMetadata()["outcome"]
		}
	}
	return ""
}

// produce is a producer of the library that is as fast as it is let.
func (l *load) produce(ctx context.Context, p *client.Producer, bytes int) {
	value := make([]byte, bytes)
	l.tasks.Go(func() error {
		for ctx.Err() == nil {
			r := p.Publish(ctx, client.Message{Value: value})
			l.tasks.Go(func() error {
				if _, err := r.Get(ctx); err == nil {
					l.acked.Add(int64(bytes))
				}
				return nil
			})
		}
		return nil
	})
}

// flood publishes large requests side by side, none waiting for another, so that the
// bounds answer and not the window of a stream.
func (l *load) flood(ctx context.Context, addr string, wide, bytes int) {
	messaging := brokerv1.NewMessagingServiceClient(l.dial(addr))
	b, err := makeBatch(l.queue, bytes)
	if err != nil {
		l.t.Fatal(err)
	}
	for range wide {
		l.repeat(ctx, func() error {
			_, err := messaging.Publish(ctx, &brokerv1.PublishRequest{Batches: b})
			if err == nil {
				l.acked.Add(int64(bytes))
			}
			return err
		})
	}
}

// makeBatch is a batch of one record that no idempotent producer has made.
func makeBatch(queue uint32, bytes int) ([]byte, error) {
	builder, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 2 * bytes, RecordBytes: batch.MaxBatchBytes})
	if err != nil {
		return nil, err
	}
	if err := builder.Append(&batch.Record{Value: make([]byte, bytes), Timestamp: 1}); err != nil {
		return nil, err
	}
	return builder.Build(batch.Stamp{Queue: queue})
}

// ignore asks for all messages and reads none of them.
func (l *load) ignore(ctx context.Context, addr string) {
	conn := l.dial(addr)
	l.repeat(ctx, func() error {
		stream, err := brokerv1.NewMessagingServiceClient(conn).PullStream(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&brokerv1.PullStreamRequest{Topic: l.topic, CreditBytes: 1 << 40}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
}

// park keeps so many pulls waiting at the end of a queue that nobody publishes to.
func (l *load) park(ctx context.Context, addr string, pulls int) {
	messaging := brokerv1.NewMessagingServiceClient(l.dial(addr))
	for range pulls {
		l.repeat(ctx, func() error {
			_, err := messaging.Pull(ctx, &brokerv1.PullRequest{Topic: "quiet", MaxWaitMs: 30_000})
			l.parks.Add(1)
			return err
		})
	}
}

// idle opens connections that say hello and nothing more.
func (l *load) idle(addr string, conns int) error {
	for range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
			return err
		}
	}
	return nil
}

// end waits for everything to end after its context has.
func (l *load) end() {
	if err := l.tasks.Wait(); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		l.t.Error(err)
	}
}
