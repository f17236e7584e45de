package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
	"time"
)

// A Peer is one broker (in one configuration) that the harness can start as a
// three-node cluster on loopback and load. See README.md.
type Peer interface {
	// Version names the server build under test.
	Version() string
	// Start brings up a fresh cluster that keeps all its files below dir and
	// returns once a replicated log can be created on it.
	Start(dir string) error
	// Stop ends every process Start started.
	Stop()
	// Nodes lists the server processes; the index is the node number below.
	Nodes() []*Node

	// CreateLog makes a durable log (stream, queue, key prefix) with 3 replicas.
	CreateLog(log string) error
	DeleteLog(log string) error
	// Leader returns the node that leads the log.
	Leader(log string) (int, error)

	// Publisher opens one connection to one node. onAck is called once for each
	// message handed to Publish, when a quorum has it (err == nil) or when the
	// outcome is unknown or negative. The payload is the slice given to Publish.
	Publisher(log string, node, window int, onAck AckFunc) (Publisher, error)
	// Consume delivers the log from its first message, then live ones, until
	// stop is called. It returns once the subscription is in place.
	Consume(log string, node int, fn func(payload []byte)) (stop func(), err error)
}

// AckFunc is told what became of a message.
type AckFunc func(payload []byte, err error)

// A Publisher is used by one goroutine at a time, except Close.
type Publisher interface {
	// Publish pipelines one message. The slice must stay untouched until its
	// ack. After an error the publisher is broken and only Close may follow.
	Publish(payload []byte) error
	// Close drops the connection at once; it must not wait for the server.
	Close()
}

// peers maps a name given on the command line to its adapter.
var peers = map[string]func() Peer{
	"nats":            func() Peer { return &natsPeer{} },
	"nats-sync":       func() Peer { return &natsPeer{syncAlways: true} },
	"nats-batch":      func() Peer { return &natsPeer{batch: true} },
	"nats-batch-sync": func() Peer { return &natsPeer{batch: true, syncAlways: true} },
	"rabbit-quorum":   func() Peer { return &rabbitPeer{queueType: "quorum"} },
	"rabbit-stream":   func() Peer { return &rabbitPeer{queueType: "stream"} },
	"etcd":            func() Peer { return &etcdPeer{} },
	"ledgermq":        func() Peer { return &ledgerPeer{} },
}

func peerNames() []string {
	var names []string
	for n := range peers {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

const connectTimeout = time.Second

// pause lets time pass.
func pause(d time.Duration) { <-time.After(d) }

// Node is one server process.
type Node struct {
	Name, Addr, Dir string
	cmd             *exec.Cmd
	done            chan struct{}
}

func (n *Node) Start(env []string, bin string, args ...string) error {
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(n.Dir, "out.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	n.cmd = exec.Command(bin, args...)
	n.cmd.Dir, n.cmd.Stdout, n.cmd.Stderr = n.Dir, out, out
	n.cmd.Env = append(os.Environ(), env...)
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	n.done = make(chan struct{})
	go func() { n.cmd.Wait(); close(n.done) }()
	return nil
}

func (n *Node) Pid() int { return n.cmd.Process.Pid }

func (n *Node) Signal(s syscall.Signal) error { return n.cmd.Process.Signal(s) }

// cluster is the process handling that the adapters share.
type cluster struct{ nodes []*Node }

func (c *cluster) Nodes() []*Node { return c.nodes }

func (c *cluster) Stop() {
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		if n.cmd == nil || n.done == nil {
			continue
		}
		n.Signal(syscall.SIGKILL)
		wg.Go(func() { <-n.done })
	}
	wg.Wait()
	c.nodes = nil
}

// addNodes makes the node records; ports are the node's own, perNode of them.
func (c *cluster) addNodes(dir string, perNode int) ([][]int, error) {
	var ports [][]int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for i := range 3 {
		var ps []int
		for range perNode {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return nil, err
			}
			held = append(held, l)
			ps = append(ps, l.Addr().(*net.TCPAddr).Port)
		}
		ports = append(ports, ps)
		name := fmt.Sprintf("n%d", i+1)
		c.nodes = append(c.nodes, &Node{Name: name, Addr: fmt.Sprintf("127.0.0.1:%d", ps[0]), Dir: filepath.Join(dir, name)})
	}
	return ports, nil
}

// retry calls fn until it succeeds or the time is over.
func retry(d time.Duration, fn func() error) error {
	for end := time.Now().Add(d); ; pause(100 * time.Millisecond) {
		err := fn()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
