package commitlog

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// role says who may append: a leader's MASTER or a follower's SLAVE.
type role uint8

const (
	slave role = iota + 1
	master
)

// Log is one member's commit log. doc.go says who may call what from where.
type Log struct {
	cfg       Config
	metrics   *metrics
	recovered Recovery

	// token belongs to whoever writes files: a Sync, a truncation,
	// Close. It is a channel and not a mutex because I/O happens while it is
	// held. Readers and appenders never need it.
	token chan struct{}
	// purging belongs to whoever deletes segments that are not of the log any more, which
	// needs no token, and to Close, which waits for that. It is taken before the token.
	purging chan struct{}
	// w is owned by the holder of the token.
	w struct {
		active  *segment
		zeroing bool  // ZeroAhead will be called again without a signal
		synced  Index // last entry known to be fdatasynced
	}

	waiting   chan struct{} // capacity 1
	need      chan struct{} // capacity 1
	needZeros chan struct{} // capacity 1
	damaged   chan struct{} // capacity 1
	// needOutlines has capacity 1.
	needOutlines chan struct{}

	stopped atomic.Bool // Abandon was called: begin no further file operation

	mu struct {
		sync.Mutex
		role   role
		term   Term // that the role was taken in
		failed error
		closed bool

		begin    Index // first entry kept
		prevTerm Term  // of the entry before begin
		runs     []Run // terms of the entries kept
		end      tip   // last entry
		durable  tip   // last entry that Sync has confirmed
		epoch    uint64

		waitingSince time.Time // when the first entry was appended that no group has taken; zero: not known
		pace         pace

		segments  []*segment // never empty, the last one is active
		gaps      gaps       // what the segments have lost
		patches   []*patch   // repair files
		tail      tail
		prepared  *preparedSegment
		preparing bool
	}
}

func newLog(cfg Config) *Log {
	l := &Log{
		cfg:       cfg,
		metrics:   newMetrics(cfg.Registerer),
		token:     make(chan struct{}, 1),
		purging:   make(chan struct{}, 1),
		waiting:   make(chan struct{}, 1),
		need:      make(chan struct{}, 1),
		needZeros: make(chan struct{}, 1),
		damaged:   make(chan struct{}, 1),

		needOutlines: make(chan struct{}, 1),
	}
	l.mu.role = slave
	l.mu.term = NoTerm
	l.mu.tail = newTail(cfg.TailCacheBytes)
	return l
}

// Recovery says what Open found.
func (l *Log) Recovery() Recovery { return l.recovered }

// Begin is the first entry that the log keeps; with an empty log, the next one
// to come.
func (l *Log) Begin() Index {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.begin
}

// PrevTerm is the term of the entry before Begin, NoTerm if there never was one.
func (l *Log) PrevTerm() Term {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.prevTerm
}

// End is the last entry, durable or not. An empty log answers with the entry
// before Begin.
func (l *Log) End() (Index, Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.end.index, l.mu.end.term
}

// Durable is the last entry that a Sync has confirmed.
func (l *Log) Durable() (Index, Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.durable.index, l.mu.durable.term
}

// Unsynced is how many bytes of entries, headers included, were appended but
// are not yet confirmed by a Sync. A leader holds proposals back by it. Entries
// that a Sync is writing right now count too.
func (l *Log) Unsynced() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.tail.bytesFrom(l.mu.durable.index + 1)
}

// BytesAfter is how many bytes of entries, headers included, come after entry i. Where
// the first of them are not in memory any more it is less than that, and exact false.
func (l *Log) BytesAfter(i Index) (bytes int64, exact bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i >= l.mu.end.index {
		return 0, true
	}
	if _, exact = l.mu.tail.find(i + 1); exact || len(l.mu.tail.chunks) == 0 {
		return l.mu.tail.bytesFrom(i + 1), exact
	}
	return l.mu.tail.bytesFrom(l.mu.tail.chunks[0].first), false
}

// Epoch counts the truncations since Open.
func (l *Log) Epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.epoch
}

// Runs returns the terms of all entries kept, in order; the first run begins at
// Begin. An empty log has none.
func (l *Log) Runs() []Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Run(nil), l.mu.runs...)
}

// TermAt is the term of entry i, which may be the one before Begin. The error
// is ErrPurged or ErrBeyondEnd.
func (l *Log) TermAt(i Index) (Term, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i == l.mu.begin-1 {
		return l.mu.prevTerm, nil
	}
	if err := l.hasLocked(i); err != nil {
		return 0, err
	}
	return l.termLocked(i), nil
}

// Waiting is signalled when Sync has something to do. Capacity 1: one signal
// may stand for many appends.
func (l *Log) Waiting() <-chan struct{} { return l.waiting }

// SyncAgain signals Waiting: a Sync that found no space is to be tried again.
func (l *Log) SyncAgain() { signal(l.waiting) }

// NeedSegment is signalled when PrepareSegment should be called.
func (l *Log) NeedSegment() <-chan struct{} { return l.need }

// BecomeMaster lets only appends of a leader of that term in, and no truncation.
func (l *Log) BecomeMaster(term Term) { l.become(master, term) }

// BecomeSlave lets only entries in that a leader has stamped. A log begins as SLAVE.
func (l *Log) BecomeSlave(term Term) { l.become(slave, term) }

func (l *Log) become(r role, term Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.role, l.mu.term = r, term
}

func (l *Log) acquire() { l.token <- struct{}{} }
func (l *Log) release() { <-l.token }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// usableLocked says why nothing can be written any more, if so.
func (l *Log) usableLocked() error {
	if l.mu.closed {
		return ErrClosed
	}
	return l.mu.failed
}

func (l *Log) usable() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.usableLocked()
}

// fail makes the first write or sync error final and returns what every later
// call will.
func (l *Log) fail(err error) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	l.mu.Lock()
	first := l.mu.failed == nil
	if first {
		l.mu.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	err = l.mu.failed
	l.mu.Unlock()
	if first {
		l.cfg.Logger.Error("commit log failed; nothing more is written", "dir", l.cfg.Dir, "error", err)
	}
	return err
}

// hasLocked says why entry i cannot be read, if so.
func (l *Log) hasLocked(i Index) error {
	if i < l.mu.begin {
		return fmt.Errorf("%w: %d, the log begins at %d", ErrPurged, i, l.mu.begin)
	}
	if i > l.mu.end.index {
		return fmt.Errorf("%w: %d, the log ends at %d", ErrBeyondEnd, i, l.mu.end.index)
	}
	return nil
}

// termLocked is the term of entry i, which the log keeps.
func (l *Log) termLocked(i Index) Term { return termAt(l.mu.runs, i) }

// termAt is the term of entry i, which the runs cover.
func termAt(runs []Run, i Index) Term {
	n := sort.Search(len(runs), func(n int) bool { return runs[n].First > i })
	return runs[n-1].Term
}

// addRun records that entry i has that term.
func addRun(runs []Run, i Index, term Term) []Run {
	if n := len(runs); n > 0 && runs[n-1].Term == term {
		return runs
	}
	return append(runs, Run{First: i, Term: term})
}

// runsBefore keeps the runs of the entries before i.
func runsBefore(runs []Run, i Index) []Run {
	return runs[:sort.Search(len(runs), func(n int) bool { return runs[n].First >= i })]
}

// runsFrom keeps the runs of the entries from i to end.
func runsFrom(runs []Run, i, end Index) []Run {
	if i > end {
		return nil
	}
	n := sort.Search(len(runs), func(n int) bool { return runs[n].First > i })
	if n == 0 {
		return runs
	}
	kept := append([]Run(nil), runs[n-1:]...)
	kept[0].First = i
	return kept
}
