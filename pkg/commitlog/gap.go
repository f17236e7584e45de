package commitlog

import (
	"fmt"
	"slices"
	"sort"
)

// gap is a run of entries that the segments do not hold any more: their bytes
// are damaged. What stands on both sides is good, so the chain before the first
// and that of the last are known, and with them what the entries must be.
type gap struct {
	first, last Index
	before      uint32 // chain CRC of the entry before first
	after       uint32 // chain CRC of last
	damage
	hole  bool   // there is no segment file for it at all
	patch *patch // a repair file holds them; nil: they are faulty
}

// damage is where bytes are not what was written.
type damage struct {
	path string
	pos  int64
	why  string
}

// pieces cuts a gap into what the repair files hold and what is faulty.
func (g gap) pieces(patches []*patch) gaps {
	for _, p := range patches {
		if g.patch != nil || !p.fits(&g) {
			continue
		}
		held := g
		held.patch = p
		var before, after gaps
		if p.first > g.first {
			lost := g
			lost.last, lost.after = p.first-1, p.chains[0]
			held.first, held.before = p.first, p.chains[0]
			before = lost.pieces(patches)
		}
		if p.last < g.last {
			lost := g
			lost.first, lost.before = p.last+1, p.chainAt(p.last)
			held.last, held.after = p.last, p.chainAt(p.last)
			after = lost.pieces(patches)
		}
		return slices.Concat(before, gaps{held}, after)
	}
	return gaps{g}
}

// gaps are in order and do not overlap.
type gaps []gap

// next is the first gap that ends at i or behind it, nil if there is none.
func (g gaps) next(i Index) *gap {
	n := sort.Search(len(g), func(n int) bool { return g[n].last >= i })
	if n == len(g) {
		return nil
	}
	return &g[n]
}

// at is the gap that holds entry i, nil if none does.
func (g gaps) at(i Index) *gap {
	if n := g.next(i); n != nil && n.first <= i {
		return n
	}
	return nil
}

// truncate drops the entries behind `at`.
func (g gaps) truncate(at tip) gaps {
	kept := g[:sort.Search(len(g), func(n int) bool { return g[n].first > at.index })]
	if n := len(kept); n > 0 && kept[n-1].last > at.index {
		kept[n-1].last, kept[n-1].after = at.index, at.chain
	}
	return kept
}

// from drops the gaps before entry i, which none of them holds.
func (g gaps) from(i Index) gaps {
	return g[sort.Search(len(g), func(n int) bool { return g[n].last >= i }):]
}

// outside are the gaps that do not lie within first to last.
func (g gaps) outside(first, last Index) (before, after gaps) {
	n := sort.Search(len(g), func(n int) bool { return g[n].last >= first })
	m := sort.Search(len(g), func(n int) bool { return g[n].first > last })
	return g[:n:n], g[max(n, m):]
}

// faulty are the gaps without a patch, neighbours taken together.
func (g gaps) faulty() []gap {
	var all []gap
	for _, one := range g {
		if one.patch != nil {
			continue
		}
		if n := len(all); n > 0 && all[n-1].last+1 == one.first {
			all[n-1].last, all[n-1].after = one.last, one.after
			continue
		}
		all = append(all, one)
	}
	return all
}

// patched are the gaps, cut into what the repair files hold and what is faulty.
func (g gaps) patched(patches []*patch) gaps {
	var all gaps
	for _, one := range g {
		all = append(all, one.pieces(patches)...)
	}
	return all
}

// count is how many entries are faulty.
func (g gaps) count() (n Index) {
	for _, one := range g {
		if one.patch == nil {
			n += one.last - one.first + 1
		}
	}
	return n
}

// FaultyRange is a run of entries of which this disk holds no good copy.
type FaultyRange struct {
	First, Last Index
	Path        string // the file that held them
	Position    int64  // byte position in it where the damage begins
	Why         string
}

// String names the entries and the place.
func (r FaultyRange) String() string {
	return fmt.Sprintf("entries %d to %d (%s at position %d: %s)", r.First, r.Last, r.Path, r.Position, r.Why)
}

func (g gap) faultyRange() FaultyRange {
	return FaultyRange{First: g.first, Last: g.last, Path: g.path, Position: g.pos, Why: g.why}
}

// Faulty lists the entries of which this disk holds no good copy, in order.
// None: the log is whole.
func (l *Log) Faulty() []FaultyRange {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []FaultyRange
	for _, g := range l.mu.gaps.faulty() {
		all = append(all, g.faultyRange())
	}
	return all
}

// FaultyAfter is the first faulty entry behind i, if there is any.
func (l *Log) FaultyAfter(i Index) (Index, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.mu.gaps {
		if g.patch == nil && g.last > i {
			return max(g.first, i+1), true
		}
	}
	return NoIndex, false
}

// Damaged is signalled when entries were found to be faulty while the log was
// open. Capacity 1: one signal may stand for many.
func (l *Log) Damaged() <-chan struct{} { return l.damaged }

// FaultyError refuses to read an entry whose bytes on this disk are damaged.
// Its neighbours are readable. Repair ends it.
type FaultyError struct{ FaultyRange }

// Error says which entries, where, and what happens about it.
func (e *FaultyError) Error() string {
	return fmt.Sprintf("%v: %v; the copy of another member can replace it", ErrFaulty, e.FaultyRange)
}

// Unwrap makes it an ErrFaulty.
func (e *FaultyError) Unwrap() error { return ErrFaulty }

// faultyLocked is the faulty range that holds entry i.
func (l *Log) faultyLocked(i Index) FaultyRange {
	for _, g := range l.mu.gaps.faulty() {
		if g.first <= i && i <= g.last {
			return g.faultyRange()
		}
	}
	panic(fmt.Sprintf("commitlog: entry %d is not faulty", i))
}

// countFaultyLocked sets the gauge anew.
func (l *Log) countFaultyLocked() {
	l.metrics.faulty.Set(float64(l.mu.gaps.count()))
}
