package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; a machine under load is slow.
const patience = 60 * time.Second

// node is one broker of a test, its configuration and a client of it.
type node struct {
	t    *testing.T
	cfg  Config
	b    *Broker
	stop context.CancelFunc
	done chan error
	conn *grpc.ClientConn

	messaging brokerv1.MessagingServiceClient
	admin     brokerv1.AdminServiceClient
	status    brokerv1.StatusServiceClient
	health    healthv1.HealthClient
}

// cluster is a group of brokers in this process, on real sockets and files.
type cluster struct {
	t     *testing.T
	nodes []*node
}

// testConfig is quick enough for tests and patient enough for a busy machine: who dies is
// noticed at once, and only who is silent for two seconds is deposed.
func testConfig(t *testing.T, id string) Config {
	t.Helper()
	cfg := Config{
		Node:    NodeConfig{ID: id, Data: t.TempDir()},
		Listen:  ListenConfig{Client: "127.0.0.1:0", Peer: "127.0.0.1:0", HTTP: "127.0.0.1:0"},
		Raft:    RaftConfig{Heartbeat: 50 * time.Millisecond, MaxHeartbeatLeak: 16},
		Storage: StorageConfig{SegmentBytes: 16 * mebibyte, TailCacheBytes: mebibyte, StateCacheBytes: mebibyte},
		Limits:  LimitsConfig{DrainTimeout: time.Second},
		Topics:  TopicsConfig{DeleteGrace: -1},
		Logger:  testLogger(t),
		Statfs:  roomy,
	}
	return cfg
}

// roomy is a disk with space, however full that of the machine is.
func roomy(string) (FileSystem, error) {
	return FileSystem{Total: 1 << 40, Free: 1 << 39}, nil
}

// testLogger shows the brokers' log lines of a test that failed.
func testLogger(t *testing.T) *slog.Logger {
	t.Helper()
	var lines syncBuffer
	t.Cleanup(func() {
		if t.Failed() {
			_, _ = io.Copy(os.Stderr, lines.reader())
		}
	})
	return slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// startCluster starts n brokers; change may adapt their configurations.
func startCluster(t *testing.T, n int, change func(*Config)) *cluster {
	t.Helper()
	c := &cluster{t: t}
	peers := make(map[string]string)
	listeners := make([]net.Listener, n)
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		listeners[i], peers[fmt.Sprintf("n%d", i+1)] = l, l.Addr().String()
	}
	for i := range n {
		cfg := testConfig(t, fmt.Sprintf("n%d", i+1))
		cfg.Cluster.Peers = peers
		cfg.Listen.Peer = peers[cfg.Node.ID]
		if change != nil {
			change(&cfg)
		}
		node := &node{t: t, cfg: cfg}
		cfg.Listeners.Peer = listeners[i]
		node.startWith(cfg)
		c.nodes = append(c.nodes, node)
	}
	return c
}

func startSingle(t *testing.T, change func(*Config)) *node {
	t.Helper()
	cfg := testConfig(t, "n1")
	if change != nil {
		change(&cfg)
	}
	n := &node{t: t, cfg: cfg}
	n.startWith(cfg)
	return n
}

func (n *node) startWith(cfg Config) {
	n.t.Helper()
	b := n.open(cfg)
	ctx, stop := context.WithCancel(context.Background())
	n.b, n.stop, n.done = b, stop, make(chan error, 1)
	n.cfg.Listen.Client, n.cfg.Listen.HTTP = b.Addrs().Client, b.Addrs().HTTP // the same after a restart
	n.cfg.Listeners.Peer = nil
	go func(done chan<- error) { done <- b.Run(ctx) }(n.done)
	n.t.Cleanup(func() {
		if b == n.b {
			b.Kill()
		}
		stop()
	})
	if n.conn == nil && !cfg.TLS.Client.enabled() {
		n.connect()
	}
}

// open opens the broker. While it was down somebody else on this machine may have been given
// one of its ports, for a moment.
func (n *node) open(cfg Config) (b *Broker) {
	n.t.Helper()
	var err error
	require.Eventually(n.t, func() bool {
		b, err = New(cfg)
		return !errors.Is(err, syscall.EADDRINUSE)
	}, patience, 10*time.Millisecond, "%v", err)
	require.NoError(n.t, err)
	return b
}

func (n *node) connect() {
	n.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+n.b.Addrs().Client, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	require.NoError(n.t, err)
	n.t.Cleanup(func() { _ = conn.Close() })
	n.conn = conn
	n.messaging, n.admin = brokerv1.NewMessagingServiceClient(conn), brokerv1.NewAdminServiceClient(conn)
	n.status, n.health = brokerv1.NewStatusServiceClient(conn), healthv1.NewHealthClient(conn)
}

// restart starts the broker again on its directory and addresses.
func (n *node) restart() {
	n.t.Helper()
	n.startWith(n.cfg)
	n.conn.ResetConnectBackoff()
}

// kill ends the broker as kill -9 would.
func (n *node) kill() {
	n.t.Helper()
	n.b.Kill()
	require.ErrorIs(n.t, <-n.done, ErrKilled)
	n.done <- nil
}

// shutdown stops the broker in good order.
func (n *node) shutdown() {
	n.t.Helper()
	n.stop()
	select {
	case err := <-n.done:
		require.NoError(n.t, err)
	case <-time.After(patience):
		n.t.Fatal("the broker does not stop")
	}
}

// await waits until the node's view of the leader satisfies ok.
func (n *node) await(what string, ok func(leaderView) bool) leaderView {
	n.t.Helper()
	timeout := time.After(patience)
	for {
		view := n.b.view()
		if ok(view) {
			return view
		}
		select {
		case <-view.changed:
		case <-view.moved:
		case <-timeout:
			n.t.Fatalf("%s: waited in vain for %s: %+v", n.cfg.Node.ID, what, view)
		}
	}
}

// leader waits until all nodes that run agree on a leader that serves.
func (c *cluster) leader(nodes ...*node) (leader *node, followers []*node) {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.nodes
	}
	var serving *node
	for serving == nil {
		view := nodes[0].await("a leader", func(v leaderView) bool { return v.leader != "" })
		for _, n := range nodes {
			if n.cfg.Node.ID == string(view.leader) && n.awaitServing(view.term) {
				serving = n
			}
		}
		if serving == nil {
			nodes[0].await("another leader", func(v leaderView) bool { return v.leader != view.leader || v.term != view.term })
		}
	}
	term := serving.b.view().term
	for _, n := range nodes {
		if n != serving {
			n.await("the leader's term", func(v leaderView) bool { return v.term >= term && v.leader != "" && v.addr != "" })
			followers = append(followers, n)
		}
	}
	return serving, followers
}

func (n *node) awaitServing(term member.Term) bool {
	v := n.await("serving", func(v leaderView) bool { return v.serving != nil || v.term > term })
	return v.serving != nil
}

// awaitApplied waits until the node has applied the entry.
func (n *node) awaitApplied(index int64) {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return n.b.dispatcher.applied.Load() >= index }, patience, time.Millisecond)
}

func (n *node) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	n.t.Cleanup(cancel)
	return ctx
}

// createTopic creates a topic and returns its queue numbers.
func (n *node) createTopic(name string, queues uint32) []uint32 {
	n.t.Helper()
	resp, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: name, Queues: queues})
	require.NoError(n.t, err)
	require.Len(n.t, resp.GetTopic().GetQueueIds(), int(queues))
	return resp.GetTopic().GetQueueIds()
}

// publish sends one batch and returns its result.
func (n *node) publish(batches []byte) *brokerv1.BatchResult {
	n.t.Helper()
	resp, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: batches})
	require.NoError(n.t, err)
	require.Len(n.t, resp.GetResults(), 1)
	return resp.GetResults()[0]
}

// pull reads one answer's values from offset on.
func (n *node) pull(topic string, queue uint32, offset int64, wait time.Duration) ([]string, *brokerv1.PullResponse) {
	n.t.Helper()
	resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: topic, Queue: queue, Offset: offset, MaxWaitMs: int32(wait.Milliseconds())})
	require.NoError(n.t, err)
	return values(n.t, resp.GetBatches()), resp
}

// pullAll reads a queue from its beginning to its end.
func (n *node) pullAll(topic string, queue uint32) []string {
	n.t.Helper()
	var all []string
	for {
		got, resp := n.pull(topic, queue, int64(len(all)), 0)
		all = append(all, got...)
		if int64(len(all)) >= resp.GetEndOffset() {
			return all
		}
	}
}

// values are the values of all records in some batches.
func values(t *testing.T, batches []byte) []string {
	t.Helper()
	var all []string
	codec := batch.NewCodec()
	for rest := batches; len(rest) > 0; {
		_, one, next, err := batch.Next(rest)
		require.NoError(t, err)
		_, err = batch.Verify(one)
		require.NoError(t, err)
		for r, err := range codec.Records(one) {
			require.NoError(t, err)
			all = append(all, string(r.Value))
		}
		rest = next
	}
	return all
}

// makeBatch builds a batch with the given values.
func makeBatch(t *testing.T, stamp batch.Stamp, values ...string) []byte {
	t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 4096, RecordBytes: batch.MaxBatchBytes})
	require.NoError(t, err)
	for _, v := range values {
		require.NoError(t, b.Append(&batch.Record{Value: []byte(v), Timestamp: 1}))
	}
	out, err := b.Build(stamp)
	require.NoError(t, err)
	return bytes.Clone(out)
}
