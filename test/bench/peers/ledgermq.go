package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// ledgerPeer is LedgerMQ as it is shipped, through pkg/client: acknowledged from a
// majority's disks, idempotent, metrics on.
type ledgerPeer struct {
	cluster
	admin *client.Client
}

func (p *ledgerPeer) Version() string { return *version }

func (p *ledgerPeer) Start(dir string) error {
	ports, err := p.addNodes(dir, 3)
	if err != nil {
		return err
	}
	var peers []string
	for i, n := range p.nodes {
		peers = append(peers, fmt.Sprintf("%s=127.0.0.1:%d", n.Name, ports[i][1]))
	}
	for i, n := range p.nodes {
		if err := n.Start(nil, program("broker"), "serve", "--id", n.Name, "--data", filepath.Join(n.Dir, "data"),
			"--peers", strings.Join(peers, ","), "--cluster-id", "peers", "--client-addr", n.Addr,
			"--peer-addr", fmt.Sprintf("127.0.0.1:%d", ports[i][1]), "--http-addr", fmt.Sprintf("127.0.0.1:%d", ports[i][2])); err != nil {
			return err
		}
	}
	if err := retry(20*time.Second, func() error {
		p.admin, err = p.dial()
		return err
	}); err != nil {
		return err
	}
	return retry(30*time.Second, func() error {
		if err := p.CreateLog("ready"); err != nil {
			return err
		}
		return p.DeleteLog("ready")
	})
}

func (p *ledgerPeer) dial() (*client.Client, error) {
	var seeds []string
	for _, n := range p.nodes {
		seeds = append(seeds, n.Addr)
	}
	return client.Dial(context.Background(), client.Config{Seeds: seeds, DialTimeout: connectTimeout})
}

func (p *ledgerPeer) Stop() {
	if p.admin != nil {
		_ = p.admin.Close()
	}
	p.cluster.Stop()
}

func (p *ledgerPeer) CreateLog(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := p.admin.Admin().CreateTopic(ctx, log, 1)
	return err
}

func (p *ledgerPeer) DeleteLog(log string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := p.admin.Admin().DeleteTopicWithGrace(ctx, log, 0)
	return err
}

func (p *ledgerPeer) Leader(string) (int, error) {
	addr := p.admin.Leader()
	for i, n := range p.nodes {
		if n.Addr == addr {
			return i, nil
		}
	}
	return 0, errors.New("no leader")
}

// ledgerPublisher publishes message by message; batches are the client's own affair.
type ledgerPublisher struct {
	client   *client.Client
	producer *client.Producer
	onAck    AckFunc
	done     sync.WaitGroup

	filled chan struct{} // capacity 1: there is something to settle, or it is over
	mu     sync.Mutex
	sent   []outcome
	closed bool
}

type outcome struct {
	result  *client.Result
	payload []byte
}

func (p *ledgerPeer) Publisher(log string, _, _ int, onAck AckFunc) (Publisher, error) {
	c, err := p.dial()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	producer, err := c.Producer(ctx, client.ProducerConfig{Topic: log})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	pub := &ledgerPublisher{client: c, producer: producer, onAck: onAck, filled: make(chan struct{}, 1)}
	pub.done.Go(pub.settle)
	return pub, nil
}

func (p *ledgerPublisher) Publish(payload []byte) error {
	result := p.producer.Publish(context.Background(), client.Message{Value: payload})
	p.mu.Lock()
	p.sent = append(p.sent, outcome{result, payload})
	first := len(p.sent) == 1
	p.mu.Unlock()
	if first {
		p.wake()
	}
	return nil
}

func (p *ledgerPublisher) wake() {
	select {
	case p.filled <- struct{}{}:
	default:
	}
}

// settle takes the receipt of every message.
func (p *ledgerPublisher) settle() {
	var list []outcome
	for {
		p.mu.Lock()
		list, p.sent = p.sent, list[:0]
		closed := p.closed
		p.mu.Unlock()
		for _, o := range list {
			_, err := o.result.Get(context.Background())
			p.onAck(o.payload, err)
		}
		if len(list) > 0 {
			continue
		}
		if closed {
			return
		}
		<-p.filled
	}
}

func (p *ledgerPublisher) Close() {
	_ = p.client.Close() // what is under way fails: nobody waits for it any more
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wake()
	p.done.Wait()
}

func (p *ledgerPeer) Consume(log string, _ int, fn func([]byte)) (func(), error) {
	c, err := p.dial()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	consumer, err := c.Consumer(ctx, client.ConsumerConfig{Topic: log, From: client.Earliest()})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			m, err := consumer.Next(context.Background())
			if err != nil {
				return // closed, or the count that the harness waits for stays short
			}
			fn(m.Value)
		}
	})
	return func() {
		_ = consumer.Close()
		_ = c.Close()
		reading.Wait()
	}, nil
}
