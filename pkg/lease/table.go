package lease

import (
	"container/heap"
	"math"
	"time"
)

// Offset is a message's number in its queue.
type Offset int64

// Config says how a Table treats messages.
type Config struct {
	// MaxAttempts after which a message is a dead letter; 0: never.
	MaxAttempts int
	// A message is delivered again after BackoffMin, which doubles with each attempt up to
	// BackoffMax.
	BackoffMin, BackoffMax time.Duration
	// FIFO delivers the messages of one message group one after the other.
	FIFO bool
	// Limit is how many messages the Table holds at most.
	Limit int
}

// Backoff is how long after a number of attempts in vain a message is delivered again.
func (c Config) Backoff(attempts int) time.Duration {
	wait := c.BackoffMin
	for n := 1; n < attempts && wait < c.BackoffMax; n++ {
		wait *= 2
	}
	return min(wait, c.BackoffMax)
}

// Message is one that is not done.
type Message struct {
	Offset Offset
	Group  string // message group; empty: in no order
	// Attempts in vain so far; VisibleAt is when it may be delivered again.
	Attempts  int
	VisibleAt time.Time
}

// Lease is a message in the hands of a consumer.
type Lease struct {
	Offset  Offset
	Seq     uint64 // names this lease among all of the Table
	Attempt int    // the first is 1
	Until   time.Time
}

// Table is the messages of one queue that are not done and known, for one group.
type Table struct {
	cfg     Config
	entries map[Offset]*entry
	pins    map[Offset]int // of which something is on its way through the ledger
	ready   byOffset
	timers  byTime
	dead    []Offset
	lines   map[string][]*entry // by message group: not done, in order
	seq     uint64
	leased  int
}

// entry is a message that the Table holds. It is in at most one of: ready, timers, dead.
type entry struct {
	Message
	lease Lease // Seq 0: none
	due   time.Time
	in    place
	at    int // there
}

type place uint8

const (
	nowhere place = iota
	inReady
	inTimers
	inDead
)

// New makes an empty Table, whose leases are numbered from seq + 1 on.
func New(cfg Config, seq uint64) *Table {
	return &Table{cfg: cfg, seq: seq, entries: map[Offset]*entry{}, pins: map[Offset]int{}, lines: map[string][]*entry{}}
}

// Len is how many messages the Table holds, Leased how many of them are leased.
func (t *Table) Len() int { return len(t.entries) }

// Leased is how many messages are in the hands of consumers.
func (t *Table) Leased() int { return t.leased }

// Pinned is of how many messages something is on its way through the ledger.
func (t *Table) Pinned() int { return len(t.pins) }

// Full says that Add would refuse.
func (t *Table) Full() bool { return len(t.entries) >= t.cfg.Limit }

// Ready is how many messages could be leased now.
func (t *Table) Ready() int { return len(t.ready) }

// Add lets the Table hold a message; offsets are added in their order, without those that
// are done. False: it is full.
func (t *Table) Add(now time.Time, m Message) bool {
	if t.Full() {
		return false
	}
	if t.entries[m.Offset] != nil {
		return true
	}
	e := &entry{Message: m}
	t.entries[m.Offset] = e
	if t.ordered(e) {
		t.lines[m.Group] = append(t.lines[m.Group], e)
	}
	t.settle(now, e)
	return true
}

func (t *Table) ordered(e *entry) bool { return t.cfg.FIFO && e.Group != "" }

// exhausted says that the message has had all its attempts.
func (t *Table) exhausted(e *entry) bool {
	return t.cfg.MaxAttempts > 0 && e.Attempts >= t.cfg.MaxAttempts
}

// settle puts an entry where it belongs: it is in no place before.
func (t *Table) settle(now time.Time, e *entry) {
	switch {
	case t.pins[e.Offset] > 0:
	case e.lease.Seq != 0:
		t.wait(e, e.lease.Until)
	case t.ordered(e) && t.lines[e.Group][0] != e:
	case t.exhausted(e):
		e.in = inDead
		t.dead = append(t.dead, e.Offset)
	case e.VisibleAt.After(now):
		t.wait(e, e.VisibleAt)
	default:
		e.in = inReady
		heap.Push(&t.ready, e)
	}
}

func (t *Table) wait(e *entry, due time.Time) {
	e.due, e.in = due, inTimers
	heap.Push(&t.timers, e)
}

// lift takes an entry out of its place.
func (t *Table) lift(e *entry) {
	switch e.in {
	case inReady:
		heap.Remove(&t.ready, e.at)
	case inTimers:
		heap.Remove(&t.timers, e.at)
	case inDead:
		for i, o := range t.dead {
			if o == e.Offset {
				t.dead = append(t.dead[:i], t.dead[i+1:]...)
				break
			}
		}
	case nowhere:
	}
	e.in = nowhere
}

// Take leases up to n messages that are ready, the lowest offsets first.
func (t *Table) Take(now time.Time, n int, invisible time.Duration) (leases []Lease) {
	for len(leases) < n && len(t.ready) > 0 {
		e := t.ready[0]
		t.lift(e)
		t.seq++
		e.lease = Lease{Offset: e.Offset, Seq: t.seq, Attempt: e.Attempts + 1, Until: now.Add(invisible)}
		t.leased++
		t.settle(now, e)
		leases = append(leases, e.lease)
	}
	return leases
}

// Holds says whether a lease is the one that holds its message now.
func (t *Table) Holds(o Offset, seq uint64) bool {
	e := t.entries[o]
	return e != nil && seq != 0 && e.lease.Seq == seq
}

// Free says that nobody holds the message: it was not leased, or the lease has ended.
func (t *Table) Free(o Offset) bool { e := t.entries[o]; return e == nil || e.lease.Seq == 0 }

// LeaseOf returns the lease on a message; false: nobody has it.
func (t *Table) LeaseOf(o Offset) (Lease, bool) {
	e := t.entries[o]
	if e == nil || e.lease.Seq == 0 {
		return Lease{}, false
	}
	return e.lease, true
}

// Extend makes a lease end at another time; false: it is not in force.
func (t *Table) Extend(now time.Time, o Offset, seq uint64, until time.Time) bool {
	if !t.Holds(o, seq) {
		return false
	}
	e := t.entries[o]
	t.lift(e)
	e.lease.Until = until
	t.settle(now, e)
	return true
}

// Release ends a lease as if it had never been: nobody was given the message.
func (t *Table) Release(now time.Time, o Offset, seq uint64) {
	if t.Holds(o, seq) {
		e := t.entries[o]
		t.lift(e)
		t.unlease(e)
		t.settle(now, e)
	}
}

func (t *Table) unlease(e *entry) {
	if e.lease.Seq != 0 {
		e.lease = Lease{}
		t.leased--
	}
}

// Pin keeps a message from being leased, and its lease from ending: what became of it is on
// its way through the ledger. Done or Delay say what came of that, and then Unpin; Unpin
// alone says that nothing did, and a lease that there was goes on. Also offsets that the
// Table does not hold (yet) can be pinned.
func (t *Table) Pin(o Offset) {
	t.pins[o]++
	if e := t.entries[o]; e != nil {
		t.lift(e)
	}
}

// Unpin ends a pin.
func (t *Table) Unpin(now time.Time, o Offset) {
	if t.pins[o]--; t.pins[o] <= 0 {
		delete(t.pins, o)
	}
	if e := t.entries[o]; e != nil && e.in == nowhere {
		t.settle(now, e)
	}
}

// Done forgets a message that is done, and lets the next one of its message group come.
func (t *Table) Done(now time.Time, o Offset) {
	e := t.entries[o]
	if e == nil {
		return
	}
	t.lift(e)
	t.unlease(e)
	delete(t.entries, o)
	if !t.ordered(e) {
		return
	}
	line := t.lines[e.Group]
	for i := range line {
		if line[i] == e {
			line = append(line[:i:i], line[i+1:]...)
			break
		}
	}
	if len(line) == 0 {
		delete(t.lines, e.Group)
		return
	}
	t.lines[e.Group] = line
	if line[0].in == nowhere {
		t.settle(now, line[0])
	}
}

// DoneBelow forgets all messages below an offset.
func (t *Table) DoneBelow(now time.Time, low Offset) {
	for o := range t.entries {
		if o < low {
			t.Done(now, o)
		}
	}
}

// Delay notes that a message was tried in vain: so often by now, and not again before a
// time. Attempts never fall.
func (t *Table) Delay(now time.Time, o Offset, attempts int, visibleAt time.Time) {
	e := t.entries[o]
	if e == nil {
		return
	}
	t.lift(e)
	t.unlease(e)
	e.Attempts, e.VisibleAt = max(e.Attempts, attempts), visibleAt
	t.settle(now, e)
}

// Tick lets time pass: messages that have waited are ready, and leases that have ended are
// returned, pinned. The caller stores the attempt, and says Delay and Unpin.
func (t *Table) Tick(now time.Time) (expired []Lease) {
	for len(t.timers) > 0 && !t.timers[0].due.After(now) {
		e := t.timers[0]
		if e.lease.Seq != 0 {
			expired = append(expired, e.lease)
			t.Pin(e.Offset)
			t.unlease(e)
			continue
		}
		t.lift(e)
		t.settle(now, e)
	}
	return expired
}

// Dead returns up to n dead letters, pinned. The caller moves them away, and says Done and
// Unpin; or only Unpin, and they come again.
func (t *Table) Dead(n int) []Offset {
	dead := append([]Offset(nil), t.dead[:min(n, len(t.dead))]...)
	for _, o := range dead {
		t.Pin(o)
	}
	return dead
}

// HasDead says whether there are dead letters.
func (t *Table) HasDead() bool { return len(t.dead) > 0 }

// Next is when Tick has something to do; the far future if never.
func (t *Table) Next() time.Time {
	if len(t.timers) == 0 {
		return time.Unix(math.MaxInt32, 0)
	}
	return t.timers[0].due
}

// byOffset is a heap of entries by offset.
type byOffset []*entry

// Len implements heap.Interface.
func (h byOffset) Len() int { return len(h) }

// Less implements heap.Interface.
func (h byOffset) Less(i, j int) bool { return h[i].Offset < h[j].Offset }

// Swap implements heap.Interface.
func (h byOffset) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push implements heap.Interface.
func (h *byOffset) Push(x any) { e := x.(*entry); e.at = len(*h); *h = append(*h, e) }

// Pop implements heap.Interface.
func (h *byOffset) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}

// byTime is a heap of entries by when they are due, then by offset.
type byTime []*entry

// Len implements heap.Interface.
func (h byTime) Len() int { return len(h) }

// Less implements heap.Interface.
func (h byTime) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].Offset < h[j].Offset
}

// Swap implements heap.Interface.
func (h byTime) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

// Push implements heap.Interface.
func (h *byTime) Push(x any) { e := x.(*entry); e.at = len(*h); *h = append(*h, e) }

// Pop implements heap.Interface.
func (h *byTime) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
