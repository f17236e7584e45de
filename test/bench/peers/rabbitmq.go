package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// rabbitPeer is RabbitMQ over AMQP 0.9.1 with publisher confirms, on a quorum
// queue (Raft, fdatasync before the confirm) or a stream (log, no fsync).
type rabbitPeer struct {
	cluster
	queueType string
	epmd      *Node
	env       []string // shared by the servers and rabbitmqctl
}

func (p *rabbitPeer) Version() string { return filepath.Base(filepath.Dir(*rabbit)) }

func (p *rabbitPeer) Start(dir string) error {
	ports, err := p.addNodes(dir, 3)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ".erlang.cookie"), []byte("PEERSBENCH"), 0o400); err != nil {
		return err
	}
	p.env = []string{"HOME=" + dir, "ERL_EPMD_ADDRESS=127.0.0.1", fmt.Sprintf("ERL_EPMD_PORT=%d", ports[0][2])}
	p.epmd = &Node{Name: "epmd", Dir: filepath.Join(dir, "epmd")}
	if err := p.epmd.Start(p.env, "epmd"); err != nil {
		return err
	}
	conf := "cluster_formation.peer_discovery_backend = classic_config\n" +
		"cluster_formation.randomized_startup_delay_range.min = 0\n" +
		"cluster_formation.randomized_startup_delay_range.max = 1\n"
	for i, n := range p.nodes {
		conf += fmt.Sprintf("cluster_formation.classic_config.nodes.%d = %s@localhost\n", i+1, n.Name)
	}
	for i, n := range p.nodes {
		if err := os.MkdirAll(n.Dir, 0o755); err != nil {
			return err
		}
		os.WriteFile(filepath.Join(n.Dir, "rabbitmq.conf"), []byte(conf), 0o644)
		os.WriteFile(filepath.Join(n.Dir, "plugins"), []byte("[].\n"), 0o644)
		env := append([]string{
			"RUNNING_UNDER_SYSTEMD=true", // makes the script exec the Erlang VM, so that its pid is ours
			fmt.Sprintf("RABBITMQ_NODENAME=%s@localhost", n.Name),
			"RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
			fmt.Sprintf("RABBITMQ_NODE_PORT=%d", ports[i][0]),
			fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[i][1]),
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
			"RABBITMQ_CONFIG_FILE=" + filepath.Join(n.Dir, "rabbitmq.conf"),
			"RABBITMQ_ENABLED_PLUGINS_FILE=" + filepath.Join(n.Dir, "plugins"),
			"RABBITMQ_MNESIA_BASE=" + filepath.Join(n.Dir, "data"),
			"RABBITMQ_LOG_BASE=" + filepath.Join(n.Dir, "log"),
		}, p.env...)
		if err := n.Start(env, filepath.Join(*rabbit, "rabbitmq-server")); err != nil {
			return err
		}
		if i == 0 { // the others join the first
			if err := p.reachable(0); err != nil {
				return err
			}
		}
	}
	for i := range p.nodes {
		if err := p.reachable(i); err != nil {
			return err
		}
	}
	return retry(30*time.Second, func() error {
		out, err := p.eval(0, "length(rabbit_nodes:all_running()).")
		if err == nil && out != "3" {
			err = fmt.Errorf("%s nodes run", out)
		}
		return err
	})
}

func (p *rabbitPeer) reachable(node int) error {
	return retry(90*time.Second, func() error {
		c, err := p.dial(node)
		if err == nil {
			c.close()
		}
		return err
	})
}

func (p *rabbitPeer) Stop() {
	p.cluster.Stop()
	if p.epmd != nil && p.epmd.done != nil {
		p.epmd.cmd.Process.Kill()
		<-p.epmd.done
	}
}

// eval runs an Erlang expression on a node.
func (p *rabbitPeer) eval(node int, expr string) (string, error) {
	cmd := exec.Command(filepath.Join(*rabbit, "rabbitmqctl"), "-q", "-n", p.nodes[node].Name+"@localhost", "eval", expr)
	cmd.Env = append(os.Environ(), p.env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

type rabbitConn struct {
	raw  net.Conn
	conn *amqp.Connection
	ch   *amqp.Channel
}

// close drops the socket first: a handshake would hang on a stopped server.
func (c *rabbitConn) close() { c.raw.Close(); c.conn.Close() }

func (p *rabbitPeer) dial(node int) (*rabbitConn, error) {
	c := &rabbitConn{}
	var err error
	if c.conn, err = amqp.DialConfig("amqp://guest:guest@"+p.nodes[node].Addr+"/", amqp.Config{
		Heartbeat: 10 * time.Second,
		Dial: func(network, addr string) (net.Conn, error) {
			raw, err := net.DialTimeout(network, addr, connectTimeout)
			if err == nil {
				c.raw = raw
				err = raw.SetDeadline(time.Now().Add(connectTimeout)) // cleared by the client after its handshake
			}
			return raw, err
		},
	}); err != nil {
		if c.raw != nil {
			c.raw.Close()
		}
		return nil, err
	}
	kill := time.AfterFunc(2*connectTimeout, func() { c.raw.Close() })
	defer kill.Stop()
	if c.ch, err = c.conn.Channel(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (p *rabbitPeer) CreateLog(log string) error {
	c, err := p.dial(0)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.ch.QueueDeclare(log, true, false, false, false, amqp.Table{"x-queue-type": p.queueType})
	return err
}

func (p *rabbitPeer) DeleteLog(log string) error {
	c, err := p.dial(0)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.ch.QueueDelete(log, false, false, false)
	return err
}

func lookup(log string) string {
	return fmt.Sprintf(`{ok,Q}=rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>,queue,<<"%s">>)), `, log)
}

func (p *rabbitPeer) Leader(log string) (int, error) {
	out, err := p.eval(0, lookup(log)+"case amqqueue:get_pid(Q) of {_,N} -> N; P -> node(P) end.")
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, out)
	}
	for i, n := range p.nodes {
		if strings.Contains(out, n.Name+"@") {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no leader: %s", out)
}

type rabbitPublisher struct {
	*rabbitConn
	log     string
	pending chan []byte // confirms come in publishing order
	once    sync.Once
}

func (p *rabbitPeer) Publisher(log string, node, window int, onAck AckFunc) (Publisher, error) {
	c, err := p.dial(node)
	if err != nil {
		return nil, err
	}
	if err := c.ch.Confirm(false); err != nil {
		c.close()
		return nil, err
	}
	pub := &rabbitPublisher{rabbitConn: c, log: log, pending: make(chan []byte, window+1)}
	confirms := c.ch.NotifyPublish(make(chan amqp.Confirmation, window+1))
	go func() {
		for cf := range confirms {
			var err error
			if !cf.Ack {
				err = errors.New("nack")
			}
			onAck(<-pub.pending, err)
		}
		for {
			select {
			case m := <-pub.pending:
				onAck(m, amqp.ErrClosed)
			default:
				return
			}
		}
	}()
	return pub, nil
}

func (p *rabbitPublisher) Publish(payload []byte) error {
	p.pending <- payload
	// A failed write closes the connection; the message then fails with the
	// others that are pending.
	p.ch.Publish("", p.log, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: payload})
	if p.ch.IsClosed() {
		return amqp.ErrClosed
	}
	return nil
}

func (p *rabbitPublisher) Close() { p.once.Do(p.close) }

func (p *rabbitPeer) Consume(log string, node int, fn func([]byte)) (func(), error) {
	c, err := p.dial(node)
	if err != nil {
		return nil, err
	}
	const prefetch = 2000
	args := amqp.Table{}
	if p.queueType == "stream" {
		args["x-stream-offset"] = "first"
	}
	err = c.ch.Qos(prefetch, 0, false)
	var in <-chan amqp.Delivery
	if err == nil {
		in, err = c.ch.Consume(log, "", false, false, false, false, args)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	go func() { // acknowledge in groups, the last few after a moment
		var last amqp.Delivery
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case d, ok := <-in:
				if !ok {
					return
				}
				fn(d.Body)
				last = d
				if n++; n >= prefetch/4 {
					last.Ack(true)
					n = 0
				}
			case <-tick.C:
				if n > 0 {
					last.Ack(true)
					n = 0
				}
			}
		}
	}()
	return c.close, nil
}
