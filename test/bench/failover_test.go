package bench

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// failover kills the leader with kill -9 while one message is published every
// millisecond, and under full load. The figure is the longest time between two
// acknowledgements of which the later came after the kill. No message may fail.
func failover(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("failover", 1)
	idle := s.strike("one message a millisecond", topic, func(ctx context.Context, stop <-chan struct{}, acked func(time.Time)) error {
		p := s.producer(topic)
		all := make(chan sent, 64<<10)
		finish := collect(all, func(_ time.Duration, at time.Time) { acked(at) })
		m := client.Message{Value: value(64)}
		pace(1<<40, 1000, stop, func(due time.Time) { all <- sent{result: p.Publish(ctx, m), due: due} })
		return finish()
	})
	full := s.strike("full load", topic, func(ctx context.Context, stop <-chan struct{}, acked func(time.Time)) error {
		_, err := flood{message: client.Message{Value: value(1024)}, n: 1 << 40, every: 8, stop: stop, acked: acked}.
			publish(ctx, s.producer(topic), figures.NewHistogram())
		return err
	})
	full.Metrics["of_idle_gap"] = full.Metrics["gap_ms"] / idle.Metrics["gap_ms"]
}

// strike kills the leader in the middle of a load and starts it again.
func (s *session) strike(variant, topic string, load func(ctx context.Context, stop <-chan struct{}, acked func(time.Time)) error) *figures.Result {
	s.t.Helper()
	leader := s.c.Leader()
	var acks []time.Time
	stop := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		return load(s.ctx, stop, func(at time.Time) { acks = append(acks, at) })
	})
	wait(s.ctx, 1500*time.Millisecond)
	struck := time.Now()
	leader.Signal(syscall.SIGKILL)
	wait(s.ctx, 1500*time.Millisecond)
	close(stop)
	require.NoError(s.t, g.Wait())
	slices.SortFunc(acks, time.Time.Compare) // a batch's come together, batches in any order
	r := s.result("kill -9, "+variant, 0)
	r.Metrics["gap_ms"] = longestGap(acks, struck, time.Now())
	r.Metrics["gap_before_ms"] = longestGap(acks, struck.Add(-time.Second), struck)
	s.t.Logf("%s: %.1f ms, before %.1f ms", variant, r.Metrics["gap_ms"], r.Metrics["gap_before_ms"])
	leader.Wait()
	leader.Start()
	require.NoError(s.t, awaitLevel(s.ctx, s.c.Leader(), leader))
	return r
}

// longestGap between two of the sorted times, the later of them in a span, in
// milliseconds.
func longestGap(times []time.Time, from, to time.Time) float64 {
	var longest time.Duration
	for i, at := range times {
		if i > 0 && at.After(from) && !at.After(to) {
			longest = max(longest, at.Sub(times[i-1]))
		}
	}
	return float64(longest.Microseconds()) / 1000
}
