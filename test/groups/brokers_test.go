package groups

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// member is one broker, which can be killed and started again on its directory.
type member struct {
	t       testing.TB
	cfg     broker.Config
	b       *broker.Broker
	running *errgroup.Group
}

// startBrokers starts three brokers that go by that timing; zero is the default.
func startBrokers(t testing.TB, timing broker.GroupTiming) (members []*member, seeds []string) {
	t.Helper()
	peers := map[string]string{}
	var listeners []net.Listener
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners, peers[fmt.Sprint("n", i+1)] = append(listeners, l), l.Addr().String()
	}
	for i, l := range listeners {
		id := fmt.Sprint("n", i+1)
		m := &member{t: t, cfg: broker.Config{
			Node: broker.NodeConfig{ID: id, Data: t.TempDir()}, Cluster: broker.ClusterConfig{Peers: peers},
			Listen:  broker.ListenConfig{Client: "127.0.0.1:0", Peer: peers[id], HTTP: "127.0.0.1:0"},
			Raft:    broker.RaftConfig{Heartbeat: 50 * time.Millisecond, MaxHeartbeatLeak: 10},
			Storage: broker.StorageConfig{SegmentBytes: 8 << 20, TailCacheBytes: 1 << 20, StateCacheBytes: 1 << 20},
			Groups:  timing, Limits: broker.LimitsConfig{DrainTimeout: time.Second}, Logger: slog.New(slog.DiscardHandler),
			Statfs: func(string) (broker.FileSystem, error) { return broker.FileSystem{Total: 1 << 40, Free: 1 << 39}, nil },
		}}
		m.cfg.Listeners.Peer = l
		m.start()
		t.Cleanup(m.kill)
		members, seeds = append(members, m), append(seeds, m.cfg.Listen.Client)
	}
	return members, seeds
}

func (m *member) start() {
	m.t.Helper()
	var b *broker.Broker
	var err error
	require.Eventually(m.t, func() bool { // while it was down somebody else may have been given its ports
		b, err = broker.New(m.cfg)
		return !errors.Is(err, syscall.EADDRINUSE)
	}, patience, 10*time.Millisecond, "%v", err)
	require.NoError(m.t, err)
	m.cfg.Listeners.Peer = nil
	m.cfg.Listen.Client, m.cfg.Listen.HTTP = b.Addrs().Client, b.Addrs().HTTP
	m.b, m.running = b, new(errgroup.Group)
	m.running.Go(func() error { return b.Run(context.Background()) })
}

// kill ends the broker as kill -9 would.
func (m *member) kill() {
	if m.b == nil {
		return
	}
	m.b.Kill()
	if err := m.running.Wait(); err != nil && !errors.Is(err, broker.ErrKilled) {
		m.t.Error(err)
	}
	m.b = nil
}

// killLeader kills whoever leads.
func killLeader(t *testing.T, c *client.Client, members []*member) *member {
	t.Helper()
	var leader *member
	require.Eventually(t, func() bool {
		for _, m := range members {
			if m.b != nil && m.cfg.Listen.Client == c.Leader() {
				leader = m
			}
		}
		return leader != nil
	}, patience, time.Millisecond)
	leader.kill()
	return leader
}
