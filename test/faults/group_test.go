package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// patience bounds every wait; only a failure takes so long.
const patience = 60 * time.Second

// electionTimeout of the groups: patient enough for a busy machine.
const (
	heartbeat       = 50 * time.Millisecond
	electionTimeout = 10 * heartbeat
)

// brokerOnDisk is one broker with a disk of its own.
type brokerOnDisk struct {
	t    *testing.T
	cfg  broker.Config
	disk *crashfs.FS
	b    *broker.Broker
	done chan error
	conn *grpc.ClientConn
}

// group is a cluster of them.
type group struct {
	t       *testing.T
	brokers []*brokerOnDisk
	client  *client.Client
}

func logger(t *testing.T) *slog.Logger {
	if os.Getenv("FAULTS_LOG") == "" {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})).With("test", t.Name())
}

// start starts a group of three with a topic "t" of one queue.
func start(t *testing.T) *group {
	t.Helper()
	return startWith(t, func(*broker.Config) {})
}

// startWith is start with another configuration.
func startWith(t *testing.T, change func(*broker.Config)) *group {
	t.Helper()
	g := &group{t: t}
	peers := make(map[string]string)
	var listeners []net.Listener
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners = append(listeners, l)
		peers[fmt.Sprintf("n%d", i+1)] = l.Addr().String()
	}
	for i, l := range listeners {
		id := fmt.Sprintf("n%d", i+1)
		n := &brokerOnDisk{t: t, disk: crashfs.New(), cfg: broker.Config{
			Node: broker.NodeConfig{ID: id, Data: t.TempDir()}, Cluster: broker.ClusterConfig{Peers: peers},
			Listen:  broker.ListenConfig{Client: "127.0.0.1:0", Peer: peers[id], HTTP: "127.0.0.1:0"},
			Raft:    broker.RaftConfig{Heartbeat: heartbeat, MaxHeartbeatLeak: int(electionTimeout / heartbeat)},
			Storage: broker.StorageConfig{SegmentBytes: 8 << 20, TailCacheBytes: 1 << 20, StateCacheBytes: 1 << 20},
			Limits:  broker.LimitsConfig{DrainTimeout: time.Second}, Logger: logger(t),
			Statfs: func(string) (broker.FileSystem, error) { return broker.FileSystem{Total: 1 << 40, Free: 1 << 39}, nil },
		}}
		n.cfg.Listeners.Peer = l
		change(&n.cfg)
		n.start()
		g.brokers = append(g.brokers, n)
	}
	var err error
	g.client, err = client.Dial(t.Context(), client.Config{Seeds: g.seeds()})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.client.Close() })
	_, err = g.client.Admin().CreateTopic(t.Context(), "t", 1)
	require.NoError(t, err)
	return g
}

func (g *group) seeds() (all []string) {
	for _, n := range g.brokers {
		all = append(all, n.cfg.Listen.Client)
	}
	return all
}

// start starts the broker, for the first time or again, on its disk and addresses.
func (n *brokerOnDisk) start() {
	n.t.Helper()
	n.cfg.LedgerFS = n.disk
	var b *broker.Broker
	var err error
	require.Eventually(n.t, func() bool { // while it was down somebody else may have been given its ports
		b, err = broker.New(n.cfg)
		return !errors.Is(err, syscall.EADDRINUSE)
	}, patience, 10*time.Millisecond, "%v", err)
	require.NoError(n.t, err)
	n.cfg.Listeners.Peer = nil
	n.cfg.Listen.Client, n.cfg.Listen.HTTP = b.Addrs().Client, b.Addrs().HTTP
	n.b, n.done = b, make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func(done chan<- error) { done <- b.Run(ctx) }(n.done)
	n.t.Cleanup(func() {
		n.disk.SetFault(nil) // nothing may hang any more
		b.Kill()
		cancel()
	})
	if n.conn == nil {
		n.conn, err = grpc.NewClient("passthrough:///"+n.cfg.Listen.Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(n.t, err)
		n.t.Cleanup(func() { _ = n.conn.Close() })
	}
}

// status asks the broker how it is.
func (n *brokerOnDisk) status() *brokerv1.GetStatusResponse {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	st, err := brokerv1.NewStatusServiceClient(n.conn).GetStatus(ctx, &brokerv1.GetStatusRequest{}, grpc.WaitForReady(true))
	require.NoError(n.t, err)
	return st
}

// ended waits for the end of the broker's Run and returns its error.
func (n *brokerOnDisk) ended() error {
	n.t.Helper()
	select {
	case err := <-n.done:
		n.done <- err
		return err
	case <-time.After(patience):
		n.t.Fatalf("%s does not end", n.cfg.Node.ID)
		return nil
	}
}

// running says whether Run has not returned.
func (n *brokerOnDisk) running() bool {
	select {
	case err := <-n.done:
		n.done <- err
		return false
	default:
		return true
	}
}

// leader waits for a broker that leads and serves.
func (g *group) leader() (leader *brokerOnDisk) {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		for _, n := range g.brokers {
			if n.running() && n.status().GetStatus().GetServing() {
				leader = n
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond)
	return leader
}

func (g *group) others(of *brokerOnDisk) (all []*brokerOnDisk) {
	for _, n := range g.brokers {
		if n != of {
			all = append(all, n)
		}
	}
	return all
}

// awaitApplied waits until every broker has applied what the leader has.
func (g *group) awaitApplied() {
	g.t.Helper()
	last := g.leader().status().GetStatus().GetAppliedIndex()
	for _, n := range g.brokers {
		require.Eventually(g.t, func() bool { return n.status().GetStatus().GetAppliedIndex() >= last }, patience, 5*time.Millisecond,
			"%s applies up to %d", n.cfg.Node.ID, last)
	}
}

// ack is one message that was acknowledged.
type ack struct {
	value     string
	sent, got time.Time
}

// traffic publishes one message after the other until it is told to stop.
type traffic struct {
	t      *testing.T
	cancel context.CancelFunc
	done   sync.WaitGroup
	acked  chan struct{} // capacity 1: another one was acknowledged

	mu struct {
		sync.Mutex
		acks   []ack
		failed map[string]error
	}
}

// publish begins traffic of messages of so many bytes.
func (g *group) publish(bytes int) *traffic {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := g.client.Producer(ctx, client.ProducerConfig{Topic: "t"})
	require.NoError(g.t, err)
	tr := &traffic{t: g.t, cancel: cancel, acked: make(chan struct{}, 1)}
	tr.mu.failed = make(map[string]error)
	pad := make([]byte, bytes)
	tr.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			value := fmt.Sprintf("message %06d", i)
			sent := time.Now()
			_, err := p.Publish(ctx, client.Message{Value: append([]byte(value), pad...)}).Get(context.Background())
			tr.note(value, sent, err)
		}
		closing, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		_ = p.Close(closing)
	})
	g.t.Cleanup(tr.stop)
	return tr
}

func (tr *traffic) note(value string, sent time.Time, err error) {
	tr.mu.Lock()
	if err == nil {
		tr.mu.acks = append(tr.mu.acks, ack{value, sent, time.Now()})
	} else {
		tr.mu.failed[value] = err
	}
	tr.mu.Unlock()
	select {
	case tr.acked <- struct{}{}:
	default:
	}
}

func (tr *traffic) stop() {
	tr.cancel()
	tr.done.Wait()
}

// acks are those so far.
func (tr *traffic) acks() []ack {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return append([]ack(nil), tr.mu.acks...)
}

// await waits until n more messages are acknowledged than so far and returns them.
func (tr *traffic) await(n int) []ack {
	tr.t.Helper()
	before := len(tr.acks())
	timeout := time.After(patience)
	for {
		if all := tr.acks(); len(all) >= before+n {
			return all[before:]
		}
		select {
		case <-tr.acked:
		case <-timeout:
			tr.t.Fatalf("no %d acknowledgements within %v", n, patience)
		}
	}
}

// requireStored reads the topic and compares it with what the producer was told:
// everything acknowledged once and in order, nothing that was refused for certain.
func (g *group) requireStored(tr *traffic) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	topic, err := g.client.Admin().DescribeTopic(ctx, "t")
	require.NoError(g.t, err)
	consumer, err := g.client.Consumer(ctx, client.ConsumerConfig{Topic: "t", From: client.Earliest()})
	require.NoError(g.t, err)
	defer consumer.Close()
	var stored []string
	for end := topic.Queues[0].End; int64(len(stored)) < end; {
		m, err := consumer.Next(ctx)
		require.NoError(g.t, err)
		stored = append(stored, string(m.Value[:len("message 000000")]))
	}
	at := make(map[string]int)
	for i, v := range stored {
		require.NotContains(g.t, at, v, "stored twice")
		at[v] = i
		if i > 0 {
			require.Greater(g.t, v, stored[i-1], "out of order")
		}
	}
	for _, a := range tr.acks() {
		require.Contains(g.t, at, a.value, "acknowledged and lost")
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for value, err := range tr.mu.failed {
		var e *client.Error
		if errors.As(err, &e) && !e.Indefinite {
			require.NotContains(g.t, at, value, "refused for certain and stored: %v", err)
		}
	}
}

// longest is the longest time between two acknowledgements.
func longest(acks []ack) (gap time.Duration) {
	for i := 1; i < len(acks); i++ {
		gap = max(gap, acks[i].got.Sub(acks[i-1].got))
	}
	return gap
}
