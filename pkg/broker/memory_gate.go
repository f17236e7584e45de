package broker

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// gateLook is how often the memory gate looks by itself.
	gateLook = 5 * time.Millisecond
	// gateCollect is how often at most it has the garbage collected while it is closed, to
	// see what is really in use.
	gateCollect = 100 * time.Millisecond
	// gateTell is how often at most the log hears that memory is short.
	gateTell = 10 * time.Second
	// pullRetry is when a pull that was refused for want of memory may come again.
	pullRetry = 200 * time.Millisecond
	// trickleBytes may be read from each connection in each trickleSpan while the gate is
	// closed: a question for health or status, or a handshake, is smaller.
	trickleBytes = 4 * 1024
	trickleSpan  = time.Second
)

// memoryGate stands between the clients and this process's memory. Queues have their
// own bounds; what they do not bound is how many requests arrive at once and how many
// answers lie about because nobody reads them. When too much memory is in use, the
// gate closes: client connections are read in a trickle, so TCP holds the clients back,
// and pulls wait or are refused. Other members' connections are never held up.
type memoryGate struct {
	cfg      Config
	marks    atomic.Pointer[gateMarks]
	step     int64 // bytes that arrive without another look
	inUse    func() uint64
	collect  func()
	log      *slog.Logger
	closings atomic.Int64
	arrived  atomic.Int64 // bytes from clients since the last look
	tell     gateTeller   // of run
	gc       *gcPace      // of run; nil: the garbage collector is left alone

	mu struct {
		sync.Mutex
		open chan struct{} // nil: the gate is open; else closed when it opens
	}
}

// gateMarks are the two levels of a gate.
type gateMarks struct {
	limit uint64 // bytes in use, garbage included until it is collected
	opens uint64 // bytes in use below which it opens again
}

// newMemoryGate makes an open gate, for the group as it is configured.
func newMemoryGate(c Config, log *slog.Logger) *memoryGate {
	g := &memoryGate{step: int64(c.Limits.Memory / 64), cfg: c, inUse: c.MemoryInUse, collect: runtime.GC, log: log}
	g.fit(len(c.members()) - 1)
	if g.inUse == nil {
		g.inUse = memoryInUse
	}
	if c.ownProcess {
		g.gc = newGCPace()
	}
	return g
}

// fit moves the marks to where they belong in a group with so many peers. One goroutine
// at a time calls it.
func (g *memoryGate) fit(peers int) {
	was, now := g.marks.Load(), &gateMarks{}
	now.limit, now.opens = g.cfg.gateBytes(peers)
	if g.marks.Store(now); was == nil || *was == *now {
		return
	}
	if err := g.cfg.checkMemory(peers); err != nil {
		g.log.Warn("the group has grown, and memory may be short", "peers", peers, "err", err)
	}
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
		use := g.look()
		if g.closed() && use >= g.marks.Load().opens && time.Since(collected) >= gateCollect {
			g.collect()
			collected, use = time.Now(), g.inUse()
		}
		if use < g.marks.Load().opens {
			g.set(false)
		}
		g.tell.look(g, use)
		g.gc.look(time.Now())
	}
}

// look closes the gate if too much is in use, until the garbage among it is known.
func (g *memoryGate) look() uint64 {
	g.arrived.Store(0)
	use := g.inUse()
	if use >= g.marks.Load().limit {
		g.set(true)
	}
	return use
}

// took notes what has arrived from a client, and looks when that is much: a fast
// network brings more between two looks of run than there is room for.
func (g *memoryGate) took(bytes int) {
	if g.arrived.Add(int64(bytes)) >= g.step {
		g.look()
	}
}

func (g *memoryGate) set(closed bool) {
	opened, changed := g.swap(closed)
	switch {
	case !changed:
	case closed:
		g.closings.Add(1)
	default:
		close(opened)
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

// opening is closed when the gate opens; nil: it is open.
func (g *memoryGate) opening() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.open
}

func (g *memoryGate) closed() bool { return g.opening() != nil }

// waits returns nil when the gate is open, or opens before until; the error says what came
// first. A nil until never comes.
func (g *memoryGate) waits(ctx context.Context, until <-chan time.Time, ends streamEnds) error {
	opens := g.opening()
	if opens == nil {
		return nil
	}
	select {
	case <-opens:
		return nil
	case <-until:
		return &Error{
			Code: CodeLimitExceeded, RetryAfter: pullRetry,
			Message: "the broker has no memory left for more answers: try again, and see limits.memory",
		}
	case <-ends.lost:
		return errLeadershipOver
	case <-ends.stopping:
		return errorf(CodeShuttingDown, "the broker is shutting down")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// trickle is what one connection has brought while the gate was closed. One goroutine
// at a time.
type trickle struct {
	began time.Time
	taken int
}

// room waits until there is memory for what a read brings, or until over is closed, and
// returns how many bytes it may bring, most if the gate is open.
func (t *trickle) room(g *memoryGate, most int, over <-chan struct{}) int {
	for {
		opens := g.opening()
		if opens == nil {
			t.began = time.Time{}
			return most
		}
		now := time.Now()
		if now.Sub(t.began) >= trickleSpan {
			t.began, t.taken = now, 0
		}
		if t.taken < trickleBytes {
			return min(most, trickleBytes-t.taken)
		}
		next := time.NewTimer(trickleSpan - now.Sub(t.began))
		select {
		case <-opens:
		case <-next.C:
		case <-over:
			next.Stop()
			return most // the read fails
		}
		next.Stop()
	}
}

// gateTeller tells the log that memory is short, and when that is over, without
// filling it. It belongs to the goroutine of run.
type gateTeller struct {
	told    time.Time // zero: there is nothing to take back
	counted int64
}

func (t *gateTeller) look(g *memoryGate, use uint64) {
	since := time.Since(t.told)
	closings := g.closings.Load()
	switch {
	case closings > t.counted && (t.told.IsZero() || since >= gateTell):
		g.log.Warn("memory is short: clients are read in a trickle and pulls wait until some is free: raise limits.memory, or send less at once",
			"times", closings-t.counted, "in_use", roundSize(int64(use)), "allowed", roundSize(int64(g.marks.Load().limit)))
		t.told, t.counted = time.Now(), closings
	case !t.told.IsZero() && closings == t.counted && since >= gateTell && !g.closed():
		g.log.Info("memory is free again", "in_use", roundSize(int64(use)))
		t.told = time.Time{}
	}
}
