package client

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// RetryIn makes a handler's error say after which time the message is to come again.
func RetryIn(delay time.Duration, err error) error { return &retryError{delay, err} }

type retryError struct {
	delay time.Duration
	err   error
}

// Error is that of the handler.
func (e *retryError) Error() string { return e.err.Error() }

// Unwrap returns the handler's error.
func (e *retryError) Unwrap() error { return e.err }

// heldWork is what the handlers work on, so that it is extended.
type heldWork struct {
	mu struct {
		sync.Mutex
		receipts map[string]bool
	}
}

func (h *heldWork) set(receipt string, held bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held {
		h.mu.receipts[receipt] = true
	} else {
		delete(h.mu.receipts, receipt)
	}
}

func (h *heldWork) list() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for receipt := range h.mu.receipts {
		if len(all) < maxReceive {
			all = append(all, receipt)
		}
	}
	return all
}

// Handle receives messages and has handle work on them, up to workers (at most 1,024) at a
// time, until ctx ends; it returns when all handlers have. Leases are extended while a
// handler works. A message is acknowledged when its handler returns nil, and else comes
// again as the group's policy says, or after the time of RetryIn. The error is ctx's, or
// what Receive cannot get over.
func (w *WorkConsumer) Handle(ctx context.Context, workers int, handle func(context.Context, *Delivery) error) error {
	workers = min(max(1, workers), maxReceive)
	free := make(chan struct{}, workers)
	for range workers {
		free <- struct{}{}
	}
	held := &heldWork{}
	held.mu.receipts = map[string]bool{}
	var tasks, extending errgroup.Group
	extend, stop := context.WithCancel(context.WithoutCancel(ctx))
	extending.Go(func() error { w.keep(extend, held); return nil })
	err := w.feed(ctx, free, func(d *Delivery) {
		held.set(d.Receipt, true)
		tasks.Go(func() error {
			defer func() { free <- struct{}{} }()
			w.work(ctx, d, handle)
			held.set(d.Receipt, false)
			return nil
		})
	})
	_ = tasks.Wait()
	stop()
	_ = extending.Wait()
	return err
}

// feed receives as many messages as there are free workers, until something ends it.
func (w *WorkConsumer) feed(ctx context.Context, free chan struct{}, give func(*Delivery)) error {
	for {
		select {
		case <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		n := 1
		for more := true; more; {
			select {
			case <-free:
				n++
			default:
				more = false
			}
		}
		deliveries, err := w.Receive(ctx, n)
		for range n - len(deliveries) {
			free <- struct{}{}
		}
		if err != nil {
			return err
		}
		for _, d := range deliveries {
			give(d)
		}
	}
}

// work handles one message and says what became of it, also when ctx has ended meanwhile.
// Whether that is heard is of no concern: if not, the message comes again.
func (w *WorkConsumer) work(ctx context.Context, d *Delivery, handle func(context.Context, *Delivery) error) {
	err := handle(ctx, d)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.c.cfg.RequestTimeout)
	defer cancel()
	if err == nil {
		_ = d.Ack(ctx)
		return
	}
	delay := time.Duration(-1)
	var retry *retryError
	if errors.As(err, &retry) {
		delay = retry.delay
	}
	_ = d.Nack(ctx, delay)
}

// keep extends what is worked on, until ctx ends.
func (w *WorkConsumer) keep(ctx context.Context, held *heldWork) {
	tick := time.NewTicker(w.cfg.Invisible / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if receipts := held.list(); len(receipts) > 0 {
			_ = w.extend(ctx, receipts, w.cfg.Invisible) // one that has expired does not keep the others
		}
	}
}
