package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
)

// sampleEvery is of how many messages one has its latency measured where a look at
// the clock for each would be a good part of the work.
const sampleEvery = 32

// value is bytes that do not compress.
func value(size int) []byte {
	b := make([]byte, size)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// sent is a message whose outcome somebody waits for.
type sent struct {
	result *client.Result
	due    time.Time
}

// settle waits for outcomes in their order until in is closed. Latency counts from when
// a message was due.
func settle(in <-chan sent, each func(latency time.Duration, acked time.Time)) error {
	var first error
	for s := range in {
		receipt, err := s.result.Get(context.Background())
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		each(receipt.AckTime.Sub(s.due), receipt.AckTime)
	}
	return first
}

// collect settles in the background; what it returns ends that and says how it went.
func collect(in chan sent, each func(latency time.Duration, acked time.Time)) (finish func() error) {
	var g errgroup.Group
	g.Go(func() error { return settle(in, each) })
	return func() error {
		close(in)
		return g.Wait()
	}
}

// flood is messages published as fast as they are taken.
type flood struct {
	message client.Message
	n       int64
	every   int64                // of how many messages one has its latency measured
	queue   func(nth int64) *int // nil: the producer chooses
	key     func(nth int64) []byte
	stop    <-chan struct{} // closed: end early
	acked   func(time.Time) // told of measured acknowledgements, from one goroutine
}

// publish sends a flood with one producer and waits until all is acknowledged. It
// returns how many messages there were.
func (f flood) publish(ctx context.Context, p *client.Producer, h *figures.Histogram) (int64, error) {
	samples := make(chan sent, 64<<10)
	finish := collect(samples, func(latency time.Duration, acked time.Time) {
		h.Record(latency)
		if f.acked != nil {
			f.acked(acked)
		}
	})
	before := p.Stats()
	m, nth := f.message, int64(0)
	for ; nth < f.n && !over(f.stop); nth++ {
		if f.queue != nil {
			m.Queue = f.queue(nth)
		}
		if f.key != nil {
			m.Key = f.key(nth)
		}
		if nth%f.every == 0 {
			m.Timestamp = time.Now()
			samples <- sent{result: p.Publish(ctx, m), due: m.Timestamp}
			continue
		}
		p.Publish(ctx, m)
	}
	err := p.Flush(ctx)
	if e := finish(); err == nil {
		err = e
	}
	after := p.Stats()
	if acked := int64(after.Acked - before.Acked); err == nil && acked != nth {
		err = fmt.Errorf("%d messages published, %d acknowledged, %d failed, %d unknown", nth, acked, after.Failed, after.Unknown)
	}
	return nth, err
}

func over(c <-chan struct{}) bool {
	select {
	case <-c: // never when it is nil
		return true
	default:
		return false
	}
}

// pace calls do for n messages when each is due, however late the ones before were; it
// ends early when stop is closed. Timers of the runtime are too coarse for it.
func pace(n int64, perSecond int, stop <-chan struct{}, do func(due time.Time)) (done int64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := time.Now()
	for ; done < n && !over(stop); done++ {
		due := began.Add(time.Duration(done) * time.Second / time.Duration(perSecond))
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&ts, nil) // a signal cuts it short: the loop looks again
		}
		do(due)
	}
	return done
}

// openLoop publishes perSecond messages a second, whatever the answers do. Each value
// begins with when it was due.
func openLoop(ctx context.Context, p *client.Producer, size, perSecond int, n int64, stop <-chan struct{}) (*figures.Histogram, int64, error) {
	return loop{size: size, perSecond: perSecond, n: n, stop: stop}.publish(ctx, p)
}

// loop is an open loop.
type loop struct {
	size, perSecond int
	n               int64
	stop            <-chan struct{} // closed: end early
	key             func() []byte   // of the next message; nil: none has one
}

func (l loop) publish(ctx context.Context, p *client.Producer) (*figures.Histogram, int64, error) {
	h, all := figures.NewHistogram(), make(chan sent, 64<<10)
	finish := collect(all, func(latency time.Duration, _ time.Time) { h.Record(latency) })
	m := client.Message{Value: value(max(l.size, 8))}
	done := pace(l.n, l.perSecond, l.stop, func(due time.Time) {
		binary.LittleEndian.PutUint64(m.Value, uint64(due.Sub(epoch)))
		if l.key != nil {
			m.Key = l.key()
		}
		all <- sent{result: p.Publish(ctx, m), due: due}
	})
	return h, done, finish()
}

// epoch is where the times in values count from.
var epoch = time.Now()

// dueOf is when the message with a value was due.
func dueOf(value []byte) time.Time {
	return epoch.Add(time.Duration(binary.LittleEndian.Uint64(value)))
}
