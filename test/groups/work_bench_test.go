package groups

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// stocked is three brokers with n messages of 256 B in four queues.
func stocked(b *testing.B, n int) *client.Client {
	b.Helper()
	_, seeds := startBrokers(b, broker.GroupTiming{})
	c, err := client.Dial(b.Context(), client.Config{Seeds: seeds})
	require.NoError(b, err)
	b.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(b.Context(), "t", 4)
	require.NoError(b, err)
	p, err := c.Producer(b.Context(), client.ProducerConfig{Topic: "t"})
	require.NoError(b, err)
	value := make([]byte, 256)
	for i := range n {
		queue := i % 4
		p.Publish(b.Context(), client.Message{Queue: &queue, Value: value})
	}
	require.NoError(b, p.Close(b.Context()))
	return c
}

// BenchmarkPull reads with offset pull, beside which the others stand.
func BenchmarkPull(b *testing.B) {
	c := stocked(b, b.N)
	cs, err := c.Consumer(b.Context(), client.ConsumerConfig{Topic: "t"})
	require.NoError(b, err)
	b.ResetTimer()
	for range b.N {
		_, err := cs.Next(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkReceiveAck receives and acknowledges each message: four receivers, up to 64
// messages at a time, of which each is acknowledged by itself.
func BenchmarkReceiveAck(b *testing.B) {
	c := stocked(b, b.N)
	w, err := c.WorkConsumer(b.Context(), client.WorkConfig{Group: "g", Topic: "t"})
	require.NoError(b, err)
	defer w.Close()
	b.ResetTimer()
	var done atomic.Int64
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			for {
				deliveries, err := w.Receive(ctx, 64)
				if errors.Is(err, context.Canceled) {
					return nil
				}
				if err != nil {
					return err
				}
				var acks errgroup.Group
				for _, d := range deliveries {
					acks.Go(func() error { return d.Ack(b.Context()) })
				}
				if err := acks.Wait(); err != nil {
					return err
				}
				if done.Add(int64(len(deliveries))) >= int64(b.N) {
					stop()
				}
			}
		})
	}
	require.NoError(b, g.Wait())
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

// BenchmarkHandle has a handler that does nothing work on messages, 256 at a time.
func BenchmarkHandle(b *testing.B) {
	c := stocked(b, b.N)
	w, err := c.WorkConsumer(b.Context(), client.WorkConfig{Group: "g", Topic: "t"})
	require.NoError(b, err)
	defer w.Close()
	b.ResetTimer()
	var done atomic.Int64
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	err = w.Handle(ctx, 256, func(context.Context, *client.Delivery) error {
		if done.Add(1) == int64(b.N) {
			stop()
		}
		return nil
	})
	require.ErrorIs(b, err, context.Canceled)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
