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
	consumer *client.Consumer
	topic    string
	out      *bufio.Writer
	print    printer
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
	cl, err := r.flags.server.Dial(ctx)
	if err != nil {
		return err
	}
	defer cl.Close() // reading is over then
	r.consumer, err = cl.Consumer(ctx, client.ConsumerConfig{Topic: r.topic, Queues: r.flags.queues, From: r.flags.from.at})
	if err != nil {
		return err
	}
	if r.flags.exitAtEnd {
		if err := r.findEnds(ctx); err != nil {
			return err
		}
	}
	r.began = time.Now()
	return r.read(ctx)
}

// findEnds notes where each queue ends now.
func (r *consuming) findEnds(ctx context.Context) error {
	ranges, err := r.consumer.Ranges(ctx)
	if err != nil {
		return err
	}
	r.ends = map[int]int64{}
	for _, q := range ranges {
		at, err := r.consumer.Position(q.Queue)
		if err != nil {
			return err
		}
		// A start above the end is read all the same: the error says so.
		if at != q.End {
			r.ends[q.Queue] = q.End
		}
	}
	return nil
}

func (r *consuming) read(ctx context.Context) error {
	for r.ends == nil || len(r.ends) > 0 {
		m, ok, err := r.consumer.TryNext()
		if err == nil && !ok {
			if err = r.out.Flush(); err == nil { // nothing waits in our buffer while we wait
				m, err = r.consumer.Next(ctx)
			}
		}
		if err == nil {
			err = r.take(&m)
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
		if err := r.print(r.out, m); err != nil {
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
