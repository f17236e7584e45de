package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// consuming is one run over a topic.
type consuming struct {
	*program
	consumer *client.Consumer // nil in a group
	group    finisher         // nil without one
	reader   reader
	topic    string
	out      *bufio.Writer
	print    printer
	from     map[int]int64 // where queues with an end are read from
	ends     map[int]int64 // of queues that are not read to their end; nil: no end
	count    int64
	bytes    int64
	began    time.Time
}

// errEnough ends reading without being an error.
var errEnough = errors.New("enough")

func (p *program) consume(ctx context.Context, topic string) error {
	var watch errgroup.Group
	ctx, cancel := context.WithCancel(ctx)
	interrupted := false
	watch.Go(func() error {
		select {
		case <-p.signals:
			interrupted = true
			cancel()
		case <-ctx.Done():
		}
		return nil
	})
	run := &consuming{program: p, topic: topic, out: bufio.NewWriterSize(p.streams.Out, 256<<10), began: time.Now()}
	run.print = newPrinter(p)
	err := run.run(ctx)
	cancel()
	_ = watch.Wait()
	if e := run.out.Flush(); err == nil {
		err = e
	}
	return run.conclude(p.flags.server.TopicHint(err, topic), interrupted)
}

// run reads until there is nothing more to read.
func (r *consuming) run(ctx context.Context) error {
	read := r.read
	cl, err := r.flags.server.Connect(ctx, cli.Wait{Tell: r.streams.Err}, func(ctx context.Context, cl *client.Client) (err error) {
		if r.flags.group == "" {
			return r.open(ctx, cl)
		}
		read, err = r.join(ctx, cl)
		return err
	})
	if err != nil {
		return err
	}
	defer cl.Close() // reading is over then
	r.began = time.Now()
	if r.flags.group == "" {
		return r.read(ctx)
	}
	return r.runGroup(ctx, read)
}

// open begins to read without a group.
func (r *consuming) open(ctx context.Context, cl *client.Client) (err error) {
	r.consumer, err = cl.Consumer(ctx, client.ConsumerConfig{Topic: r.topic, Queues: r.flags.queues, From: r.flags.from.At, Filter: r.flags.wanted()})
	if err != nil {
		return err
	}
	r.reader = r.consumer
	if r.flags.exitAtEnd {
		return r.findEnds(ctx)
	}
	return nil
}

// join becomes a member of a group. It returns what reads then.
func (r *consuming) join(ctx context.Context, cl *client.Client) (read func(context.Context) error, err error) {
	read = r.read
	switch {
	case r.flags.receive:
		var w *received
		if w, err = r.receiveFor(ctx, cl, r.topic); err == nil && r.flags.exec.command != "" {
			read = func(ctx context.Context) error { return r.execReceived(ctx, w) }
		}
		r.group = w
	case r.flags.exec.command != "":
		e := newExecution(r)
		e.member, err = r.joinGroup(ctx, cl, r.topic, e.revoked)
		read, r.group = e.run, e.member
	default:
		r.group, err = r.joinGroup(ctx, cl, r.topic, nil)
	}
	r.reader = r.group
	return read, err
}

// runGroup reads as a member of a group and leaves it in good order.
func (r *consuming) runGroup(ctx context.Context, read func(context.Context) error) error {
	err := read(ctx)
	if e := r.flush(); err == nil {
		err = e
	}
	if e := r.group.end(); err == nil {
		err = e
	}
	return err
}

// flush writes our buffer out; what was in it is finished then, and only then.
func (r *consuming) flush() error {
	if err := r.out.Flush(); err != nil {
		return err
	}
	if r.group != nil {
		return r.group.flushed()
	}
	return nil
}

// findEnds notes where each queue ends now.
func (r *consuming) findEnds(ctx context.Context) error {
	ranges, err := r.consumer.Ranges(ctx)
	if err != nil {
		return err
	}
	r.from, r.ends = map[int]int64{}, map[int]int64{}
	for _, q := range ranges {
		at, err := r.consumer.Position(q.Queue)
		if err != nil {
			return err
		}
		// A start above the end is read all the same: the error says so.
		if at != q.End {
			r.from[q.Queue], r.ends[q.Queue] = at, q.End
		}
	}
	return nil
}

func (r *consuming) read(ctx context.Context) error {
	for r.ends == nil || len(r.ends) > 0 {
		m, ok, err := r.reader.TryNext()
		switch {
		case err != nil:
		case ok:
			err = r.take(&m)
		default:
			if err = r.pass(); err == nil {
				err = r.flush() // nothing waits in our buffer while we wait
			}
			if err == nil && (r.ends == nil || len(r.ends) > 0) {
				err = r.reader.Await(ctx)
			}
		}
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pass crosses off the queues that were read to their end, also if a filter wanted
// nothing of what stands there.
func (r *consuming) pass() error {
	for q, end := range r.ends {
		at, err := r.consumer.Position(q)
		if err != nil {
			return err
		}
		if at >= end && at > r.from[q] { // else an error is about to come
			delete(r.ends, q)
		}
	}
	return nil
}

// take prints a message unless it came after the end that was noted.
func (r *consuming) take(m *client.Message) error {
	if r.ends != nil {
		end, wanted := r.ends[*m.Queue]
		if m.Offset+1 >= end {
			delete(r.ends, *m.Queue)
		}
		if !wanted || m.Offset >= end {
			return nil
		}
	}
	r.count++
	r.bytes += int64(len(m.Value))
	if !r.flags.bench {
		printed := *m // what a printer gets may be kept for all the compiler knows
		if err := r.print(r.out, &printed); err != nil {
			return err
		}
	}
	if r.group != nil && r.group.took(m) {
		if err := r.flush(); err != nil {
			return err
		}
	}
	if n := int64(r.flags.count); n > 0 && r.count >= n {
		return errEnough
	}
	return nil
}

// benchJSON is the result of --bench.
type benchJSON struct {
	MsgsPerS float64 `json:"msgs_per_s"`
	MBPerS   float64 `json:"mb_per_s"`
	Messages int64   `json:"messages"`
	Bytes    int64   `json:"bytes"`
	Seconds  float64 `json:"seconds"`
}

// conclude chooses the exit code.
func (r *consuming) conclude(err error, interrupted bool) error {
	elapsed := time.Since(r.began).Seconds()
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return nil // who reads us has enough
	}
	if r.flags.bench && (err == nil || interrupted) {
		if e := cli.PrintJSON(r.streams.Out, benchJSON{
			MsgsPerS: float64(r.count) / elapsed, MBPerS: float64(r.bytes) / 1e6 / elapsed,
			Messages: r.count, Bytes: r.bytes, Seconds: elapsed,
		}); e != nil {
			return e
		}
	}
	if !interrupted {
		return err
	}
	fmt.Fprintf(r.streams.Err, "read %d\n", r.count)
	if r.flags.follow && r.flags.count == 0 {
		return nil // the usual end
	}
	return cli.Exit(cli.ExitInterrupted, nil)
}
