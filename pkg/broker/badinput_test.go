package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestGarbageOnEveryPort throws bytes that are no protocol at all three
// listeners of a leader that works, and looks whether anybody noticed.
func TestGarbageOnEveryPort(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	term := leader.b.view().term
	random := make([]byte, 64<<10)
	_, _ = rand.Read(random)
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	for _, addr := range []string{leader.b.Addrs().Client, leader.b.Addrs().Peer, leader.b.Addrs().HTTP} {
		for _, garbage := range [][]byte{random, []byte("GET / HTTP/1.1\r\n\r\n"), []byte("\x16\x03\x01\x00\x05hello"), []byte(preface + string(random)), {}} {
			throw(t, addr, garbage)
		}
	}
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "fine")).GetError())
	require.Equal(t, []string{"fine"}, followers[0].pullAll("t", 0))
	require.Equal(t, term, leader.b.view().term, "the leadership was not disturbed")
}

// throw sends bytes and reads until the other side has had enough.
func throw(t *testing.T, addr string, garbage []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	require.NoError(t, conn.SetDeadline(time.Now().Add(200*time.Millisecond)))
	_, _ = conn.Write(garbage)
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

func TestMessagesThatAreTooLarge(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	five := makeBatch(t, batch.Stamp{Queue: queues[0]}, string(make([]byte, 5<<20)))
	res := n.publish(five)
	require.Equal(t, "MESSAGE_TOO_LARGE", res.GetError().GetCode())
	require.Equal(t, "batch of 5242976 bytes is above limits.max_batch_bytes, 4194304", res.GetError().GetMessage())

	huge := make([]byte, 64<<20)
	_, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: huge})
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.ErrorContains(t, err, "received message larger than max (67108869 vs. 8454144)")
	stream := n.publishStream()
	_ = stream.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: huge}) // may fail when the broker ends the stream first
	_, err = stream.Recv()
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	require.ErrorContains(t, err, "received message larger than max")
	require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "small")).GetError())
}

func TestTopicsThatCannotBe(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxQueuesPerTopic = 8 })
	create := func(name string, queues uint32) error {
		_, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: name, Queues: queues})
		return err
	}
	for _, name := range []string{"", ".", "..", "a/b", "ü", "a b", string(make([]byte, 128))} {
		requireCode(t, create(name, 1), CodeInvalidTopicName, "definite")
	}
	requireCode(t, create("t", 0), CodeLimitExceeded, "definite")
	requireCode(t, create("t", 9), CodeLimitExceeded, "definite")
	require.NoError(t, create("t", 8))
	requireCode(t, create("t", 8), CodeTopicExists, "definite")
	_, err := n.admin.DescribeTopic(n.ctx(), &brokerv1.DescribeTopicRequest{Name: "u"})
	requireCode(t, err, CodeUnknownTopic, "definite")
	_, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "u"})
	requireCode(t, err, CodeUnknownTopic, "definite")

	// The same request twice is one topic.
	req := &brokerv1.CreateTopicRequest{Name: "twice", Queues: 2, RequestId: "r"}
	first, err := n.admin.CreateTopic(n.ctx(), req)
	require.NoError(t, err)
	second, err := n.admin.CreateTopic(n.ctx(), req)
	require.NoError(t, err)
	require.Equal(t, first.GetTopic().GetQueueIds(), second.GetTopic().GetQueueIds())

	described, err := n.admin.DescribeTopic(n.ctx(), &brokerv1.DescribeTopicRequest{Name: "twice"})
	require.NoError(t, err)
	require.Len(t, described.GetQueues(), 2)

	_, err = n.admin.TransferLeadership(n.ctx(), &brokerv1.TransferLeadershipRequest{Transferee: "n9"})
	requireCode(t, err, CodeUnknownMember, "definite")
}

func TestStartsThatAreRefused(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 1)

	same := n.cfg
	same.Listen = testConfig(t, "n1").Listen
	_, err := New(same)
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, "is in use by another broker")

	busy := testConfig(t, "n1")
	busy.Listen.HTTP = n.b.Addrs().HTTP
	_, err = New(busy)
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "listen.http: listen tcp "+busy.Listen.HTTP)
	free, err := openDataDir(busy.Node.Data, "ledgermq", "n1")
	require.NoError(t, err, "the refused broker has let go of its directory")
	require.NoError(t, free.close())

	n.shutdown()
	other := n.cfg
	other.Node.ID = "n2"
	_, err = New(other)
	require.ErrorIs(t, err, ErrDataDir)
	require.ErrorContains(t, err, `belongs to cluster "ledgermq" node n1, but this is cluster "ledgermq" node n2. Nothing was changed.`)

	open := n.cfg
	open.Listen.Client = "0.0.0.0:0"
	_, err = New(open)
	require.ErrorContains(t, err, `listen.client "0.0.0.0:0" is not a loopback address`)

	// A ledger that is gone while its state is not: the ballot is missed first.
	require.NoError(t, os.RemoveAll(filepath.Join(n.cfg.Node.Data, ledgerDir)))
	_, err = New(n.cfg)
	require.Error(t, err)
	require.ErrorContains(t, err, "ballot")
}

func TestStateAheadOfTheLedger(t *testing.T) {
	anew, err := replayable(100, 0, 95, "D", false)
	require.NoError(t, err)
	require.True(t, anew, "a whole ledger yields the state again")
	anew, err = replayable(100, 10, 95, "D", false)
	require.NoError(t, err)
	require.False(t, anew, "the ledger will come that far")
	_, err = replayable(5, 10, 95, "D", true)
	require.EqualError(t, err, "data dir D: the state has entries up to 5 applied, but the ledger begins at 10: what lies between is missing. "+
		"Put back both from one copy, or seed this member anew from the others. Nothing was changed.")
	anew, err = replayable(5, 10, 95, "D", false)
	require.NoError(t, err, "another member has a state")
	require.False(t, anew)
	for _, applied := range []int64{9, 50, 95} {
		anew, err = replayable(commitIndex(applied), 10, 95, "D", true)
		require.NoError(t, err)
		require.False(t, anew)
	}
}

// TestStateIsBuiltAnew takes the state of a longer ledger to a shorter one.
func TestStateIsBuiltAnew(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "a"))
	n.shutdown()
	ledger := filepath.Join(n.cfg.Node.Data, ledgerDir)
	saved := filepath.Join(t.TempDir(), "saved")
	require.NoError(t, os.CopyFS(saved, os.DirFS(ledger)))
	n.restart()
	n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "b"))
	n.shutdown()
	require.NoError(t, os.RemoveAll(ledger))
	require.NoError(t, os.CopyFS(ledger, os.DirFS(saved)))
	n.restart()
	require.Equal(t, []string{"a"}, n.pullAll("t", 0))
	require.NoDirExists(t, filepath.Join(n.cfg.Node.Data, oldStateDir))
}

// TestRemovalOfStateIsCutShort: a crash while the old state is being removed leaves
// nothing behind that is taken for a state.
func TestRemovalOfStateIsCutShort(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "a"))
	n.shutdown()
	var left string // what is in the way at the next start
	removing := func(path string) error {
		left = path
		files, err := os.ReadDir(path)
		require.NoError(t, err)
		for _, f := range files[:len(files)/2] {
			require.NoError(t, os.RemoveAll(filepath.Join(path, f.Name())))
		}
		return errors.New("power cut")
	}
	require.ErrorContains(t, n.b.dir.dropState(removing), "power cut")
	require.DirExists(t, left)
	n.restart()
	require.Equal(t, []string{"a"}, n.pullAll("t", 0))
	require.NoDirExists(t, left)
}

// TestTwoBrokersWithOneID starts a second n1 with a directory and ports of its
// own: it finds the first one where the peers look for n1, and ends.
func TestTwoBrokersWithOneID(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, _ := c.leader()
	queues := leader.createTopic("t", 1)
	cfg := testConfig(t, "n1")
	cfg.Cluster.Peers = c.nodes[0].cfg.Cluster.Peers
	cfg.Listen.Peer = "127.0.0.1:0"
	twin, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = twin.Run(ctx)
	require.ErrorContains(t, err, "the members know that n1 is at "+cfg.Cluster.Peers["n1"]+", but there is another broker: id n1")
	require.ErrorContains(t, err, "Two brokers must not have one id")
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "undisturbed")).GetError())
}

func TestProfilesAreForThisMachine(t *testing.T) {
	n := startSingle(t, nil)
	resp, err := http.Get("http://" + n.b.Addrs().HTTP + "/debug/pprof/cmdline")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	remote := newHTTPServer(n.b, &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1})
	_, pattern := remote.Handler.(*http.ServeMux).Handler(&http.Request{Method: "GET", URL: mustURL(t, "/debug/pprof/")})
	require.Empty(t, pattern)
	http.DefaultClient.CloseIdleConnections()
}
