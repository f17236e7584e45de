// Package clitest runs a command line against a broker in the same process.
package clitest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// Patience bounds every wait of a test; a machine under load is slow.
const Patience = 60 * time.Second

// Program is a command line's run: everything but the process.
type Program func(ctx context.Context, args []string, streams cli.Streams, signals <-chan os.Signal) cli.ExitCode

// Server is a broker in this process and a client of it.
type Server struct {
	T *testing.T
	// Addr is where clients connect.
	Addr   string
	Broker *broker.Broker
	Client *client.Client

	run Program
}

// StartServer starts a broker that ends with the test and has topics, by their number of
// queues. Command lines against it are those of run.
func StartServer(t *testing.T, run Program, topics map[string]int) *Server {
	t.Helper()
	s := startBroker(t, run, nil)
	for name, queues := range topics {
		if _, err := s.Client.Admin().CreateTopic(t.Context(), name, queues); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// StartLeaderless is StartServer with a broker that is the only one up of three.
func StartLeaderless(t *testing.T, run Program) *Server {
	t.Helper()
	return startBroker(t, run, map[string]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2", "n3": "127.0.0.1:3"})
}

func startBroker(t *testing.T, run Program, peers map[string]string) *Server {
	t.Helper()
	b, err := broker.New(broker.Config{
		Node:    broker.NodeConfig{ID: "n1", Data: t.TempDir()},
		Cluster: broker.ClusterConfig{Peers: peers},
		Listen:  broker.ListenConfig{Client: "127.0.0.1:0", Peer: "127.0.0.1:0", HTTP: "127.0.0.1:0"},
		Storage: broker.StorageConfig{SegmentBytes: 32 << 20, TailCacheBytes: 1 << 20, StateCacheBytes: 1 << 20},
		Logger:  slog.New(slog.DiscardHandler),
		Statfs:  func(string) (broker.FileSystem, error) { return broker.FileSystem{Total: 1 << 40, Free: 1 << 39}, nil }, // however full the machine's is
	})
	if err != nil {
		t.Fatal(err)
	}
	var running errgroup.Group
	running.Go(func() error { return b.Run(context.Background()) })
	t.Cleanup(func() {
		b.Kill()
		if err := running.Wait(); err != nil && !errors.Is(err, broker.ErrKilled) {
			t.Error(err)
		}
	})
	s := &Server{T: t, run: run, Addr: b.Addrs().Client, Broker: b}
	if s.Client, err = client.Dial(t.Context(), client.Config{Seeds: []string{s.Addr}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Client.Close() })
	return s
}

// Outcome is how a command line ended, and what it printed.
type Outcome struct {
	Exit     cli.ExitCode
	Out, Err string
}

// Command runs a command line against the server.
func (s *Server) Command(stdin string, args ...string) Outcome {
	s.T.Helper()
	var out, errs Buffer
	ctx, cancel := context.WithTimeout(s.T.Context(), Patience)
	defer cancel()
	exit := s.run(ctx, append(args, "--server", s.Addr), cli.Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs}, nil)
	return Outcome{Exit: exit, Out: out.String(), Err: errs.String()}
}

// Running is a command line that runs on.
type Running struct {
	// Signals are what it would be sent by the system.
	Signals  chan os.Signal
	Stdin    *io.PipeWriter
	Out, Err Buffer

	t    *testing.T
	task errgroup.Group
	exit cli.ExitCode
}

// Start runs a command line with an open stdin.
func (s *Server) Start(args ...string) *Running {
	s.T.Helper()
	r, w := io.Pipe()
	c := &Running{t: s.T, Signals: make(chan os.Signal, 2), Stdin: w}
	c.Out.grown, c.Err.grown = make(chan struct{}, 1), make(chan struct{}, 1)
	s.T.Cleanup(func() { _ = w.Close() })
	c.task.Go(func() error {
		c.exit = s.run(s.T.Context(), append(args, "--server", s.Addr), cli.Streams{In: r, Out: &c.Out, Err: &c.Err}, c.Signals)
		return nil
	})
	return c
}

// AwaitText waits until a stream holds a text.
func (c *Running) AwaitText(stream *Buffer, text string) {
	c.t.Helper()
	timeout := time.After(Patience)
	for !strings.Contains(stream.String(), text) {
		select {
		case <-stream.grown:
		case <-timeout:
			c.t.Fatalf("no %q in:\n%s%s", text, c.Out.String(), c.Err.String())
		}
	}
}

// Await waits until the output holds so many lines.
func (c *Running) Await(lines int) {
	c.t.Helper()
	timeout := time.After(Patience)
	for strings.Count(c.Out.String(), "\n") < lines {
		select {
		case <-c.Out.grown:
		case <-timeout:
			c.t.Fatalf("no %d lines in:\n%s%s", lines, c.Out.String(), c.Err.String())
		}
	}
}

// Wait waits for its end.
func (c *Running) Wait() Outcome {
	_ = c.task.Wait()
	return Outcome{Exit: c.exit, Out: c.Out.String(), Err: c.Err.String()}
}

// Buffer is a bytes.Buffer for two goroutines.
type Buffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
	grown chan struct{} // capacity 1, may be nil
}

// Write appends.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	n, err := b.mu.Write(p)
	b.mu.Unlock()
	select {
	case b.grown <- struct{}{}:
	default:
	}
	return n, err
}

// String is what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.String()
}

// Grown has something whenever there is more.
func (b *Buffer) Grown() <-chan struct{} { return b.grown }
