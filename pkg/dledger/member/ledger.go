package member

import (
	"fmt"
	"slices"
)

// Ledger is the outline of a member's ledger: where it begins and ends, and from
// which index on which term holds. It has one Run per leadership however long the
// ledger is, and answers every question the protocol asks of a ledger. The bodies
// are the shell's. A Ledger handed to New is taken to be durable as a whole.
type Ledger struct {
	begin    Index // of the first entry held; what lies before was committed and purged
	prevTerm Term  // of the entry before begin
	end      Index // of the last entry, begin-1 if there is none
	runs     []Run // terms grow strictly; the first run covers begin
}

// NewLedger outlines a ledger that holds the entries from begin to end, where end
// is begin-1 if it holds none. prevTerm is the term of the entry before begin,
// NoTerm if begin is 0. New refuses an outline that is not sound.
func NewLedger(begin Index, prevTerm Term, runs []Run, end Index) Ledger {
	return Ledger{begin: begin, prevTerm: prevTerm, end: end, runs: slices.Clone(runs)}
}

// validate says what is wrong with an outline that came from outside.
func (l *Ledger) validate() error {
	if l.begin < 0 || l.end < l.begin-1 {
		return fmt.Errorf("ledger outline: range %d to %d is no range: rebuild it from the segments", l.begin, l.end)
	}
	if (l.begin == 0) != (l.prevTerm == NoTerm) {
		return fmt.Errorf("ledger outline: begins at %d but the term before it is %d: rebuild it from the segments", l.begin, l.prevTerm)
	}
	if (len(l.runs) == 0) != (l.end < l.begin) || (len(l.runs) > 0 && l.runs[0].First != l.begin) {
		return fmt.Errorf("ledger outline: runs %v do not cover %d to %d: rebuild it from the segments", l.runs, l.begin, l.end)
	}
	term, next := max(l.prevTerm, 0), l.begin
	for i, run := range l.runs {
		falls := run.Term < term || (i > 0 && run.Term == term) || run.Term < 1
		if falls || run.First < next || run.First > l.end {
			return fmt.Errorf("ledger outline: runs %v are not in order up to %d: rebuild it from the segments", l.runs, l.end)
		}
		term, next = run.Term, run.First+1
	}
	return nil
}

// Begin is the index of the first entry held.
func (l *Ledger) Begin() Index { return l.begin }

// End is the index of the last entry, begin-1 if there is none.
func (l *Ledger) End() Index { return l.end }

// EndTerm is the term of the last entry (DLedger: ledgerEndTerm). It is derived,
// never kept beside the ledger, so that no truncation can leave it stale.
func (l *Ledger) EndTerm() Term {
	if len(l.runs) == 0 {
		return l.prevTerm
	}
	return l.runs[len(l.runs)-1].Term
}

// TermAt is the term of the entry at i, or of the entry before the first one; ok
// says whether it is known.
func (l *Ledger) TermAt(i Index) (term Term, ok bool) {
	if i == l.begin-1 {
		return l.prevTerm, true
	}
	if i < l.begin || i > l.end {
		return NoTerm, false
	}
	return l.runs[l.runOf(i)].Term, true
}

// Has says whether the ledger holds the entry (i, term). By Log Matching it then
// equals the ledger of whoever wrote that entry up to i. What was purged was
// committed and so agrees with every leader's ledger.
func (l *Ledger) Has(i Index, term Term) bool {
	if i < l.begin-1 {
		return true
	}
	t, ok := l.TermAt(i)
	return ok && t == term
}

// FirstOfTerm is the first index held of the term that the entry at i has; i itself
// if that is the one before the first.
func (l *Ledger) FirstOfTerm(i Index) Index {
	if i < l.begin || i > l.end {
		return min(i, l.begin-1)
	}
	return l.runs[l.runOf(i)].First
}

// LastOfTerm is the last index of term; ok says whether any entry of it is held.
func (l *Ledger) LastOfTerm(term Term) (last Index, ok bool) {
	last = l.end
	for i := len(l.runs) - 1; i >= 0 && l.runs[i].Term >= term; i-- {
		if l.runs[i].Term == term {
			return last, true
		}
		last = l.runs[i].First - 1
	}
	return NoIndex, false
}

// Runs are the terms of exactly the entries from first to last, both held.
func (l *Ledger) Runs(first, last Index) []Run {
	if first < l.begin || last > l.end || last < first {
		return nil
	}
	runs := slices.Clone(l.runs[l.runOf(first) : l.runOf(last)+1])
	runs[0].First = first
	return runs
}

// runOf is the place in runs of the one that covers i, which is held.
func (l *Ledger) runOf(i Index) int {
	place := len(l.runs) - 1
	for l.runs[place].First > i { // from the end: nearly all questions are about the tail
		place--
	}
	return place
}

// append puts count entries of term at the end.
func (l *Ledger) append(term Term, count Index) {
	assert(count > 0 && term >= max(l.EndTerm(), 1), "I3: append %d entries of term %d after term %d", count, term, l.EndTerm())
	if len(l.runs) == 0 || l.EndTerm() != term {
		l.runs = append(l.runs, Run{First: l.end + 1, Term: term})
	}
	l.end += count
}

// truncateFrom drops the entries from i on.
func (l *Ledger) truncateFrom(i Index) {
	assert(i >= l.begin && i <= l.end, "I3: truncate from %d outside of %d to %d", i, l.begin, l.end)
	l.end = i - 1
	for len(l.runs) > 0 && l.runs[len(l.runs)-1].First > l.end {
		l.runs = l.runs[:len(l.runs)-1]
	}
}
