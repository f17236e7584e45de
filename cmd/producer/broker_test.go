package main

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

// patience bounds every wait of a test; a machine under load is slow.
const patience = 30 * time.Second

// server is a broker in this process and a client of it.
type server struct {
	t      *testing.T
	addr   string
	broker *broker.Broker
	client *client.Client
}

func startServer(t *testing.T, topics map[string]int) *server {
	t.Helper()
	b, err := broker.New(broker.Config{
		Node:    broker.NodeConfig{ID: "n1", Data: t.TempDir()},
		Listen:  broker.ListenConfig{Client: "127.0.0.1:0", Peer: "127.0.0.1:0", HTTP: "127.0.0.1:0"},
		Storage: broker.StorageConfig{SegmentBytes: 32 << 20, TailCacheBytes: 1 << 20, StateCacheBytes: 1 << 20},
		Logger:  slog.New(slog.DiscardHandler),
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
	s := &server{t: t, addr: b.Addrs().Client, broker: b}
	if s.client, err = client.Dial(t.Context(), client.Config{Seeds: []string{s.addr}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	for name, queues := range topics {
		if _, err := s.client.Admin().CreateTopic(t.Context(), name, queues); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// outcome is how a command line ended.
type outcome struct {
	exit     cli.ExitCode
	out, err string
}

// command runs a command line against the server.
func (s *server) command(stdin string, args ...string) outcome {
	s.t.Helper()
	var out, errs buffer
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	exit := run(ctx, append(args, "--server", s.addr), cli.Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs}, nil)
	return outcome{exit: exit, out: out.String(), err: errs.String()}
}

// started is a command line that runs on.
type started struct {
	t       *testing.T
	signals chan os.Signal
	out     buffer
	err     buffer
	stdin   *io.PipeWriter
	task    errgroup.Group
	exit    cli.ExitCode
}

// start runs a command line with an open stdin.
func (s *server) start(args ...string) *started {
	s.t.Helper()
	r, w := io.Pipe()
	c := &started{t: s.t, signals: make(chan os.Signal, 2), stdin: w}
	c.out.grown, c.err.grown = make(chan struct{}, 1), make(chan struct{}, 1)
	s.t.Cleanup(func() { _ = w.Close() })
	c.task.Go(func() error {
		c.exit = run(s.t.Context(), append(args, "--server", s.addr), cli.Streams{In: r, Out: &c.out, Err: &c.err}, c.signals)
		return nil
	})
	return c
}

// await waits until the output holds so many lines.
func (c *started) await(lines int) {
	c.t.Helper()
	timeout := time.After(patience)
	for strings.Count(c.out.String(), "\n") < lines {
		select {
		case <-c.out.grown:
		case <-timeout:
			c.t.Fatalf("no %d lines in:\n%s%s", lines, c.out.String(), c.err.String())
		}
	}
}

func (c *started) wait() outcome {
	_ = c.task.Wait()
	return outcome{exit: c.exit, out: c.out.String(), err: c.err.String()}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu struct {
		sync.Mutex
		bytes.Buffer
	}
	grown chan struct{} // capacity 1, may be nil
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	n, err := b.mu.Write(p)
	b.mu.Unlock()
	select {
	case b.grown <- struct{}{}:
	default:
	}
	return n, err
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.String()
}
