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

func TestMemoryGate(t *testing.T) {
	var use, collections atomic.Uint64
	var garbage atomic.Uint64
	g := newMemoryGate(1000, testLogger(t)) // closes at 800
	g.inUse = func() uint64 { return use.Load() + garbage.Load() }
	g.collect = func() { collections.Add(1); garbage.Store(0) }
	ctx, cancel := context.WithCancel(t.Context())
	var running errgroup.Group
	running.Go(func() error { return g.run(ctx) })
	passes := func() bool {
		over := make(chan struct{})
		close(over)
		g.wait(over)
		return g.refusal() == nil
	}
	use.Store(500)
	garbage.Store(400)
	require.Eventually(t, func() bool { return collections.Load() > 0 && !g.closed() }, patience, time.Millisecond, "garbage is not in use")
	require.True(t, passes())
	use.Store(810)
	require.Eventually(t, g.closed, patience, time.Millisecond)
	require.Error(t, g.refusal())
	use.Store(790)
	before := collections.Load()
	require.Eventually(t, func() bool { return collections.Load() > before }, patience, time.Millisecond)
	require.True(t, g.closed(), "it opens a little below")
	waited := make(chan struct{})
	running.Go(func() error { g.wait(nil); close(waited); return nil })
	use.Store(700)
	<-waited
	require.True(t, passes())
	use.Store(900)
	require.Eventually(t, g.closed, patience, time.Millisecond)
	cancel()
	require.NoError(t, running.Wait())
	require.False(t, g.closed(), "nobody waits for a gate that nobody keeps")
	require.EqualValues(t, 3, g.closings.Load())
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

// Thousands of pulls that wait, and of connections that say nothing, take little
// each. Both sides of them are in this process and counted.
func TestParkedPullsAndIdleConnectionsAreCheap(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Limits.MaxPullWait = 10 * time.Minute
		c.Limits.MaxConnections = 3000
	})
	n.createTopic("t", 1)
	pulls, conns := 5000, 2000
	if testing.Short() {
		pulls, conns = 1000, 400 // make overload has them all
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
	perPull := (liveHeap() - before) / int64(pulls)
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
	perConn := (liveHeap() - before) / int64(conns)
	t.Logf("a parked pull takes %d bytes (client's half included), an idle connection %d", perPull, perConn)
	require.Less(t, perPull, raceFactor*int64(2*heldPullBytes+4*kibibyte), "twice: the client has its half")
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
	held := (liveHeap() - before) / consumers
	t.Logf("a consumer that never reads holds %d KiB", held>>10)
	require.Less(t, held, 4*int64(n.b.cfg.streamAnswerBytes()))
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
	grown := liveHeap() - before
	t.Logf("after %d MiB with a paused follower the process has grown by %d KiB", load>>20, grown>>10)
	require.Less(t, grown, int64(8<<20))
	require.NoError(t, leader.b.ledger.ResumePeer(followers[0].b.view().self))
	end := leader.b.ledger.Status().End
	require.Eventually(t, func() bool { return slow.Status().Durable >= end }, patience, time.Millisecond, "it catches up")
}
