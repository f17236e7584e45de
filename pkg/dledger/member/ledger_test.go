package member

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"
)

// naiveLedger keeps the term of every entry.
type naiveLedger struct {
	begin    Index
	prevTerm Term
	terms    []Term
}

func (n naiveLedger) end() Index { return n.begin + Index(len(n.terms)) - 1 }

func (n naiveLedger) termAt(i Index) (Term, bool) {
	if i == n.begin-1 {
		return n.prevTerm, true
	}
	if i < n.begin || i > n.end() {
		return NoTerm, false
	}
	return n.terms[i-n.begin], true
}

func (n naiveLedger) runs(first, last Index) []Run {
	var out []Run
	for i := first; i <= last; i++ {
		if term, _ := n.termAt(i); len(out) == 0 || out[len(out)-1].Term != term {
			out = append(out, Run{First: i, Term: term})
		}
	}
	return out
}

// checkAgainstNaive compares every answer of the two.
func checkAgainstNaive(t *testing.T, l *Ledger, n naiveLedger) {
	t.Helper()
	if err := l.validate(); err != nil {
		t.Fatalf("%v", err)
	}
	endTerm, _ := n.termAt(n.end())
	if l.End() != n.end() || l.EndTerm() != endTerm {
		t.Fatalf("end: got %d/%d, want %d/%d", l.End(), l.EndTerm(), n.end(), endTerm)
	}
	for i := n.begin - 2; i <= n.end()+2; i++ {
		got, gotOK := l.TermAt(i)
		want, wantOK := n.termAt(i)
		if got != want || gotOK != wantOK {
			t.Fatalf("term at %d: got %d %v, want %d %v", i, got, gotOK, want, wantOK)
		}
		if wantOK && (!l.Has(i, want) || l.Has(i, want+1)) {
			t.Fatalf("has %d/%d: wrong", i, want)
		}
		if !wantOK || i < n.begin {
			continue
		}
		first := i
		for first > n.begin && n.terms[first-1-n.begin] == want {
			first--
		}
		if l.FirstOfTerm(i) != first {
			t.Fatalf("first of the term at %d: got %d, want %d", i, l.FirstOfTerm(i), first)
		}
	}
	for term := Term(1); term < 12; term++ {
		want := Index(slices.Index(reversed(n.terms), term))
		got, ok := l.LastOfTerm(term)
		if ok != (want >= 0) || (ok && got != n.end()-want) {
			t.Fatalf("last of term %d: got %d %v, want %d entries before the end", term, got, ok, want)
		}
	}
}

func reversed(terms []Term) []Term {
	out := slices.Clone(terms)
	slices.Reverse(out)
	return out
}

// FuzzLedger reads each byte as an operation on the outline and on a ledger that
// keeps every term.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{0, 1, 2, 0x83, 4, 5}, uint8(0))
	f.Add([]byte{7, 7, 0x90, 0x81, 1}, uint8(3))
	f.Fuzz(func(t *testing.T, ops []byte, begin uint8) {
		n := naiveLedger{begin: Index(begin), prevTerm: NoTerm}
		if begin > 0 {
			n.prevTerm = 1
		}
		l := NewLedger(n.begin, n.prevTerm, nil, n.begin-1)
		for _, op := range ops[:min(len(ops), 64)] {
			switch {
			case op&0x80 == 0: // append 1 to 4 entries, 0 to 2 terms on
				term := max(l.EndTerm(), 1) + Term(op>>4&3%3)
				count := Index(op&3) + 1
				l.append(term, count)
				for range count {
					n.terms = append(n.terms, term)
				}
			case len(n.terms) > 0:
				at := Index(int(op&0x7f) % len(n.terms))
				l.truncateFrom(n.begin + at)
				n.terms = n.terms[:at]
			}
			checkAgainstNaive(t, &l, n)
			if len(n.terms) > 0 {
				first := n.begin + Index(int(op)%len(n.terms))
				if got, want := l.Runs(first, n.end()), n.runs(first, n.end()); !slices.Equal(got, want) {
					t.Fatalf("runs from %d: got %v, want %v", first, got, want)
				}
			}
		}
	})
}

func TestLedgerRefusesUnsoundOutlines(t *testing.T) {
	for name, l := range map[string]Ledger{
		"negative begin":          NewLedger(-1, NoTerm, nil, -2),
		"end before begin":        NewLedger(5, 1, nil, 3),
		"no term before begin":    NewLedger(5, NoTerm, nil, 4),
		"a term before the first": NewLedger(0, 3, nil, -1),
		"entries without runs":    NewLedger(0, NoTerm, nil, 3),
		"runs without entries":    NewLedger(0, NoTerm, []Run{{0, 1}}, -1),
		"first run too late":      NewLedger(0, NoTerm, []Run{{1, 1}}, 3),
		"terms fall":              NewLedger(0, NoTerm, []Run{{0, 2}, {1, 1}}, 3),
		"terms repeat":            NewLedger(0, NoTerm, []Run{{0, 1}, {1, 1}}, 3),
		"term zero":               NewLedger(0, NoTerm, []Run{{0, 0}}, 3),
		"run beyond the end":      NewLedger(0, NoTerm, []Run{{0, 1}, {4, 2}}, 3),
		"below the term before":   NewLedger(5, 3, []Run{{5, 2}}, 6),
	} {
		if err := l.validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestQuorumIndex(t *testing.T) {
	naive := func(marks []Index) Index {
		best := NoIndex
		for _, candidate := range marks {
			holders := 0
			for _, mark := range marks {
				if mark >= candidate {
					holders++
				}
			}
			if holders >= len(marks)/2+1 {
				best = max(best, candidate)
			}
		}
		return best
	}
	check := func(seed uint64, size uint8) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		marks := make([]Index, 1+int(size)%maxVoters)
		for i := range marks {
			marks[i] = Index(r.Int64N(12)) - 1
		}
		want := naive(marks)
		return quorumIndex(marks) == want
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 5000}); err != nil {
		t.Fatal(err)
	}
}
