package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

// Every payload starts with its sequence number and the time (ns since the
// harness started) at which it was meant to be sent; the rest is random filler.
const headerSize = 16

var (
	epoch  = time.Now()
	filler = func() []byte {
		b := make([]byte, 1<<16)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}()
)

func now() int64 { return int64(time.Since(epoch)) }

func newPayload(size int) []byte {
	b := make([]byte, max(size, headerSize))
	copy(b, filler)
	return b
}

func stamp(b []byte, seq uint64, at int64) {
	binary.LittleEndian.PutUint64(b, seq)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
}

func seqOf(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }
func atOf(b []byte) int64   { return int64(binary.LittleEndian.Uint64(b[8:])) }

// lockedHist is a histogram that callbacks of several goroutines may use.
type lockedHist struct {
	mu sync.Mutex
	h  *figures.Histogram
}

func newHist() *lockedHist { return &lockedHist{h: figures.NewHistogram()} }

func (l *lockedHist) record(ns int64) {
	l.mu.Lock()
	l.h.Record(time.Duration(ns))
	l.mu.Unlock()
}

// window is the payloads that may be sent. A publisher takes all that are there at
// once: a look at a channel for each message would be a good part of the work.
type window struct {
	mu     sync.Mutex
	free   [][]byte
	filled chan struct{} // capacity 1
}

func (w *window) put(b []byte) {
	w.mu.Lock()
	w.free = append(w.free, b)
	first := len(w.free) == 1
	w.mu.Unlock()
	if first {
		select {
		case w.filled <- struct{}{}:
		default:
		}
	}
}

// take waits for payloads and exchanges them for an empty list.
func (w *window) take(empty [][]byte, timeout <-chan time.Time) ([][]byte, bool) {
	for {
		w.mu.Lock()
		got := w.free
		if len(got) > 0 {
			w.free = empty[:0]
		}
		w.mu.Unlock()
		if len(got) > 0 {
			return got, true
		}
		select {
		case <-w.filled:
		case <-timeout:
			return nil, false
		}
	}
}

// load describes one publishing run.
type load struct {
	size, window, n int
	rate            int // messages per second, 0 for as fast as the window allows
	limit           time.Duration
}

func (l load) String() string {
	s := fmt.Sprintf("%s, window %d", figures.Bytes(l.size), l.window)
	if l.rate > 0 {
		s = fmt.Sprintf("%s, %d/s", figures.Bytes(l.size), l.rate)
	}
	return s
}

// sampleEvery is of how many messages one has its latency recorded where they are many.
func (l load) sampleEvery() uint64 {
	if l.rate == 0 && l.window > 1 {
		return 8
	}
	return 1
}

// publish runs one load against a log and waits for every ack. It returns the
// number of messages acknowledged and the time from the first send to the last ack.
func publish(p Peer, log string, l load, acks *lockedHist) (int, time.Duration, error) {
	leader, err := p.Leader(log)
	if err != nil {
		return 0, 0, err
	}
	var acked atomic.Int64
	var failed atomic.Pointer[error]
	every := l.sampleEvery()
	w := &window{filled: make(chan struct{}, 1)}
	pub, err := p.Publisher(log, leader, l.window, func(b []byte, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		} else {
			if seqOf(b)%every == 0 {
				acks.record(now() - atOf(b))
			}
			acked.Add(1)
		}
		w.put(b)
	})
	if err != nil {
		return 0, 0, err
	}
	defer pub.Close()
	for range l.window {
		w.put(newPayload(l.size))
	}
	start := now()
	err = send(pub, w, l, start, func() bool { return failed.Load() != nil })
	took := time.Duration(now() - start)
	if e := failed.Load(); e != nil {
		err = *e
	}
	return int(acked.Load()), took, err
}

// send publishes until the load is over, and waits until all payloads are back.
func send(pub Publisher, w *window, l load, start int64, failed func() bool) error {
	if l.rate > 0 { // the pacing sleeps are finer on a thread of their own
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	stop := start + int64(l.limit)
	var list [][]byte
	out, seq := 0, 0
	for ; seq < l.n && !failed(); seq++ {
		at := now()
		if at >= stop {
			break
		}
		if l.rate > 0 {
			at = start + int64(seq)*int64(time.Second)/int64(l.rate)
			sleepUntil(at)
		}
		if out == len(list) {
			var ok bool
			if list, ok = w.take(list, nil); !ok {
				break
			}
			out = 0
			if l.rate == 0 {
				at = now()
			}
		}
		b := list[out]
		out++
		stamp(b, uint64(seq), at)
		if err := pub.Publish(b); err != nil {
			return err
		}
	}
	return awaitAll(w, l.window-(len(list)-out))
}

// awaitAll waits until so many payloads are back: all acks are in.
func awaitAll(w *window, n int) error {
	timeout := time.After(20 * time.Second)
	for n > 0 {
		back, ok := w.take(nil, timeout)
		if !ok {
			return errors.New("acks missing 20 s after the last message")
		}
		n -= len(back)
	}
	return nil
}

func sleepUntil(at int64) {
	for d := at - now(); d > 0; d = at - now() {
		ts := syscall.NsecToTimespec(d)
		_ = syscall.Nanosleep(&ts, nil) // cut short by a signal: the loop looks again
	}
}

var logSeq atomic.Int64

// withLog runs fn on a fresh log.
func withLog(p Peer, fn func(log string) error) error {
	log := fmt.Sprintf("log%d", logSeq.Add(1))
	if err := retry(10*time.Second, func() error { return p.CreateLog(log) }); err != nil {
		return err
	}
	defer func() { _ = p.DeleteLog(log) }() // the cluster's files go at the end anyway
	if err := retry(10*time.Second, func() error { _, err := p.Leader(log); return err }); err != nil {
		return err
	}
	return fn(log)
}

// runPublish is one load on a fresh log.
func runPublish(p Peer, name string, l load) *Result {
	r := newResult(name, l.String())
	r.fail(withLog(p, func(log string) error { return measurePublish(p, log, l, r) }))
	return r
}

func measurePublish(p Peer, log string, l load, r *Result) error {
	acks := newHist()
	before := readUsage(p.Nodes())
	n, took, err := publish(p, log, l, acks)
	if err != nil {
		return err
	}
	before.report(r.Metrics, p.Nodes(), n)
	r.rate(n, l.size, took)
	r.quantiles("", acks)
	return nil
}

// runEndToEnd publishes at a fixed rate with a consumer attached.
func runEndToEnd(p Peer, l load) *Result {
	r := newResult("end to end", l.String())
	r.fail(withLog(p, func(log string) error {
		leader, err := p.Leader(log)
		if err != nil {
			return err
		}
		delivery := newHist()
		var got atomic.Int64
		stop, err := p.Consume(log, leader, func(b []byte) {
			delivery.record(now() - atOf(b))
			got.Add(1)
		})
		if err != nil {
			return err
		}
		defer stop()
		if err := measurePublish(p, log, l, r); err != nil {
			return err
		}
		if err := retry(10*time.Second, func() error {
			if got.Load() < int64(r.Metrics[figures.Messages]) {
				return fmt.Errorf("delivered %d of %.0f", got.Load(), r.Metrics[figures.Messages])
			}
			return nil
		}); err != nil {
			return err
		}
		r.quantiles("delivery_", delivery)
		return nil
	}))
	return r
}

// runDrain publishes and then reads all of it from the start with one consumer. It
// returns one result for each half.
func runDrain(p Peer, l load) []*Result {
	pub, drain := newResult("throughput", l.String()), newResult("drain", figures.Bytes(l.size))
	err := withLog(p, func(log string) error {
		if err := measurePublish(p, log, l, pub); err != nil {
			pub.fail(err)
			return err
		}
		leader, err := p.Leader(log)
		if err != nil {
			return err
		}
		return measureDrain(p, log, leader, l.size, int(pub.Metrics[figures.Messages]), drain)
	})
	drain.fail(err)
	return []*Result{pub, drain}
}

func measureDrain(p Peer, log string, leader, size, n int, r *Result) error {
	seen, done := make([]bool, n), make(chan struct{})
	var got atomic.Int64
	var wrong atomic.Int64
	before := readUsage(p.Nodes())
	start := time.Now()
	stop, err := p.Consume(log, leader, func(b []byte) {
		if s := seqOf(b); s >= uint64(n) || seen[s] {
			wrong.Add(1)
			return
		} else {
			seen[s] = true
		}
		if got.Add(1) == int64(n) {
			close(done)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		return fmt.Errorf("drained %d of %d in 30 s", got.Load(), n)
	}
	took := time.Since(start)
	before.report(r.Metrics, p.Nodes(), n)
	r.rate(n, size, took)
	if w := wrong.Load(); w > 0 {
		r.Metrics["unexpected"] = float64(w)
	}
	return nil
}
