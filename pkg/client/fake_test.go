package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/ledgermq/ledgermq/pkg/batch"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// action is what the fake cluster does with one frame.
type action int

const (
	store           action = iota // store, acknowledge
	breakBefore                   // end the stream, store nothing
	breakAfter                    // store, end the stream without an answer
	refuseMoved                   // answer NOT_LEADER, lead elsewhere
	refuseFull                    // answer LEADER_PENDING_FULL
	lostStored                    // store, answer LEADERSHIP_LOST
	lostUnstored                  // answer LEADERSHIP_LOST
	silence                       // neither store nor answer; then lead elsewhere
	silenceStored                 // store, do not answer; then lead elsewhere
	hold                          // wait for cluster.release, then store
	ackTwice                      // store, acknowledge twice
	endMoved                      // lead elsewhere, end the stream definitely
	unknownProducer               // forget the producer
	actions                       // those above are for random scripts
	mute                          // store, do not answer: that would come too late
)

// cluster is an in-memory group: brokers that share one store.
type cluster struct {
	t       reporter
	tasks   errgroup.Group
	release chan struct{}
	held    chan struct{} // told when a frame is being held
	groups  *fakeGroups
	work    *fakeWork

	mu struct {
		sync.Mutex
		nodes     map[string]*fakeNode
		order     []string
		leader    string
		term      int64
		changed   chan struct{}
		topics    map[string][]uint32
		queues    map[uint32]*fakeQueue
		producers map[uint64]*fakeProducer
		names     map[string]uint64 // of producers
		requests  map[string]*brokerv1.RegisterProducerResponse
		patient   bool // registrations wait for a leader, for ever
		putOff    int
		ends      []error           // what the next EndTransactions answer
		waiting   map[string][]byte // batches with a delivery time, by handle
		ended     map[string]int64  // transactions, by handle: the offset of what was committed, or -1
		index     int64
		lastID    uint64
		lastQueue uint32
		maxBatch  int
		frames    int
		batches   int
		perFrame  []int
		script    func(frame int) action
		arrived   chan struct{} // closed when something is stored
		answers   int
		pulls     func(answer int) pullAction
	}
}

type fakeQueue struct {
	batches []fakeBatch
	first   int64
	end     int64
	seen    map[uint64][]fakeSeen // by producer: the window of its newest epoch
}

type fakeBatch struct {
	base  int64
	index int64
	term  int64
	data  []byte
}

type fakeSeen struct {
	seq    int64
	count  uint32
	crc    uint32
	offset int64
	handle string
}

type fakeNode struct {
	brokerv1.UnimplementedMessagingServiceServer
	brokerv1.UnimplementedAdminServiceServer
	brokerv1.UnimplementedStatusServiceServer
	brokerv1.UnimplementedDeliveryServiceServer
	brokerv1.UnimplementedTransactionServiceServer
	c        *cluster
	id, addr string
	listener *bufconn.Listener
	server   *grpc.Server
}

// reporter is the part of testing.TB that the cluster needs; examples have their own.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Cleanup(f func())
	Context() context.Context
}

// newCluster starts n brokers; the first one leads.
func newCluster(t reporter, n int) *cluster {
	c := &cluster{t: t, release: make(chan struct{}), held: make(chan struct{}, 1)}
	c.groups, c.work = newFakeGroups(c), newFakeWork(c)
	c.mu.nodes = map[string]*fakeNode{}
	c.mu.topics = map[string][]uint32{}
	c.mu.queues = map[uint32]*fakeQueue{}
	c.mu.waiting = make(map[string][]byte)
	c.mu.ended = make(map[string]int64)
	c.mu.producers = map[uint64]*fakeProducer{}
	c.mu.names = map[string]uint64{}
	c.mu.requests = map[string]*brokerv1.RegisterProducerResponse{}
	c.mu.changed = make(chan struct{})
	c.mu.arrived = make(chan struct{})
	c.mu.pulls = func(int) pullAction { return deliver }
	c.mu.lastID = 100
	c.mu.maxBatch = 4 << 20
	c.mu.script = func(int) action { return store }
	for i := range n {
		c.startNode(fmt.Sprintf("n%d", i+1), fmt.Sprintf("n%d:1", i+1))
	}
	c.lead("n1:1")
	t.Cleanup(func() {
		c.mu.Lock()
		nodes := c.mu.nodes
		c.mu.Unlock()
		for _, n := range nodes {
			n.server.Stop()
		}
		_ = c.tasks.Wait()
	})
	return c
}

func (c *cluster) startNode(id, addr string) {
	n := &fakeNode{c: c, id: id, addr: addr, listener: bufconn.Listen(1 << 20), server: grpc.NewServer(grpc.MaxRecvMsgSize(8<<20), grpc.WaitForHandlers(true))}
	brokerv1.RegisterMessagingServiceServer(n.server, n)
	brokerv1.RegisterAdminServiceServer(n.server, n)
	brokerv1.RegisterStatusServiceServer(n.server, n)
	brokerv1.RegisterDeliveryServiceServer(n.server, n)
	brokerv1.RegisterGroupServiceServer(n.server, c.groups)
	brokerv1.RegisterWorkServiceServer(n.server, c.work)
	brokerv1.RegisterTransactionServiceServer(n.server, n)
	c.mu.Lock()
	if c.mu.nodes[addr] == nil {
		c.mu.order = append(c.mu.order, addr)
	}
	c.mu.nodes[addr] = n
	c.mu.Unlock()
	c.tasks.Go(func() error { return n.server.Serve(n.listener) })
}

// kill cuts all connections of a broker.
func (c *cluster) kill(addr string) {
	c.mu.Lock()
	n := c.mu.nodes[addr]
	c.mu.Unlock()
	n.server.Stop()
}

// lead makes another broker the leader, in a new term.
func (c *cluster) lead(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.leader = addr
	c.mu.term++
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
}

// leadNext makes the broker after the leader the next one.
func (c *cluster) leadNext() {
	c.mu.Lock()
	next := c.mu.order[0]
	for i, addr := range c.mu.order {
		if addr == c.mu.leader {
			next = c.mu.order[(i+1)%len(c.mu.order)]
		}
	}
	c.mu.Unlock()
	c.lead(next)
}

func (c *cluster) dial(ctx context.Context, addr string) (net.Conn, error) {
	c.mu.Lock()
	n := c.mu.nodes[addr]
	c.mu.Unlock()
	if n == nil {
		return nil, fmt.Errorf("no such host %s", addr)
	}
	return n.listener.DialContext(ctx)
}

// topic makes a topic.
func (c *cluster) topic(name string, queues int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range queues {
		c.mu.lastQueue++
		c.mu.topics[name] = append(c.mu.topics[name], c.mu.lastQueue)
		c.mu.queues[c.mu.lastQueue] = &fakeQueue{seen: map[uint64][]fakeSeen{}}
	}
}

func (c *cluster) setScript(script func(frame int) action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.script = script
}

// client dials the cluster through its first broker.
func (c *cluster) client() *Client {
	c.t.Helper()
	cl, err := Dial(c.t.Context(), Config{Seeds: []string{"n1:1"}, Dialer: c.dial})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := cl.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return cl
}

// values returns what a queue holds, in order.
func (c *cluster) values(topic string, queue int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.mu.queues[c.mu.topics[topic][queue]]
	codec := batch.NewCodec()
	var out []string
	for _, b := range q.batches {
		for r, err := range codec.Records(b.data) {
			if err != nil {
				c.t.Fatal(err)
			}
			out = append(out, string(r.Value))
		}
	}
	return out
}

func codeError(code codes.Code, reason Code, md map[string]string) error {
	st, _ := status.New(code, "fake: "+string(reason)).WithDetails(
		&errdetails.ErrorInfo{Domain: errorDomain, Reason: string(reason), Metadata: md})
	return st.Err()
}

func (n *fakeNode) notLeader() error {
	c := n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.leader == n.addr {
		return nil
	}
	return codeError(codes.Unavailable, CodeNotLeader, map[string]string{
		"outcome": "definite", "node": n.id, "leader_addr": c.mu.leader, "term": strconv.FormatInt(c.mu.term, 10),
	})
}

// WatchLeader tells the leader now and at each change.
func (n *fakeNode) WatchLeader(_ *brokerv1.WatchLeaderRequest, s grpc.ServerStreamingServer[brokerv1.WatchLeaderResponse]) error {
	for {
		n.c.mu.Lock()
		resp := &brokerv1.WatchLeaderResponse{LeaderAddr: n.c.mu.leader, Term: n.c.mu.term, Serving: true}
		for _, addr := range n.c.mu.order {
			m := n.c.mu.nodes[addr]
			resp.Members = append(resp.Members, &brokerv1.Member{Id: m.id, ClientAddr: addr})
			if addr == n.c.mu.leader {
				resp.Leader = m.id
			}
		}
		changed := n.c.mu.changed
		n.c.mu.Unlock()
		if err := s.Send(resp); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-s.Context().Done():
			return nil
		}
	}
}

// PublishStream follows the script.
func (n *fakeNode) PublishStream(s grpc.BidiStreamingServer[brokerv1.PublishStreamRequest, brokerv1.PublishStreamResponse]) error {
	for {
		req, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := n.notLeader(); err != nil {
			return err
		}
		n.c.mu.Lock()
		n.c.mu.frames++
		what := n.c.mu.script(n.c.mu.frames)
		n.c.mu.Unlock()
		if err := n.frame(s, req, what); err != nil {
			return err
		}
	}
}

var errCut = status.Error(codes.Unavailable, "fake: connection cut")

func (n *fakeNode) frame(s grpc.BidiStreamingServer[brokerv1.PublishStreamRequest, brokerv1.PublishStreamResponse],
	req *brokerv1.PublishStreamRequest, what action,
) error {
	answer := func(results []*brokerv1.BatchResult) error {
		return s.Send(&brokerv1.PublishStreamResponse{Frame: req.GetFrame(), Results: results})
	}
	switch what {
	case breakBefore:
		return errCut
	case breakAfter:
		n.c.append(req.GetBatches())
		return errCut
	case endMoved:
		n.c.leadNext()
		return n.notLeader()
	case refuseMoved:
		n.c.leadNext()
		return answer(n.c.refuse(req.GetBatches(), &brokerv1.ErrorDetail{Code: string(CodeNotLeader), LeaderAddr: n.c.leaderAddr()}))
	case refuseFull:
		return answer(n.c.refuse(req.GetBatches(), &brokerv1.ErrorDetail{Code: string(CodePendingFull), RetryAfterMs: 1}))
	case lostStored:
		n.c.append(req.GetBatches())
		fallthrough
	case lostUnstored:
		return answer(n.c.refuse(req.GetBatches(), &brokerv1.ErrorDetail{Code: string(CodeLeadershipLost), Indefinite: true}))
	case silenceStored:
		n.c.append(req.GetBatches())
		fallthrough
	case silence:
		n.c.leadNext()
		<-s.Context().Done()
		return nil
	case hold:
		select {
		case n.c.held <- struct{}{}:
		default:
		}
		select {
		case <-n.c.release:
		case <-s.Context().Done():
			return nil
		}
	case ackTwice:
		if err := answer(n.c.append(req.GetBatches())); err != nil {
			return err
		}
	case mute:
		n.c.append(req.GetBatches())
		return nil
	case unknownProducer:
		n.c.mu.Lock()
		clear(n.c.mu.producers)
		clear(n.c.mu.names)
		n.c.mu.Unlock()
	}
	return answer(n.c.append(req.GetBatches()))
}

// frames is how many frames have arrived, whatever became of them.
func (c *cluster) frames() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.frames
}

func (c *cluster) leaderAddr() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.leader
}

// within bounds what a test waits for.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
