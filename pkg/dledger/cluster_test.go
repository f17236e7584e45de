package dledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of a test; it is reached only by a failure.
const patience = 60 * time.Second

// cluster is a group of real members in this process: real files, real sockets.
type cluster struct {
	t     testing.TB
	ids   []member.ID
	addrs map[member.ID]string
	dirs  map[member.ID]string
	nodes map[member.ID]*node
	lives map[member.ID]int // data directories that replaced the first one
	tune  func(*Config)

	applied commitlog.Index // of the members that are started; what they know to be applied already
}

// node is one member and what a broker would do around it.
type node struct {
	*Server
	id     member.ID
	grpc   *grpc.Server
	cancel context.CancelFunc
	done   sync.WaitGroup
	runErr error
}

func testLogger(id member.ID) *slog.Logger {
	var out io.Writer = io.Discard
	if os.Getenv("DLEDGER_TEST_LOG") != "" {
		out = os.Stderr
	}
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", string(id))
}

// newCluster starts n members and stops them at the end of the test.
func newCluster(t *testing.T, n int, tune func(*Config)) *cluster {
	t.Helper()
	t.Parallel()
	return startCluster(t, n, tune)
}

func benchCluster(b *testing.B) *cluster {
	b.Helper()
	return startCluster(b, 3, func(cfg *Config) { cfg.Log.SegmentBytes = 256 << 20 })
}

func startCluster(t testing.TB, n int, tune func(*Config)) *cluster {
	t.Helper()
	c, listeners := reserveCluster(t, n, tune)
	for i, id := range c.ids {
		c.startOn(id, listeners[i], true)
	}
	return c
}

// prepareCluster has addresses and directories for n members, and starts none.
func prepareCluster(t *testing.T, n int, tune func(*Config)) *cluster {
	t.Helper()
	t.Parallel()
	c, listeners := reserveCluster(t, n, tune)
	for _, l := range listeners {
		require.NoError(t, l.Close())
	}
	return c
}

func reserveCluster(t testing.TB, n int, tune func(*Config)) (*cluster, []net.Listener) {
	t.Helper()
	c := &cluster{
		t: t, addrs: map[member.ID]string{}, dirs: map[member.ID]string{}, nodes: map[member.ID]*node{},
		lives: map[member.ID]int{}, tune: tune, applied: commitlog.NoIndex,
	}
	var listeners []net.Listener
	for i := range n {
		id := member.ID(fmt.Sprintf("n%d", i+1))
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		c.ids, listeners = append(c.ids, id), append(listeners, l)
		c.addrs[id], c.dirs[id] = l.Addr().String(), t.TempDir()
	}
	t.Cleanup(c.stop)
	return c, listeners
}

func (c *cluster) config(id member.ID, fresh bool) Config {
	cfg := Config{
		Dir: c.dirs[id], Fresh: fresh, ClusterID: "test", Group: "g0", ID: id, Incarnation: "dir-" + string(id) + strings.Repeat("'", c.lives[id]),
		Peers: c.addrs, ClientAddr: "client-" + string(id), Logger: testLogger(id), Registerer: prometheus.NewRegistry(),
		Log: commitlog.Config{SegmentBytes: 4 << 20},
		// Patient, so that a busy machine deposes nobody by chance; who dies is noticed at once.
		Member: member.Config{MaxHeartBeatLeak: 25},
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	return cfg
}

// start starts a member that was started before, on its old address.
func (c *cluster) start(id member.ID) *node {
	c.t.Helper()
	return c.startOn(id, c.listen(id), false)
}

// replace starts a member that was started before on a new data directory.
func (c *cluster) replace(id member.ID) *node {
	c.t.Helper()
	c.lives[id]++
	c.dirs[id] = c.t.TempDir()
	return c.startOn(id, c.listen(id), true)
}

// listen opens the old address of a member that was started before.
func (c *cluster) listen(id member.ID) net.Listener {
	c.t.Helper()
	var l net.Listener
	require.Eventually(c.t, func() bool {
		var err error
		l, err = net.Listen("tcp", c.addrs[id])
		return err == nil
	}, patience, time.Millisecond)
	return l
}

func (c *cluster) startOn(id member.ID, l net.Listener, fresh bool) *node {
	c.t.Helper()
	s, err := Open(c.config(id, fresh))
	require.NoError(c.t, err)
	n := runNodeFrom(s, id, l, c.applied)
	c.nodes[id] = n
	return n
}

// runNode serves s on l, runs it and applies what it commits.
func runNode(s *Server, id member.ID, l net.Listener) *node {
	return runNodeFrom(s, id, l, commitlog.NoIndex)
}

func runNodeFrom(s *Server, id member.ID, l net.Listener, applied commitlog.Index) *node {
	n := &node{Server: s, id: id, grpc: grpc.NewServer(PeerServerOptions()...)}
	s.Register(n.grpc)
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.done.Go(func() { _ = n.grpc.Serve(l) })
	n.done.Go(func() { n.runErr = s.Run(ctx) })
	n.done.Go(func() { n.apply(ctx, applied) })
	return n
}

// apply is what a broker's dispatcher does, with each entry's body as its outcome.
func (n *node) apply(ctx context.Context, applied commitlog.Index) {
	next := applied + 1
	n.Applied(next, nil)
	for {
		commit, err := n.WaitCommitted(ctx, next-1)
		if err != nil {
			return
		}
		for next <= commit {
			frame, err := n.Read(next, commit, 1<<20)
			var damaged *Error // and not a log that is closed
			if errors.As(err, &damaged) && n.AwaitReadable(ctx, next) == nil {
				continue
			}
			if err != nil {
				return
			}
			outcomes, rest := []any(nil), frame.Bytes
			for len(rest) > 0 {
				var body []byte
				if _, body, rest, err = commitlog.NextEntry(rest); err != nil {
					panic(err)
				}
				outcomes = append(outcomes, string(body))
			}
			n.Applied(next, outcomes)
			next = frame.Last + 1
		}
	}
}

// kill is kill -9: sockets are cut, files are left as they are.
func (c *cluster) kill(id member.ID) {
	n := c.nodes[id]
	delete(c.nodes, id)
	n.cut()
}

func (n *node) cut() {
	n.Abandon()
	n.grpc.Stop()
	n.cancel()
	n.done.Wait()
}

// shutDown is an orderly end.
func (c *cluster) shutDown(id member.ID) {
	n := c.nodes[id]
	delete(c.nodes, id)
	require.NoError(c.t, n.Close())
	n.grpc.Stop()
	n.cancel()
	n.done.Wait()
	require.NoError(c.t, n.runErr)
}

func (c *cluster) stop() {
	for id := range c.nodes {
		c.shutDown(id)
	}
}

// await waits until a status of n is as wanted.
func (n *node) await(t testing.TB, what string, want func(*Status) bool) *Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, changed := n.Changes()
		st := n.Status()
		if want(st) {
			return st
		}
		poll, stop := context.WithTimeout(ctx, 5*time.Millisecond) // water marks wake nobody
		select {
		case <-changed:
		case <-poll.Done():
		}
		stop()
		if ctx.Err() != nil {
			t.Fatalf("%s: waited in vain for %s; status %+v", n.id, what, n.Status())
		}
	}
}

// leader waits until somebody serves and returns it.
func (c *cluster) leader() *node {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		wait := make(chan struct{})
		var once sync.Once
		for _, n := range c.nodes {
			_, changed := n.Changes()
			if st := n.Status(); st.Serving {
				return n
			}
			stop := context.AfterFunc(closedBy(changed), func() { once.Do(func() { close(wait) }) })
			defer stop()
		}
		timer := time.NewTimer(5 * time.Millisecond)
		select {
		case <-wait:
		case <-timer.C:
		}
		timer.Stop()
	}
	c.t.Fatalf("nobody leads")
	return nil
}

// closedBy is a context that is done when ch is closed.
func closedBy(ch <-chan struct{}) context.Context {
	return chanContext{Context: context.Background(), ch: ch}
}

type chanContext struct {
	context.Context
	ch <-chan struct{}
}

func (c chanContext) Done() <-chan struct{} { return c.ch }
func (c chanContext) Err() error {
	select {
	case <-c.ch:
		return context.Canceled
	default:
		return nil
	}
}

// body is a body with its CRC in front.
func body(text string) commitlog.Body {
	raw := append(make([]byte, 4), text...)
	binary.LittleEndian.PutUint32(raw, crc32.Checksum(raw[4:], castagnoli))
	return commitlog.Body{Type: commitlog.TypeBatch, Bytes: raw}
}

// propose proposes bodies and returns where the result will come.
func (n *node) propose(texts ...string) (<-chan ProposalResult, error) {
	ch := make(chan ProposalResult, 1)
	p := &Proposal{Done: func(r ProposalResult) { ch <- r }}
	for _, text := range texts {
		p.Bodies = append(p.Bodies, body(text))
	}
	return ch, n.Propose(p)
}

// publish proposes to whoever leads until it succeeds, as a client would: a busy
// machine may depose a leader at any time.
func (c *cluster) publish(texts ...string) (*node, ProposalResult) {
	c.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		l := c.leader()
		var ch <-chan ProposalResult
		if ch, err = l.propose(texts...); err != nil {
			continue
		}
		r := receive(c.t, ch)
		if r.Err == nil {
			return l, r
		}
		err = r.Err
	}
	c.t.Fatalf("published in vain: %v", err)
	return nil, ProposalResult{}
}

func receive(t testing.TB, ch <-chan ProposalResult) ProposalResult {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-ch:
		return r
	case <-timer.C:
		t.Fatal("a proposal was not answered")
		return ProposalResult{}
	}
}

// awaitEqual waits until all members have committed and applied the leader's whole
// log, and compares the logs byte for byte.
func (c *cluster) awaitEqual() {
	c.t.Helper()
	want := c.leader()
	st := want.await(c.t, "everything committed", func(st *Status) bool { return st.Commit == st.End })
	for _, n := range c.nodes {
		n.await(c.t, fmt.Sprintf("everything up to %d applied and on disk", st.End), func(s *Status) bool { return s.Applied >= st.End && s.Durable >= st.End })
		require.Equal(c.t, allEntries(c.t, want, st.End), allEntries(c.t, n, st.End), "logs of %s and %s", want.id, n.id)
		wantHash, at := want.LogHash()
		hash, ownAt := n.LogHash()
		if at == ownAt {
			require.Equal(c.t, wantHash, hash)
		}
	}
}

func allEntries(t testing.TB, n *node, last commitlog.Index) []byte {
	t.Helper()
	var all []byte
	for next := commitlog.Index(0); next <= last; {
		f, err := n.Read(next, last, 4<<20)
		require.NoError(t, err)
		all = append(all, f.Bytes...)
		next = f.Last + 1
	}
	return all
}
