package broker

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// Queues and caches follow limits.memory, and what is set to more than fits is
// refused with everything that adds up.
func TestMemoryCapDerivesAndChecks(t *testing.T) {
	for _, memory := range []Size{256 * mebibyte, 512 * mebibyte, gibibyte, 64 * gibibyte} {
		cfg := Config{Limits: LimitsConfig{Memory: memory}}
		cfg.Cluster.Peers = map[string]string{}
		for i := range 9 {
			cfg.Cluster.Peers[fmt.Sprintf("n%d", i+1)] = fmt.Sprintf("127.0.0.1:%d", i+1)
		}
		cfg.Node.ID = "n5"
		require.NoError(t, cfg.Validate(), "%s", memory)
	}
	def := DefaultConfig()
	require.Equal(t, 64*mebibyte, def.Storage.TailCacheBytes)
	small := Config{Limits: LimitsConfig{Memory: 256 * mebibyte}}.WithDefaults()
	require.Equal(t, 16*mebibyte, small.Storage.TailCacheBytes)
	require.Equal(t, 16*mebibyte, small.Limits.MaxPendingBytes)

	cfg := DefaultConfig()
	cfg.Limits.Memory = 256 * mebibyte // with the caches of 1 GiB spelled out
	err := cfg.Validate()
	require.ErrorContains(t, err, "limits.memory 256MiB is too small: queues and caches may take 192.0 MiB of it, but sum up to")
	require.ErrorContains(t, err, "storage.tail_cache_bytes 72.0 MiB + storage.state_cache_bytes 64.0 MiB + limits.max_pending_bytes (proposals) 72.0 MiB")
}

// The gate opens above whatever queues and caches may hold, closes above that, and leaves
// room below the cap.
func TestMemoryGateIsAboveWhatIsHeldByRight(t *testing.T) {
	for _, c := range []Config{
		{Limits: LimitsConfig{Memory: 256 * mebibyte}},
		{Limits: LimitsConfig{Memory: gibibyte}},
		{Limits: LimitsConfig{Memory: 64 * gibibyte}},
		{Limits: LimitsConfig{Memory: gibibyte, MaxHeldPulls: 20_000}}, // as full as it may be
	} {
		c = c.WithDefaults()
		require.NoError(t, c.Validate())
		closes, opens := c.gateBytes(0)
		var held uint64
		for _, u := range c.memoryUses(0) {
			held += uint64(u.bytes)
		}
		require.GreaterOrEqual(t, opens, held-uint64(runtimeBytes))
		t.Logf("%s: %.3f may be held, opens at %.3f, closes at %.3f", c.Limits.Memory, float64(held)/float64(c.Limits.Memory),
			float64(opens)/float64(c.Limits.Memory), float64(closes)/float64(c.Limits.Memory))
		require.Greater(t, closes, opens)
		require.LessOrEqual(t, float64(closes), 0.78*float64(c.Limits.Memory))
	}
}

// What the peers push is counted by the members that the group has, not by those that the
// configuration names, and never sums up to more than a small group's share.
func TestMemoryFollowsTheGroup(t *testing.T) {
	for _, memory := range []Size{256 * mebibyte, gibibyte, 64 * gibibyte} {
		c := Config{Limits: LimitsConfig{Memory: memory}}.WithDefaults()
		g := newMemoryGate(c, testLogger(t))
		for peers := range 12 { // nine voters and three learners
			require.LessOrEqual(t, Size(peers)*c.inboundBytes(peers), memory/16)
			require.NoError(t, c.checkMemory(peers), "%s", memory)
			g.fit(peers)
			var held uint64
			for _, u := range c.memoryUses(peers) {
				held += uint64(u.bytes)
			}
			require.GreaterOrEqual(t, g.marks.Load().opens, held-uint64(runtimeBytes))
			require.Greater(t, g.marks.Load().limit, g.marks.Load().opens)
		}
	}
}

func TestMemoryGate(t *testing.T) {
	var use, collections atomic.Uint64
	var garbage atomic.Uint64
	g := newMemoryGate(DefaultConfig(), testLogger(t))
	g.marks.Store(&gateMarks{limit: 800, opens: 775})
	g.inUse = func() uint64 { return use.Load() + garbage.Load() }
	g.collect = func() { collections.Add(1); garbage.Store(0) }
	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return g.run(ctx) })
	now := make(chan time.Time)
	close(now)
	use.Store(500)
	garbage.Store(400)
	require.Eventually(t, func() bool { return collections.Load() > 0 && !g.closed() }, patience, time.Millisecond, "garbage is not in use")
	require.NoError(t, g.waits(ctx, now, streamEnds{}))
	use.Store(810)
	require.Eventually(t, g.closed, patience, time.Millisecond)
	var refused *Error
	require.ErrorAs(t, g.waits(ctx, now, streamEnds{}), &refused)
	require.Equal(t, CodeLimitExceeded, refused.Code)
	require.Positive(t, refused.RetryAfter, "clients try again by themselves")
	use.Store(790)
	before := collections.Load()
	require.Eventually(t, func() bool { return collections.Load() > before }, patience, time.Millisecond)
	require.True(t, g.closed(), "it opens a little below")
	waited := make(chan error)
	running.Go(func() error { waited <- g.waits(ctx, nil, streamEnds{}); return nil })
	use.Store(760) // more than queues and caches alone
	require.NoError(t, <-waited, "a stream waits and goes on")
	use.Store(900)
	require.Eventually(t, g.closed, patience, time.Millisecond)
	lost := make(chan struct{})
	close(lost)
	require.ErrorIs(t, g.waits(ctx, nil, streamEnds{lost: lost}), errLeadershipOver)
	cancel()
	require.NoError(t, running.Wait())
	require.False(t, g.closed(), "nobody waits for a gate that nobody keeps")
	require.EqualValues(t, 3, g.closings.Load())
}

// What arrives fast makes the gate look at once, not only at its next turn.
func TestMemoryGateLooksAtWhatArrives(t *testing.T) {
	g := newMemoryGate(DefaultConfig(), testLogger(t))
	g.step = 1000
	g.marks.Store(&gateMarks{limit: 50_000, opens: 45_000})
	g.inUse = func() uint64 { return 60_000 }
	g.took(999)
	require.False(t, g.closed())
	g.took(1)
	require.True(t, g.closed())
}

// A closed gate lets a little of each connection through, so that health and status
// answer.
func TestMemoryGateTrickles(t *testing.T) {
	g := newMemoryGate(DefaultConfig(), testLogger(t))
	g.set(true)
	var slow trickle
	require.Equal(t, 3000, slow.room(g, 3000, nil))
	slow.taken += 3000
	require.Equal(t, trickleBytes-3000, slow.room(g, 3000, nil))
	slow.taken += trickleBytes - 3000
	began := time.Now()
	over := make(chan struct{})
	timer := time.AfterFunc(10*time.Millisecond, func() { close(over) })
	defer timer.Stop()
	slow.room(g, 5000, over)
	require.GreaterOrEqual(t, time.Since(began), 10*time.Millisecond, "it has to wait now")
	g.set(false)
	require.Equal(t, 50_000, slow.room(g, 50_000, nil))
	g.set(true)
	require.Equal(t, trickleBytes, slow.room(g, 50_000, nil), "what came while it was open does not count")
}

// While memory is short, health and status answer on the clients' port, new connections
// too, a pull stream waits, and a pull that has no time to wait is told to come again.
func TestShortMemory(t *testing.T) {
	short := atomic.Bool{}
	n := startSingle(t, func(c *Config) {
		c.MemoryInUse = func() uint64 {
			if short.Load() {
				return 1 << 60
			}
			return 0
		}
	})
	queues := n.createTopic("t", 1)
	n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "x"))
	short.Store(true)
	require.Eventually(t, n.b.memory.closed, patience, time.Millisecond)

	conn := n.dial()
	_, err := brokerv1.NewStatusServiceClient(conn).GetStatus(n.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(t, err)
	_, err = healthv1.NewHealthClient(conn).Check(n.ctx(), &healthv1.HealthCheckRequest{})
	require.NoError(t, err)
	messaging := brokerv1.NewMessagingServiceClient(conn)
	_, err = messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t"})
	requireCode(t, err, CodeLimitExceeded, "definite")
	stream, err := messaging.PullStream(n.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 1 << 20}))
	short.Store(false)
	got, err := stream.Recv()
	require.NoError(t, err, "it waited, and goes on")
	require.Len(t, got.GetInfos(), 1)
}

// liveHeap is the memory in use without garbage.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// dial opens a connection of its own.
func (n *node) dial() *grpc.ClientConn {
	n.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+n.b.Addrs().Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// restingHeap is by how much the heap has grown for each of n things. What a broker does
// beside them (a memtable that is written out, a segment that is made ready) has tens of
// mebibytes for a moment: while it is more than the limit it is looked at again, for a while.
func restingHeap(before, n, limit int64) (each int64) {
	for deadline := time.Now().Add(patience); ; {
		if each = (liveHeap() - before) / n; each < limit || time.Now().After(deadline) {
			return each
		}
	}
}

// Thousands of pulls that wait, and of connections that say nothing, take little
// each. Both sides of them are in this process and counted.
func TestParkedPullsAndIdleConnectionsAreCheap(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Limits.MaxPullWait = 10 * time.Minute
		c.Limits.MaxConnections, c.Limits.MaxHeldPulls = 3000, 5000
	})
	n.createTopic("t", 1)
	pulls, conns := 5000, 2000
	if testing.Short() {
		pulls, conns = 3000, 1500 // make overload has them all; fewer would not stand out from what else comes and goes
	}
	before := liveHeap()
	ctx, cancel := context.WithCancel(t.Context())
	var parked errgroup.Group
	for c := range pulls / 500 {
		client := brokerv1.NewMessagingServiceClient(n.dial())
		for range 500 {
			parked.Go(func() error {
				_, err := client.Pull(ctx, &brokerv1.PullRequest{Topic: "t", MaxWaitMs: 600_000})
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("pull on connection %d: %w", c, err)
			})
		}
	}
	require.Eventually(t, func() bool { return n.b.hold.held.Load() == int64(pulls) }, patience, time.Millisecond)
	perPull := restingHeap(before, int64(pulls), raceFactor*int64(2*heldPullBytes+4*kibibyte)) // twice: the client has its half
	cancel()
	require.NoError(t, parked.Wait())
	require.Eventually(t, func() bool { return n.b.hold.held.Load() == 0 }, patience, time.Millisecond)

	before = liveHeap()
	for range conns {
		conn, err := net.Dial("tcp", n.b.Addrs().Client)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return len(n.b.sockets.client.all()) >= conns }, patience, time.Millisecond)
	n.createTopic("u", 1) // the broker serves meanwhile
	perConn := restingHeap(before, int64(conns), raceFactor*int64(connectionBytes))
	t.Logf("a parked pull takes %d bytes (client's half included), an idle connection %d", perPull, perConn)
	require.Less(t, perPull, raceFactor*int64(2*heldPullBytes+4*kibibyte))
	require.Less(t, perConn, raceFactor*int64(connectionBytes))
}

// fill publishes batches of so many bytes in total through unary requests.
func (n *node) fill(queue uint32, total, size int) {
	n.t.Helper()
	b := makeBatch(n.t, batch.Stamp{Queue: queue}, string(make([]byte, size)))
	for sent := 0; sent < total; sent += len(b) {
		require.Nil(n.t, n.publish(b).GetError())
	}
}

// Consumers that ask for everything and never read hold what the transport has taken
// for them, and no more, however much there is.
func TestConsumersThatNeverRead(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	n.fill(queues[0], 24<<20, 256<<10)
	const consumers = 20
	before := liveHeap()
	for range consumers {
		stream, err := brokerv1.NewMessagingServiceClient(n.dial()).PullStream(n.ctx())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 1 << 40}))
	}
	// Each takes one answer, and the next ones wait in its handler.
	require.Eventually(t, func() bool { return len(n.b.sockets.client.all()) > consumers }, patience, time.Millisecond)
	n.fill(queues[0], 8<<20, 256<<10) // and more comes
	most := 4 * int64(n.b.cfg.streamAnswerBytes())
	held := restingHeap(before, consumers, most)
	t.Logf("a consumer that never reads holds %d KiB", held>>10)
	require.Less(t, held, most)
}

// A follower that is paused under load costs the leader nothing but its tail cache.
func TestPausedFollowerHoldsNoMemory(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	leader.fill(queues[0], 8<<20, 256<<10) // caches are warm
	before := liveHeap()
	slow := followers[0].b.ledger
	require.NoError(t, leader.b.ledger.PausePeer(followers[0].b.view().self))
	load := 64 << 20
	if testing.Short() {
		load = 16 << 20
	}
	leader.fill(queues[0], load, 256<<10)
	const most = 8 << 20
	grown := restingHeap(before, 1, most)
	t.Logf("after %d MiB with a paused follower the process has grown by %d KiB", load>>20, grown>>10)
	require.Less(t, grown, int64(most))
	require.NoError(t, leader.b.ledger.ResumePeer(followers[0].b.view().self))
	end := leader.b.ledger.Status().End
	require.Eventually(t, func() bool { return slow.Status().Durable >= end }, patience, time.Millisecond, "it catches up")
}
