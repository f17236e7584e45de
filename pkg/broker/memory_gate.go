package broker

import (
	"context"
	"log/slog"
	"runtime"
	gometrics "runtime/metrics"
	"sync"
	"sync/atomic"
	"time"
)

// gateLook is how often the memory gate looks, gateCollect how often at most it has
// the garbage collected while it is closed, to see what is really in use.
const (
	gateLook    = 5 * time.Millisecond
	gateCollect = 100 * time.Millisecond
)

// memoryGate stands between the clients and this process's memory. Queues have their
// own bounds; what they do not bound is how many requests arrive at once and how many
// answers lie about because nobody reads them. When too much memory is in use, the
// gate closes: client connections are not read, so TCP holds the clients back, and
// pulls are refused. Other members' connections are never held up.
type memoryGate struct {
	limit    uint64 // bytes of objects, garbage included until it is collected
	inUse    func() uint64
	collect  func()
	log      *slog.Logger
	closings atomic.Int64

	mu struct {
		sync.Mutex
		open chan struct{} // nil: the gate is open; else closed when it opens
	}
}

func newMemoryGate(memory Size, log *slog.Logger) *memoryGate {
	return &memoryGate{limit: uint64(float64(memory) * gateShare), inUse: heapInUse, collect: runtime.GC, log: log}
}

// heapInUse is the bytes of all objects, with the garbage that is not swept yet.
func heapInUse() uint64 {
	sample := []gometrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	gometrics.Read(sample)
	return sample[0].Value.Uint64()
}

// run opens and closes the gate until ctx is done; then it is open.
func (g *memoryGate) run(ctx context.Context) error {
	tick := time.NewTicker(gateLook)
	defer tick.Stop()
	defer g.set(false)
	var collected time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		use := g.inUse()
		if use >= g.limit {
			g.set(true) // until the garbage among it is known
		}
		if g.closed() && use >= g.opensBelow() && time.Since(collected) >= gateCollect {
			g.collect()
			collected, use = time.Now(), g.inUse()
		}
		if use < g.opensBelow() {
			g.set(false)
		}
	}
}

// opensBelow is a little less than where it closes.
func (g *memoryGate) opensBelow() uint64 { return g.limit - g.limit/16 }

func (g *memoryGate) set(closed bool) {
	opened, changed := g.swap(closed)
	switch {
	case !changed:
	case closed:
		g.closings.Add(1)
		g.log.Debug("memory is short: clients are not read and pulls are refused until some is free", "in_use", roundSize(int64(g.inUse())), "allowed", roundSize(int64(g.limit)))
	default:
		close(opened)
		g.log.Debug("memory is free again")
	}
}

func (g *memoryGate) swap(closed bool) (opened chan struct{}, changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if closed == (g.mu.open != nil) {
		return nil, false
	}
	opened, g.mu.open = g.mu.open, nil
	if closed {
		g.mu.open = make(chan struct{})
	}
	return opened, true
}

// wait returns when the gate is open or over is closed.
func (g *memoryGate) wait(over <-chan struct{}) {
	g.mu.Lock()
	open := g.mu.open
	g.mu.Unlock()
	if open == nil {
		return
	}
	select {
	case <-open:
	case <-over:
	}
}

func (g *memoryGate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.open != nil
}

// refusal is the error for what would take more memory, nil while there is some.
func (g *memoryGate) refusal() error {
	if !g.closed() {
		return nil
	}
	return errorf(CodeLimitExceeded, "the broker has no memory left for more answers: see limits.memory")
}
