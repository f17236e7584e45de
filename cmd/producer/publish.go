package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// publishing is one run from the first message to the last acknowledgement.
type publishing struct {
	*program
	client   *client.Client
	producer *client.Producer
	topic    string
	src      source
	size     int64 // of the input in bytes; 0: not known
	began    time.Time
	sent     atomic.Int64
	read     atomic.Int64  // bytes of values
	stop     chan struct{} // closed: read no further
	sentAll  chan struct{} // closed when the input has ended; readErr is set then
	readErr  error
	awaited  *awaited
	closed   chan struct{} // closed when every future has its outcome
	report   *report
}

func (p *program) publish(ctx context.Context, topic string, files []string) error {
	if err := p.flags.check(files); err != nil {
		return err
	}
	cfg, err := p.flags.producerConfig(topic)
	if err != nil {
		return cli.Exit(cli.ExitUsage, err)
	}
	src, size, err := p.newSource(files)
	if err != nil {
		return err
	}
	if p.flags.transaction {
		return p.publishAtTheEnd(ctx, cfg, src)
	}
	cl, prod, err := p.connect(ctx, cfg)
	if err != nil {
		return p.flags.server.TopicHint(err, topic)
	}
	defer cl.Close() // its error could only repeat what is told already
	run := &publishing{
		program: p, client: cl, producer: prod, topic: topic, src: src, size: size,
		stop: make(chan struct{}), sentAll: make(chan struct{}), closed: make(chan struct{}),
		awaited: newAwaited(), report: newReport(p), began: time.Now(),
	}
	return run.run(ctx)
}

// connect finds the cluster and the topic; a signal ends that.
func (p *program) connect(ctx context.Context, cfg client.ProducerConfig) (cl *client.Client, prod *client.Producer, err error) {
	var watch errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	watch.Go(func() error {
		select {
		case <-p.signals:
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	cl, err = p.flags.server.Connect(ctx, p.wait(), func(ctx context.Context, cl *client.Client) (err error) {
		prod, err = cl.Producer(ctx, cfg)
		return err
	})
	if ctx.Err() != nil && err != nil {
		err = cli.Exit(cli.ExitInterrupted, nil)
	}
	cancel()
	return cl, prod, errors.Join(err, watch.Wait())
}

// wait is how the topic is waited for: no longer than a message.
func (p *program) wait() cli.Wait {
	wait := cli.Wait{Limit: p.flags.timeout, Tell: p.streams.Err}
	if p.flags.progress.Value == "none" {
		wait.Tell = nil
	}
	return wait
}

// run reads, publishes, and waits for every acknowledgement.
func (r *publishing) run(ctx context.Context) error {
	var reading, collecting errgroup.Group
	rctx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	reading.Go(func() error {
		defer close(r.sentAll)
		r.readErr = r.send(rctx)
		return nil
	})
	collecting.Go(func() error { return r.collect() })
	collecting.Go(func() error { return r.showProgress() })
	interrupted, err := r.supervise(ctx, stopReading, &collecting)
	elapsed := time.Since(r.began)
	return r.conclude(interrupted, err, elapsed)
}

// supervise waits for the end of the input, an error or a signal, and flushes.
func (r *publishing) supervise(ctx context.Context, stopReading context.CancelFunc, collecting *errgroup.Group) (interrupted bool, err error) {
	select {
	case <-r.sentAll:
		err = r.readErr
	case err = <-r.report.failed:
	case <-r.signals:
		interrupted = true
	case <-ctx.Done():
		err = ctx.Err()
	}
	close(r.stop)
	stopReading()
	// Every message is over at its own timeout; the grace lets that come first.
	fctx, giveUp := context.WithTimeout(context.WithoutCancel(ctx), r.flags.timeout+flushGrace)
	defer giveUp()
	flushed := make(chan struct{})
	collecting.Go(func() error {
		defer close(flushed)
		_ = r.producer.Close(fctx) // the futures tell what is left
		close(r.closed)
		return nil
	})
	select {
	case <-flushed:
	case <-r.signals:
		interrupted = true
		giveUp()
	}
	return interrupted, errors.Join(err, collecting.Wait())
}

// flushGrace is how much longer than a message's timeout flushing may take.
const flushGrace = 2 * time.Second

// send publishes the input until it ends or is not wanted any more.
func (r *publishing) send(ctx context.Context) error {
	pace := newPace(&r.flags)
	for m, err := range r.src {
		select {
		case <-r.stop:
			return nil
		default:
		}
		if err != nil {
			return err
		}
		due, timed, err := pace.wait(ctx)
		if err != nil {
			return nil // stopped
		}
		if r.flags.bench {
			m.Timestamp = due // spares one more look at the clock
		}
		res := r.producer.Publish(ctx, m)
		if timed && !r.awaited.put(pending{result: res, due: due.Sub(r.began)}, r.closed) {
			return nil
		}
		r.sent.Add(1)
		r.read.Add(int64(len(m.Value) + 1))
	}
	return nil
}

// pace spreads messages evenly over time. Who is late catches up: timers are good
// for a millisecond only, and a benchmark must count a stall for all it delays.
type pace struct {
	every   time.Duration // 0: no limit
	next    time.Time
	forgive time.Duration // being later than this is not caught up with

	// Without a limit, one message of so many has its latency measured: two looks at
	// the clock and a place in a list are about a third of what a small message costs.
	sample int
	nth    int
}

// sampleEvery is of how many messages of a benchmark at full speed one is timed.
const sampleEvery = 32

func newPace(f *flags) *pace {
	switch {
	case f.rate == 0 && f.bench:
		return &pace{sample: sampleEvery}
	case f.rate == 0:
		return &pace{sample: 1}
	}
	p := &pace{every: time.Second / time.Duration(f.rate), next: time.Now(), forgive: 100 * time.Millisecond}
	if f.bench {
		p.forgive = math.MaxInt64
	}
	return p
}

// wait returns when the next message may go: when it was to go, and whether that is
// the time from which its latency counts.
func (p *pace) wait(ctx context.Context) (due time.Time, timed bool, err error) {
	if p.every == 0 {
		if timed = p.nth%p.sample == 0; timed {
			p.next = time.Now()
		}
		p.nth++
		return p.next, timed, nil
	}
	now := time.Now()
	p.next = p.next.Add(p.every)
	if late := now.Sub(p.next); late > p.forgive {
		p.next = now.Add(-p.forgive)
	}
	if early := p.next.Sub(now); early > 0 {
		t := time.NewTimer(early)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return time.Time{}, false, ctx.Err()
		}
	}
	return p.next, true, nil
}

// conclude prints the summary and chooses the exit code.
func (r *publishing) conclude(interrupted bool, err error, elapsed time.Duration) error {
	s := r.producer.Stats()
	unknown := s.Unknown + uint64(s.Buffered)
	if err == nil {
		err = r.report.failure
	}
	if err == nil && s.Failed > 0 { // none of those that were looked at
		err = fmt.Errorf("%d messages failed", s.Failed)
	}
	if err == nil && unknown > 0 {
		err = cli.Exit(cli.ExitNoLeader, fmt.Errorf("no acknowledgement within %v", r.flags.timeout))
	}
	printed := r.report.flush(s.Acked)
	if r.flags.bench {
		printed = r.printBench(r.streams.Out, r.benchResult(s, unknown, elapsed))
	}
	if err == nil {
		err = printed // what was stored is told all the same
	}
	summary := fmt.Sprintf("acked %d, unknown %d", s.Acked, unknown)
	if s.Failed > 0 {
		summary += fmt.Sprintf(", failed %d", s.Failed)
	}
	switch {
	case interrupted:
		fmt.Fprintln(r.streams.Err, summary)
		return cli.Exit(cli.ExitInterrupted, nil)
	case err == nil:
		return nil
	case s.Acked > 0:
		return &cli.Error{Exit: cli.ExitPartial, Code: string(client.CodeOf(err)), Err: fmt.Errorf("%w\n  %s", err, summary)}
	case unknown+s.Failed > 0:
		return fmt.Errorf("%w\n  %s", err, summary)
	}
	return err
}
