package main

import (
	"context"
	"time"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// How much may be written to our buffer before it is flushed and so finished, and for how
// long the last commit may take.
const (
	finishMessages = 1000
	finishEvery    = 500 * time.Millisecond
	closeTimeout   = 10 * time.Second
)

// reader is where messages come from: a client.Consumer, or a member of a group.
type reader interface {
	TryNext() (client.Message, bool, error)
	Await(context.Context) error
}

// finisher is a reader that finishes what was written out.
type finisher interface {
	reader
	// took notes that a message is in our buffer; due says that the buffer should be flushed.
	took(*client.Message) (due bool)
	// flushed finishes what was in our buffer.
	flushed() error
	end() error
}

// grouped reads as a member of a consumer group. It finishes what is written out.
type grouped struct {
	*client.GroupConsumer
	ctx     context.Context
	written map[int]client.Message // by queue: the newest that our buffer took
	count   int
	began   time.Time // of what is in the buffer
}

func (p *program) joinGroup(ctx context.Context, cl *client.Client, topic string, revoked func([]int)) (*grouped, error) {
	g, err := cl.GroupConsumer(ctx, client.GroupConfig{
		Group: p.flags.group, Topic: topic, From: p.flags.from.At, Filter: p.flags.wanted(), Manual: true, OnRevoked: revoked,
	})
	if err != nil {
		return nil, err
	}
	return &grouped{GroupConsumer: g, ctx: ctx, written: map[int]client.Message{}, began: time.Now()}, nil
}

// TryNext is the GroupConsumer's with the run's context.
func (g *grouped) TryNext() (client.Message, bool, error) { return g.GroupConsumer.TryNext(g.ctx) }

// took notes that a message is in our buffer; due says that the buffer should be flushed.
func (g *grouped) took(m *client.Message) (due bool) {
	g.written[*m.Queue] = client.Message{Queue: m.Queue, Offset: m.Offset}
	g.count++
	return g.count >= finishMessages || time.Since(g.began) >= finishEvery
}

// flushed finishes what was in our buffer.
func (g *grouped) flushed() error {
	for _, m := range g.written {
		g.Finish(&m)
	}
	clear(g.written)
	g.count, g.began = 0, time.Now()
	return nil
}

// end commits and leaves, also when the run was interrupted.
func (g *grouped) end() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), closeTimeout)
	defer cancel()
	return g.Close(ctx)
}

// checkGroup refuses flags that a member of a group cannot have.
func (f *flags) checkGroup() error {
	switch {
	case f.group == "":
		return nil
	case f.exitAtEnd:
		return cli.Usagef("--group waits for new messages: end it with -n or Ctrl-C, not with --exit-at-end")
	case len(f.queues) > 0:
		return cli.Usagef("--group has its queues given by the brokers: --queue cannot be used with it")
	case f.bench:
		return cli.Usagef("--group commits what was printed: --bench prints nothing")
	}
	return nil
}
