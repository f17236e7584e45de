package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natsPeer is NATS JetStream: a stream with 3 replicas and file storage.
type natsPeer struct {
	cluster
	syncAlways bool
	batch      bool
	nc         *nats.Conn
	js         jetstream.JetStream
}

func (p *natsPeer) Version() string {
	out, _ := exec.Command(program("nats-server"), "--version").Output()
	return strings.TrimSpace(string(out))
}

func (p *natsPeer) Start(dir string) error {
	ports, err := p.addNodes(dir, 2)
	if err != nil {
		return err
	}
	var routes []string
	for _, ps := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ps[1]))
	}
	sync := ""
	if p.syncAlways {
		sync = "sync_interval: always"
	}
	for i, n := range p.nodes {
		conf := fmt.Sprintf(`server_name: %s
listen: "127.0.0.1:%d"
jetstream { store_dir: %q, max_memory_store: 1GB, max_file_store: 20GB, %s }
cluster { name: bench, listen: "127.0.0.1:%d", routes: [%s] }
`, n.Name, ports[i][0], filepath.Join(n.Dir, "data"), sync, ports[i][1], strings.Join(routes, ", "))
		if err := os.MkdirAll(n.Dir, 0o755); err != nil {
			return err
		}
		file := filepath.Join(n.Dir, "nats.conf")
		if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
			return err
		}
		if err := n.Start(nil, program("nats-server"), "-c", file); err != nil {
			return err
		}
	}
	var urls []string
	for _, n := range p.nodes {
		urls = append(urls, "nats://"+n.Addr)
	}
	if err := retry(10*time.Second, func() (err error) {
		p.nc, err = nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond))
		return err
	}); err != nil {
		return err
	}
	if p.js, err = jetstream.New(p.nc); err != nil {
		return err
	}
	return retry(30*time.Second, func() error {
		if err := p.CreateLog("ready"); err != nil {
			return err
		}
		return p.DeleteLog("ready")
	})
}

func (p *natsPeer) Stop() {
	if p.nc != nil {
		p.nc.Close()
	}
	p.cluster.Stop()
}

func (p *natsPeer) CreateLog(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := p.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: log, Subjects: []string{"bench." + log}, Replicas: 3, Storage: jetstream.FileStorage, AllowBatchPublish: p.batch,
	})
	return err
}

func (p *natsPeer) DeleteLog(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.js.DeleteStream(ctx, log)
}

func (p *natsPeer) Leader(log string) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s, err := p.js.Stream(ctx, log)
	if err != nil {
		return 0, err
	}
	if c := s.CachedInfo().Cluster; c != nil {
		for i, n := range p.nodes {
			if n.Name == c.Leader {
				return i, nil
			}
		}
	}
	return 0, fmt.Errorf("no leader for %s", log)
}

func (p *natsPeer) dial(node int) (*nats.Conn, error) {
	return nats.Connect("nats://"+p.nodes[node].Addr, nats.NoReconnect(), nats.Timeout(connectTimeout),
		nats.FlusherTimeout(connectTimeout), nats.IgnoreDiscoveredServers())
}

type natsPublisher struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	subject string
}

func (p *natsPeer) Publisher(log string, node, window int, onAck AckFunc) (Publisher, error) {
	nc, err := p.dial(node)
	if err != nil {
		return nil, err
	}
	if p.batch {
		return newNatsBatchPublisher(nc, log, onAck)
	}
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncMaxPending(window+1),
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, _ *jetstream.PubAck) { onAck(m.Data, nil) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { onAck(m.Data, err) }))
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &natsPublisher{nc, js, "bench." + log}, nil
}

func (p *natsPublisher) Publish(payload []byte) error {
	_, err := p.js.PublishAsync(p.subject, payload, jetstream.WithRetryAttempts(0))
	return err
}

func (p *natsPublisher) Close() { p.nc.Close() }

func (p *natsPeer) Consume(log string, node int, fn func([]byte)) (func(), error) {
	nc, err := p.dial(node)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		var c jetstream.Consumer
		if c, err = js.OrderedConsumer(ctx, log, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}); err == nil {
			_, err = c.Consume(func(m jetstream.Msg) { fn(m.Data()) }, jetstream.PullMaxMessages(4096))
		}
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc.Close, nil
}
