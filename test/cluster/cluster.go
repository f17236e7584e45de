package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Timeout bounds every wait for something that a healthy cluster does by itself. Only a
// failure takes so long: a machine that is busy with other things stalls for seconds.
const Timeout = 60 * time.Second

// Config describes a cluster.
type Config struct {
	// Members is how many brokers there are; default 3.
	Members int
	// Args are further arguments of every `broker serve`.
	Args []string
	// Env are settings of every broker, such as LEDGERMQ_DURABILITY_ACK=page-cache.
	Env []string
	// Places says where the brokers run, in the order of their ids; nil: all on
	// loopback, each with a temporary directory.
	Places []Place
}

// Place is where one broker runs.
type Place struct {
	// IP is the address that it listens on; several places have the same ports.
	IP string
	// Data is its data directory.
	Data string
	// Wrap stands before its command line; it must become the broker by exec(2), so
	// that signals reach that.
	Wrap []string
}

// The ports of a broker in a place of its own: for clients, for other members, for HTTP.
const (
	ClientPort = 10911
	PeerPort   = 40911
	httpPort   = 8911
)

// Cluster is a group of broker processes. It ends with its test.
type Cluster struct {
	t     testing.TB
	nodes []*Node
}

// New prepares a cluster without starting its brokers.
func New(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	n := cfg.Members
	if n == 0 {
		n = 3
	}
	c := &Cluster{t: t}
	var peers []string
	if cfg.Places != nil {
		c.place(cfg.Places)
	} else {
		c.placeOnLoopback(n)
	}
	for i, node := range c.nodes {
		node.t, node.ID, node.log = t, fmt.Sprintf("n%d", i+1), filepath.Join(t.TempDir(), "log")
		peers = append(peers, node.ID+"="+node.Peer)
	}
	for _, node := range c.nodes {
		node.args, node.env = append(node.ownArgs(peers), cfg.Args...), cfg.Env
		t.Cleanup(node.cleanup)
	}
	return c
}

func (c *Cluster) place(places []Place) {
	for _, p := range places {
		at := func(port int) string { return net.JoinHostPort(p.IP, strconv.Itoa(port)) }
		c.nodes = append(c.nodes, &Node{Data: p.Data, wrap: p.Wrap, Client: at(ClientPort), Peer: at(PeerPort), HTTP: at(httpPort)})
	}
}

func (c *Cluster) placeOnLoopback(n int) {
	ports := FreePorts(c.t, 3*n)
	for i := range n {
		c.nodes = append(c.nodes, &Node{
			Data:   filepath.Join(c.t.TempDir(), "data"),
			Client: local(ports[3*i]), Peer: local(ports[3*i+1]), HTTP: local(ports[3*i+2]),
		})
	}
}

// Start starts a cluster and waits for a leader that serves.
func Start(t testing.TB, cfg Config) *Cluster {
	t.Helper()
	c := New(t, cfg)
	for _, node := range c.nodes {
		node.Start()
	}
	c.Leader()
	return c
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// FreePorts finds ports of loopback that nobody listens on, outside the range
// from which the kernel takes the ports of outgoing connections.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		l, err := net.Listen("tcp", local(port))
		if err != nil {
			continue
		}
		defer l.Close() // when all are found, so that none is found twice
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	t.Fatalf("no %d free ports on loopback", n)
	return nil
}

// Nodes are the brokers in the order of their ids.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node returns the broker with an id.
func (c *Cluster) Node(id string) *Node {
	i := slices.IndexFunc(c.nodes, func(n *Node) bool { return n.ID == id })
	if i < 0 {
		c.t.Fatalf("no node %q", id)
	}
	return c.nodes[i]
}

// Servers is the value of --server that names every broker.
func (c *Cluster) Servers() string {
	var all []string
	for _, n := range c.nodes {
		all = append(all, n.Client)
	}
	return strings.Join(all, ",")
}

// Leader waits for a broker that leads and serves, and returns it.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	return c.LeaderOtherThan(nil)
}

// LeaderOtherThan waits for a broker other than one that leads and serves.
func (c *Cluster) LeaderOtherThan(old *Node) *Node {
	c.t.Helper()
	var leader *Node
	c.Eventually("a leader that serves", func(ctx context.Context) bool {
		var term int64
		for _, n := range c.nodes {
			if n == old {
				continue // perhaps it cannot even answer
			}
			if s, err := n.Status(ctx); err == nil && s.GetServing() && s.GetTerm() > term {
				leader, term = n, s.GetTerm()
			}
		}
		return leader != nil
	})
	return leader
}

// Eventually waits until a condition holds, asking every 20 ms, and fails the
// test after Timeout.
func (c *Cluster) Eventually(what string, holds func(context.Context) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), Timeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("waited %v for %s", Timeout, what)
		}
	}
}

// Admin runs `broker admin` with arguments against the whole cluster and returns
// what it printed.
func (c *Cluster) Admin(args ...string) string {
	c.t.Helper()
	out, err := Program(c.t.Context(), "broker", append([]string{"admin", "--server", c.Servers()}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("broker admin %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
