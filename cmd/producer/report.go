package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// report is what becomes of the messages: receipts, latencies, the first failure.
// It belongs to the collector until that has ended.
type report struct {
	format  string // none, text, jsonl
	single  bool   // print a receipt only if there is one message
	out     *bufio.Writer
	first   *client.Receipt
	count   int64
	latency *hdrhistogram.Histogram // microseconds; nil without --bench
	failure error
	failed  chan error // capacity 1: tells of the first failure
}

func newReport(p *program) *report {
	r := &report{format: p.flags.output.Value, out: bufio.NewWriterSize(p.streams.Out, 64<<10), failed: make(chan error, 1)}
	switch {
	case p.flags.bench:
		r.format = "none"
		r.latency = hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
	case r.format == "":
		r.format = "text"
		r.single = true
		if !cli.IsTerminal(p.streams.Out) {
			r.format = "none"
		}
	}
	return r
}

// collect waits for the outcome of each message in turn.
func (r *publishing) collect() error {
	var list []pending
	for over := false; ; {
		if list = r.awaited.take(list); len(list) > 0 {
			r.settle(list)
			continue
		}
		if over {
			return nil
		}
		if err := r.report.idle(); err != nil {
			r.report.fail(err)
		}
		select {
		case <-r.awaited.filled:
		case <-r.closed:
			over = true // once what is there has been taken: every outcome is known
		}
	}
}

func (r *publishing) settle(list []pending) {
	for _, p := range list {
		receipt, err := p.result.Get(context.Background())
		if err != nil {
			r.report.fail(err)
			continue
		}
		r.report.add(&receipt, receipt.AckTime.Sub(r.began)-p.due)
	}
}

// fail notes the first failure. That the producer is closed or Publish was cut
// short is none: we did that.
func (r *report) fail(err error) {
	if r.failure != nil || errors.Is(err, client.ErrClosed) || errors.Is(err, context.Canceled) {
		return
	}
	r.failure = err
	select {
	case r.failed <- err:
	default:
	}
}

// add takes a receipt.
func (r *report) add(receipt *client.Receipt, latency time.Duration) {
	r.count++
	if r.latency != nil {
		_ = r.latency.RecordValue(min(max(latency.Microseconds(), 1), r.latency.HighestTrackableValue()))
	}
	switch {
	case r.format == "none":
	case r.single:
		if r.first == nil {
			r.first = receipt
		}
	default:
		if err := quiet(r.print(receipt)); err != nil {
			r.fail(err)
		}
	}
}

// receiptJSON is a receipt as one line of JSON.
type receiptJSON struct {
	Topic       string `json:"topic"`
	Queue       int    `json:"queue"`
	Offset      int64  `json:"offset"`
	Term        int64  `json:"term"`
	LedgerIndex int64  `json:"ledger_index"`
	Duplicate   bool   `json:"duplicate,omitempty"`
	Handle      string `json:"handle,omitempty"`
}

func (r *report) print(c *client.Receipt) error {
	if r.format == "jsonl" {
		line, err := json.Marshal(receiptJSON{c.Topic, c.Queue, c.Offset, c.Term, c.LedgerIndex, c.Duplicate, c.Handle})
		if err != nil {
			return err
		}
		_, err = r.out.Write(append(line, '\n'))
		return err
	}
	if c.Handle != "" {
		_, err := fmt.Fprintf(r.out, "%s/%d waits, handle=%s term=%d index=%d\n", c.Topic, c.Queue, c.Handle, c.Term, c.LedgerIndex)
		return err
	}
	_, err := fmt.Fprintf(r.out, "%s/%d@%d term=%d index=%d\n", c.Topic, c.Queue, c.Offset, c.Term, c.LedgerIndex)
	return err
}

// idle is called when no receipt is waiting.
func (r *report) idle() error { return quiet(r.out.Flush()) }

// flush prints what was kept back.
func (r *report) flush(acked uint64) error {
	if r.single && r.first != nil && acked == 1 {
		if err := r.print(r.first); err != nil {
			return quiet(err)
		}
	}
	return quiet(r.out.Flush())
}

// quiet lets a reader that went away end nothing: the messages are what matters.
func quiet(err error) error {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("receipts cannot be written: %w", err)
}

// benchJSON is the result of --bench.
type benchJSON struct {
	MsgsPerS  float64 `json:"msgs_per_s"`
	MBPerS    float64 `json:"mb_per_s"`
	AckP50MS  float64 `json:"ack_p50_ms"`
	AckP99MS  float64 `json:"ack_p99_ms"`
	AckP999MS float64 `json:"ack_p999_ms"`
	AckMaxMS  float64 `json:"ack_max_ms"`
	Acked     uint64  `json:"acked"`
	Unknown   uint64  `json:"unknown"`
	Failed    uint64  `json:"failed"`
	Retries   uint64  `json:"retries"`
	Seconds   float64 `json:"seconds"`
}

func (r *publishing) benchResult(s client.ProducerStats, unknown uint64, elapsed time.Duration) benchJSON {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	h := r.report.latency
	seconds := elapsed.Seconds()
	return benchJSON{
		MsgsPerS: float64(s.Acked) / seconds, MBPerS: float64(s.Acked) * float64(r.flags.size) / 1e6 / seconds,
		AckP50MS: ms(h.ValueAtQuantile(50)), AckP99MS: ms(h.ValueAtQuantile(99)), AckP999MS: ms(h.ValueAtQuantile(99.9)),
		AckMaxMS: ms(h.Max()), Acked: s.Acked, Unknown: unknown, Failed: s.Failed, Retries: s.Retries, Seconds: seconds,
	}
}

// printBench prints the result of --bench.
func (r *publishing) printBench(w io.Writer, b benchJSON) error {
	if r.flags.output.Value == "json" || r.flags.output.Value == "jsonl" {
		return cli.PrintJSON(w, b)
	}
	_, err := fmt.Fprintf(w, "%.0f msg/s  %.1f MB/s  ack p50 %.2f ms  p99 %.2f ms  p99.9 %.2f ms  max %.2f ms\nacked %d  unknown %d  failed %d  in %.2f s\n",
		b.MsgsPerS, b.MBPerS, b.AckP50MS, b.AckP99MS, b.AckP999MS, b.AckMaxMS, b.Acked, b.Unknown, b.Failed, b.Seconds)
	return err
}
