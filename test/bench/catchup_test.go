package bench

import (
	"context"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// The live load beside which somebody catches up.
const (
	liveRate = 20_000
	liveSize = 1024
)

// catchUp is what a live load suffers from a consumer and from a follower that catch up
// with a backlog.
func catchUp(s *session) {
	s.start(cluster.Config{})
	backlog := s.topic("backlog", 1)
	n := messages(1024)
	s.fill(backlog, 1024, n)
	dropPageCache(s.t, s.c)
	live := s.topic("live", 1)
	s.live("live load alone", live, func(context.Context, *figures.Result) { wait(s.ctx, lasting(3*time.Second)) })
	s.live("live load beside a consumer's catch-up", live, func(ctx context.Context, r *figures.Result) {
		c := s.consumer(backlog, client.Earliest())
		began := time.Now()
		require.NoError(s.t, read(ctx, c, n, nil))
		r.Metrics["catch_up_mb_per_s"] = float64(n) * 1024 / 1e6 / time.Since(began).Seconds()
	})
	s.followerCatchUp(backlog, live, n)
}

// followerCatchUp takes a follower away while a backlog grows.
func (s *session) followerCatchUp(backlog, live string, n int64) {
	s.t.Helper()
	leader := s.findLeader()
	var away *cluster.Node
	for _, node := range s.c.Nodes() {
		if node != leader {
			away = node
		}
	}
	away.Kill9()
	s.findLeader()
	s.fill(backlog, 1024, n)
	s.live("live load of two members alone", live, func(context.Context, *figures.Result) { wait(s.ctx, lasting(3*time.Second)) })
	s.live("live load beside a follower's catch-up", live, func(ctx context.Context, r *figures.Result) {
		began := time.Now()
		away.Start()
		require.NoError(s.t, awaitLevel(ctx, leader, away))
		took := time.Since(began).Seconds()
		r.Metrics["catch_up_s"], r.Metrics["catch_up_mb_per_s"] = took, float64(n)*1024/1e6/took
	})
}

// live publishes at a fixed rate while something else goes on.
func (s *session) live(variant, topic string, meanwhile func(context.Context, *figures.Result)) {
	s.t.Helper()
	p := s.producer(topic)
	s.measure(variant, liveSize, func(r *figures.Result) {
		stop := make(chan struct{})
		var g errgroup.Group
		began := time.Now()
		g.Go(func() error {
			h, n, err := openLoop(s.ctx, p, liveSize, liveRate, 1<<40, stop)
			r.Rate(n, time.Since(began))
			r.Latencies(h)
			return err
		})
		func() {
			defer close(stop) // even when it fails
			meanwhile(s.ctx, r)
		}()
		require.NoError(s.t, g.Wait())
	})
	require.NoError(s.t, p.Close(s.ctx))
}

// wait lets a load go on for a time.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// awaitLevel waits until a member has on disk what the leader had committed a moment ago.
func awaitLevel(ctx context.Context, leader, follower *cluster.Node) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		// A member that is just starting does not answer yet.
		if l, err := leader.Status(ctx); err == nil {
			if f, err := follower.Status(ctx); err == nil && f.GetDurableIndex() >= l.GetCommitIndex() {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
