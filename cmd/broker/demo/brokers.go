package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/broker"
)

const topic = "demo"

// brokers are the three brokers of the demo.
type brokers struct {
	members []*node
	running *errgroup.Group
}

// node is one broker with the configuration that it is restarted with.
type node struct {
	id  string
	cfg broker.Config

	mu struct {
		sync.Mutex
		broker *broker.Broker // nil while it is down
		killed *broker.Broker // its Run may end as it likes
	}
}

// newBrokers prepares three brokers on free ports of loopback, with data
// directories below dir. The sockets are open when it returns.
func newBrokers(dir, version string, log *slog.Logger, running *errgroup.Group) (*brokers, error) {
	b := &brokers{running: running}
	peers := map[string]string{}
	for i := range 3 {
		n := &node{id: fmt.Sprintf("n%d", i+1)}
		n.cfg = broker.Config{Logger: log.With("broker", n.id), Version: version}
		n.cfg.Node = broker.NodeConfig{ID: n.id, Data: filepath.Join(dir, n.id)}
		n.cfg.Cluster = broker.ClusterConfig{ID: "demo", Peers: peers}
		// A demo writes little, and the disk it runs on may be as good as full.
		n.cfg.Storage.DiskWarnAt, n.cfg.Storage.DiskReadOnlyAt = "256MiB", "128MiB"
		n.cfg.Storage.SegmentBytes = 64 << 20
		b.members = append(b.members, n)
		if err := n.listen(); err != nil {
			return nil, errors.Join(err, b.closeListeners())
		}
		peers[n.id] = n.cfg.Listen.Peer
	}
	return b, nil
}

// listen opens the sockets of a broker's first start, which tell its ports.
func (n *node) listen() error {
	for _, s := range []struct {
		socket *net.Listener
		addr   *string
	}{
		{&n.cfg.Listeners.Client, &n.cfg.Listen.Client},
		{&n.cfg.Listeners.Peer, &n.cfg.Listen.Peer},
		{&n.cfg.Listeners.HTTP, &n.cfg.Listen.HTTP},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		*s.socket, *s.addr = l, l.Addr().String()
	}
	return nil
}

func (b *brokers) closeListeners() error {
	var errs []error
	for _, n := range b.members {
		for _, l := range []net.Listener{n.cfg.Listeners.Client, n.cfg.Listeners.Peer, n.cfg.Listeners.HTTP} {
			if l != nil {
				errs = append(errs, l.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// seeds are the client addresses of all brokers.
func (b *brokers) seeds() []string {
	var all []string
	for _, n := range b.members {
		all = append(all, n.cfg.Listen.Client)
	}
	return all
}

// start starts a broker, for the first time or again on the same ports and data.
func (b *brokers) start(ctx context.Context, n *node) error {
	started, err := broker.New(n.cfg)
	if err != nil {
		return fmt.Errorf("start %s: %w", n.id, err)
	}
	n.cfg.Listeners = broker.Listeners{} // used up
	n.mu.Lock()
	n.mu.broker = started
	n.mu.Unlock()
	b.running.Go(func() error {
		err := started.Run(ctx)
		if n.wasKilled(started) || err == nil || ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("broker %s: %w", n.id, err)
	})
	return nil
}

func (n *node) wasKilled(b *broker.Broker) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.killed == b
}

// kill ends a broker as kill -9 would: nothing is flushed, its sockets are cut.
func (n *node) kill() {
	n.mu.Lock()
	victim := n.mu.broker
	n.mu.broker, n.mu.killed = nil, victim
	n.mu.Unlock()
	if victim != nil {
		victim.Kill()
	}
}

func (n *node) down() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.broker == nil
}

func (b *brokers) byID(id string) *node {
	for _, n := range b.members {
		if n.id == id {
			return n
		}
	}
	return nil
}
