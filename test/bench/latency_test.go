package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// latency is a lonely message, and fixed rates.
func latency(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("latency", 1)
	s.oneInFlight("one in flight", topic, 1024, share(5000))
	for _, rate := range []int{2_000, 5_000, 50_000, 100_000} {
		s.atRate(topic, 1024, rate, lasting(4*time.Second))
	}
}

// oneInFlight sends each message when the one before is acknowledged.
func (s *session) oneInFlight(variant, topic string, size int, n int64) *figures.Result {
	s.t.Helper()
	p := s.producer(topic)
	r := s.measure(variant, size, func(r *figures.Result) {
		m, h := client.Message{Value: value(size)}, figures.NewHistogram()
		began := time.Now()
		for range n {
			sent := time.Now()
			_, err := p.Publish(s.ctx, m).Get(s.ctx)
			require.NoError(s.t, err)
			h.Record(time.Since(sent))
		}
		r.Rate(n, time.Since(began))
		r.Latencies(h)
		ratio(r.Metrics, figures.OfSync, s.rep.sync, r.Metrics[figures.P50MS])
	})
	require.NoError(s.t, p.Close(s.ctx))
	return r
}

// atRate is an open loop.
func (s *session) atRate(topic string, size, rate int, lasts time.Duration) *figures.Result {
	s.t.Helper()
	p := s.producer(topic)
	r := s.measure(fmt.Sprintf("open loop, %s/s", figures.Number(float64(rate))), size, func(r *figures.Result) {
		began := time.Now()
		h, n, err := openLoop(s.ctx, p, size, rate, int64(lasts.Seconds()*float64(rate)), nil)
		require.NoError(s.t, err)
		r.Rate(n, time.Since(began))
		r.Latencies(h)
	})
	require.NoError(s.t, p.Close(s.ctx))
	return r
}

// callersAtOnce is how many callers wait for an acknowledgement each.
const callersAtOnce = 1024

// callers is many callers of one producer, each of which waits for its answer.
func callers(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("callers", 1)
	p := s.producer(topic)
	r := s.measure(fmt.Sprintf("%d wait for their answers", callersAtOnce), 1024, func(r *figures.Result) {
		m, total := client.Message{Value: value(1024)}, figures.NewHistogram()
		var mu sync.Mutex
		var g errgroup.Group
		each := max(1, share(400_000)/callersAtOnce)
		began := time.Now()
		for range callersAtOnce {
			g.Go(func() error {
				own := make([]time.Duration, 0, each)
				for range each {
					sent := time.Now()
					if _, err := p.Publish(s.ctx, m).Get(s.ctx); err != nil {
						return err
					}
					own = append(own, time.Since(sent))
				}
				mu.Lock()
				defer mu.Unlock()
				for _, d := range own {
					total.Record(d)
				}
				return nil
			})
		}
		require.NoError(s.t, g.Wait())
		r.Rate(each*callersAtOnce, time.Since(began))
		r.Latencies(total)
	})
	s.ofLimits(r)
	require.NoError(s.t, p.Close(s.ctx))
}

// endToEnd is from when a message was due to its delivery, at a fixed rate.
func endToEnd(s *session) {
	s.start(cluster.Config{})
	const rate, size = 5_000, 1024
	topic := s.topic("end-to-end", 1)
	c, p := s.consumer(topic, client.Latest()), s.producer(topic)
	n := int64(lasting(5*time.Second).Seconds() * rate)
	s.measure("delivery at 5,000/s", size, func(r *figures.Result) {
		delivered := figures.NewHistogram()
		var g errgroup.Group
		g.Go(func() error {
			return read(s.ctx, c, n, func(m *client.Message) { delivered.Record(time.Since(dueOf(m.Value))) })
		})
		began := time.Now()
		acked, done, err := openLoop(s.ctx, p, size, rate, n, nil)
		require.NoError(s.t, err)
		require.NoError(s.t, g.Wait())
		r.Rate(done, time.Since(began))
		r.Latencies(delivered)
		r.Metrics["ack_p50_ms"], r.Metrics["ack_p99_ms"] = acked.AtMS(50), acked.AtMS(99)
	})
	require.NoError(s.t, p.Close(s.ctx))
}

// read takes n messages.
func read(ctx context.Context, c *client.Consumer, n int64, each func(*client.Message)) error {
	for range n {
		m, err := c.Next(ctx)
		if err != nil {
			return err
		}
		if len(m.Value) == 0 {
			return errors.New("a message without its value")
		}
		if each != nil {
			seen := m // only who looks at messages pays for one on the heap
			each(&seen)
		}
	}
	return nil
}
