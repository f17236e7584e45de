package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// transactionGroup is that of every producer --transaction. None of them knows what
// has become of another one's, so what nobody ends is rolled back for its age.
const transactionGroup = "producer --transaction"

// maxTransaction bounds the messages of --transaction: their handles are kept, and
// the brokers bound what is open.
const maxTransaction = 10_000

// publishAtTheEnd stores every message of the input and has them delivered when the
// input has ended and all of them are stored; otherwise it drops them.
func (p *program) publishAtTheEnd(ctx context.Context, cfg client.ProducerConfig, src source) error {
	var watch errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	defer func() { _ = watch.Wait() }()
	defer cancel()
	watch.Go(func() error {
		select {
		case <-p.signals:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	var tp *client.Transactional
	cl, err := p.flags.server.Connect(ctx, p.wait(), func(ctx context.Context, cl *client.Client) (err error) {
		tp, err = cl.Transactional(ctx, client.TransactionalConfig{
			Producer: cfg, Group: transactionGroup,
			Check: func(context.Context, client.Message) client.Decision { return client.Unknown },
		})
		return err
	})
	if err != nil {
		return p.flags.server.TopicHint(err, cfg.Topic)
	}
	defer cl.Close() // its error could only repeat what is told already
	stored, err := p.storeHalves(ctx, tp, src)
	ending, giveUp := context.WithTimeout(context.WithoutCancel(ctx), p.flags.timeout)
	defer giveUp()
	defer func() { _ = tp.Close(ending) }() // nothing is under way any more
	if err == nil && ctx.Err() == nil {
		return p.commitAll(ending, tp, stored)
	}
	for _, r := range stored {
		if _, endErr := tp.End(ending, r.Handle, client.Rollback); endErr != nil {
			err = errors.Join(err, fmt.Errorf("roll back %s: %w", r.Handle, endErr))
		}
	}
	if ctx.Err() != nil {
		return cli.Exit(cli.ExitInterrupted, nil)
	}
	return fmt.Errorf("nothing is delivered: %w", err)
}

// halves are the messages of a transaction as they are read.
type halves struct {
	mu struct {
		sync.Mutex
		results []*client.Result
		closed  bool // nothing more is taken
	}
	ended chan struct{} // closed at the end of the input; err is set then
	err   error
}

// storeHalves reads the input and waits until all of it is stored. When ctx ends
// first, whatever waits for the input is left behind.
func (p *program) storeHalves(ctx context.Context, tp *client.Transactional, src source) (stored []client.Receipt, err error) {
	h := &halves{ended: make(chan struct{})}
	var reading errgroup.Group
	reading.Go(func() error {
		defer close(h.ended)
		h.err = h.read(ctx, tp, src)
		return nil
	})
	select {
	case <-h.ended:
		err = h.err
	case <-ctx.Done():
	}
	for _, r := range h.close() {
		receipt, getErr := r.Get(context.WithoutCancel(ctx)) // each is over at its own timeout
		if getErr != nil {
			err = errors.Join(err, getErr)
			continue
		}
		stored = append(stored, receipt)
	}
	return stored, err
}

func (h *halves) read(ctx context.Context, tp *client.Transactional, src source) error {
	for m, err := range src {
		if err != nil || ctx.Err() != nil {
			return err
		}
		if err := h.publish(ctx, tp, m); err != nil {
			return err
		}
	}
	return nil
}

// publish keeps the future, so that whoever closes has those of all that may be stored.
func (h *halves) publish(ctx context.Context, tp *client.Transactional, m client.Message) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.mu.closed:
		return ctx.Err()
	case len(h.mu.results) == maxTransaction:
		return cli.Usagef("--transaction takes up to %d messages", maxTransaction)
	}
	h.mu.results = append(h.mu.results, tp.Publish(ctx, m))
	return nil
}

func (h *halves) close() []*client.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.closed = true
	return h.mu.results
}

// commitAll has the messages delivered, one after the other.
func (p *program) commitAll(ctx context.Context, tp *client.Transactional, stored []client.Receipt) error {
	report := newReport(p)
	for i := range stored {
		r := &stored[i]
		offset, err := tp.End(ctx, r.Handle, client.Commit)
		if err != nil {
			err = errors.Join(err, report.flush(uint64(i)))
			return &cli.Error{
				Exit: cli.ExitPartial, Code: string(client.CodeOf(err)),
				Err: fmt.Errorf("%d of %d messages are delivered, the next one is not or may not be: %w", i, len(stored), err),
			}
		}
		r.Offset, r.Handle = offset, ""
		report.add(r, time.Duration(0))
	}
	if err := report.flush(uint64(len(stored))); err != nil {
		return cli.Exit(cli.ExitPartial, fmt.Errorf("all %d messages are delivered, but %w", len(stored), err))
	}
	return nil
}
