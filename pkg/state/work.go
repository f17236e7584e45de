package state

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// WorkPolicy is how a work-queue group treats messages that are not acknowledged.
type WorkPolicy struct {
	// MaxAttempts after which a message is a dead letter; 0: never.
	MaxAttempts int
	// A message is delivered again after BackoffMinMs, which doubles with each attempt up
	// to BackoffMaxMs.
	BackoffMinMs, BackoffMaxMs int64
	// FIFO delivers messages of one message group one after the other.
	FIFO bool
}

// WorkStanding is how a work-queue group stands with one message.
type WorkStanding struct {
	Done bool
	// Attempts is how often the message has been delivered in vain, as far as is stored;
	// VisibleAtMs is when it may be delivered again, Unix ms.
	Attempts    int
	VisibleAtMs int64
}

// work is what a work-queue group has done of a queue above its progress.
type work struct {
	done   doneSet
	tries  map[Offset]try
	stored bool // there is a key for done
}

// try is an offset that was delivered and is not done.
type try struct {
	attempts  uint32
	visibleAt int64 // Unix ms
}

// doneSet are offsets above a floor, one bit each.
type doneSet struct {
	base  Offset // of the first word, a multiple of 64
	words []uint64
}

func (d *doneSet) has(o Offset) bool {
	n := int64(o-d.base) / 64
	return o >= d.base && n < int64(len(d.words)) && d.words[n]>>(uint64(o)%64)&1 != 0
}

// add enters an offset at or above the floor.
func (d *doneSet) add(floor, o Offset) {
	if len(d.words) == 0 {
		d.base = floor &^ 63
	}
	for int64(o-d.base)/64 >= int64(len(d.words)) {
		d.words = append(d.words, 0)
	}
	d.words[(o-d.base)/64] |= 1 << (uint64(o) % 64)
}

// raise returns the first offset from floor on that is not in the set, and forgets what
// is below it. The words are as few as possible: they are stored as they are.
func (d *doneSet) raise(floor Offset) Offset {
	for d.has(floor) {
		word := d.words[(floor-d.base)/64] >> (uint64(floor) % 64)
		floor += Offset(bits.TrailingZeros64(^word))
	}
	drop := min(max(0, int64(floor-d.base)/64), int64(len(d.words)))
	d.words = d.words[drop:]
	d.base += Offset(drop * 64)
	if len(d.words) > 0 && floor > d.base {
		d.words[0] &^= 1<<(uint64(floor)%64) - 1
	}
	for len(d.words) > 0 && d.words[len(d.words)-1] == 0 {
		d.words = d.words[:len(d.words)-1]
	}
	if len(d.words) == 0 {
		*d = doneSet{}
	}
	return floor
}

// count is how many offsets are in the set.
func (d *doneSet) count() (n int) {
	for _, w := range d.words {
		n += bits.OnesCount64(w)
	}
	return n
}

func (d *doneSet) append(b []byte) []byte {
	b = append(b, valueVersion)
	b = binary.AppendUvarint(b, uint64(d.base))
	for _, w := range d.words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func parseDoneSet(b []byte) (doneSet, error) {
	r := valueReader{b: b}
	r.version()
	d := doneSet{base: Offset(r.int64())}
	if n := len(r.b); r.bad || d.base%64 != 0 || n == 0 || n%8 != 0 || n/8 > WorkWindow/64+1 {
		return d, errValue
	}
	for ; len(r.b) > 0; r.b = r.b[8:] {
		d.words = append(d.words, binary.LittleEndian.Uint64(r.b))
	}
	if d.words[len(d.words)-1] == 0 {
		return d, errValue
	}
	return d, nil
}

func (t try) append(b []byte) []byte {
	b = append(b, valueVersion)
	b = binary.AppendUvarint(b, uint64(t.attempts))
	return binary.AppendVarint(b, t.visibleAt)
}

func parseTry(b []byte) (try, error) {
	r := valueReader{b: b}
	r.version()
	t := try{attempts: r.uint32(), visibleAt: r.varint()}
	if t.attempts == 0 || t.attempts > MaxAttempts {
		r.bad = true
	}
	return t, r.end()
}

// workOf returns what a group has done of a queue; it makes one for Apply.
func (t *groupTable) workOf(st *groupState, q QueueID) *work {
	w := st.work[q]
	if w == nil {
		w = &work{tries: make(map[Offset]try)}
		if st.work == nil {
			st.work = make(map[QueueID]*work)
		}
		st.work[q] = w
	}
	return w
}

// Work tells how a work-queue group stands with n messages of a queue from an offset on;
// nil: there is no such group. What is below its progress is done.
func (s *Store) Work(group uint64, q QueueID, from Offset, n int) []WorkStanding {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	st := t.mu.byID[group]
	if st == nil {
		return nil
	}
	p, _ := st.of(q)
	w := st.work[q]
	all := make([]WorkStanding, n)
	for i := range all {
		o := from + Offset(i)
		all[i].Done = o < p.Offset || w != nil && w.done.has(o)
		if w != nil {
			tried := w.tries[o]
			all[i].Attempts, all[i].VisibleAtMs = int(tried.attempts), tried.visibleAt
		}
	}
	return all
}

// WorkCounts is how many messages of a queue above its progress a work-queue group has
// done, and how many were tried and are not done.
func (s *Store) WorkCounts(group uint64, q QueueID) (done, tried int) {
	t := s.work.groups
	t.mu.RLock()
	defer t.mu.RUnlock()
	if st := t.mu.byID[group]; st != nil && st.work[q] != nil {
		return st.work[q].done.count(), len(st.work[q].tries)
	}
	return 0, 0
}

// forgetWork drops what is known of a queue above a group's progress.
func (t *groupTable) forgetWork(st *groupState, q QueueID) {
	if w := st.work[q]; w != nil {
		t.mu.tries -= len(w.tries)
		delete(st.work, q)
	}
}

// sortedTries are the offsets that were tried, below a limit, in order.
func (w *work) sortedTries(below Offset) []Offset {
	var all []Offset
	for o := range w.tries {
		if o < below {
			all = append(all, o)
		}
	}
	slices.Sort(all)
	return all
}
