package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// etcdPeer is the anchor for "Raft with an fdatasync before each ack": a log is
// a key prefix and a message is one Put of a new key.
type etcdPeer struct {
	cluster
	admin *clientv3.Client
	seq   atomic.Uint64
}

func (p *etcdPeer) Version() string {
	out, _ := exec.Command(program("etcd"), "--version").Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

func (p *etcdPeer) Start(dir string) error {
	ports, err := p.addNodes(dir, 2)
	if err != nil {
		return err
	}
	var members []string
	for i, n := range p.nodes {
		members = append(members, fmt.Sprintf("%s=http://127.0.0.1:%d", n.Name, ports[i][1]))
	}
	for i, n := range p.nodes {
		peerURL := fmt.Sprintf("http://127.0.0.1:%d", ports[i][1])
		if err := n.Start(nil, program("etcd"), "--name", n.Name, "--data-dir", "data",
			"--listen-client-urls", "http://"+n.Addr, "--advertise-client-urls", "http://"+n.Addr,
			"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL,
			"--initial-cluster", strings.Join(members, ","), "--initial-cluster-state", "new",
			"--quota-backend-bytes", "8589934592", "--log-level", "warn"); err != nil {
			return err
		}
	}
	if p.admin, err = p.dial(0, 1, 2); err != nil {
		return err
	}
	return retry(30*time.Second, func() error { return p.CreateLog("ready") })
}

func (p *etcdPeer) Stop() {
	if p.admin != nil {
		p.admin.Close()
	}
	p.cluster.Stop()
}

func (p *etcdPeer) dial(nodes ...int) (*clientv3.Client, error) {
	var eps []string
	for _, i := range nodes {
		eps = append(eps, "http://"+p.nodes[i].Addr)
	}
	return clientv3.New(clientv3.Config{Endpoints: eps, DialTimeout: connectTimeout, Logger: zap.NewNop()})
}

func (p *etcdPeer) CreateLog(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := p.admin.Put(ctx, "meta/"+log, "")
	return err
}

func (p *etcdPeer) DeleteLog(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := p.admin.Delete(ctx, log+"/", clientv3.WithPrefix())
	return err
}

func (p *etcdPeer) status(node int) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return p.admin.Status(ctx, "http://"+p.nodes[node].Addr)
}

func (p *etcdPeer) Leader(string) (int, error) {
	for i := range p.nodes {
		if st, err := p.status(i); err == nil && st.Leader == st.Header.MemberId {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no leader")
}

// etcdPublisher keeps up to window unary Puts in flight on one connection.
type etcdPublisher struct {
	c      *clientv3.Client
	work   chan []byte
	ctx    context.Context
	cancel context.CancelFunc
}

func (p *etcdPeer) Publisher(log string, node, window int, onAck AckFunc) (Publisher, error) {
	c, err := p.dial(node)
	if err != nil {
		return nil, err
	}
	pub := &etcdPublisher{c: c, work: make(chan []byte)}
	pub.ctx, pub.cancel = context.WithCancel(context.Background())
	for range min(window, 1024) {
		go func() {
			for {
				select {
				case m := <-pub.work:
					_, err := c.Put(pub.ctx, fmt.Sprintf("%s/%016x", log, p.seq.Add(1)), string(m))
					onAck(m, err)
				case <-pub.ctx.Done():
					return
				}
			}
		}()
	}
	return pub, nil
}

func (p *etcdPublisher) Publish(payload []byte) error {
	select {
	case p.work <- payload:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p *etcdPublisher) Close() { p.cancel(); p.c.Close() }

// Consume reads what is stored page by page and then watches.
func (p *etcdPeer) Consume(log string, node int, fn func([]byte)) (func(), error) {
	c, err := p.dial(node)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	first, err := c.Get(ctx, log+"/", clientv3.WithPrefix(), clientv3.WithLimit(1000))
	if err != nil {
		cancel()
		c.Close()
		return nil, err
	}
	rev := first.Header.Revision
	watch := c.Watch(ctx, log+"/", clientv3.WithPrefix(), clientv3.WithRev(rev+1), clientv3.WithFilterDelete(), clientv3.WithCreatedNotify())
	<-watch
	var wg sync.WaitGroup
	wg.Go(func() {
		for page := first; ; {
			for _, kv := range page.Kvs {
				fn(kv.Value)
			}
			if !page.More {
				break
			}
			next := string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
			if page, err = c.Get(ctx, next, clientv3.WithRange(log+"0"), clientv3.WithLimit(1000), clientv3.WithRev(rev)); err != nil {
				return
			}
		}
		for r := range watch {
			for _, ev := range r.Events {
				fn(ev.Kv.Value)
			}
		}
	})
	return func() { cancel(); c.Close(); wg.Wait() }, nil
}
