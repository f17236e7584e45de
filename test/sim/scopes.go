package sim

import (
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// scopes are the searches: each begins where something is at stake. A move more
// multiplies the states by four to six.
func scopes(short bool) []scope {
	deep := func(long, brief int) int {
		if short {
			return brief
		}
		return long
	}
	return []scope{
		{name: "founding", opening: founding, depth: deep(7, 6), maxTerm: 3, entries: 3, beats: true, want: miniFacts{founded: 3}},
		{name: "election", opening: election, depth: deep(7, 5), maxTerm: 3, entries: 3, beats: true, want: miniFacts{term: 1, founded: 3}},
		{name: "commit", opening: ledByN1, depth: deep(7, 6), maxTerm: 3, entries: 3, want: miniFacts{term: 2, committed: 2, founded: 3}},
		{name: "conflict", opening: conflict, depth: deep(8, 6), maxTerm: 4, entries: 4, want: miniFacts{term: 3, committed: 2, founded: 3}},
		{name: "figure 8", opening: figure8, depth: deep(7, 6), maxTerm: 5, entries: 4, want: miniFacts{term: 4, committed: 3, founded: 3}},
		{name: "shrinking", opening: shrinking, depth: deep(7, 6), maxTerm: 3, entries: 4, want: miniFacts{term: 2, committed: 3, founded: 3, groups: 2}},
		{name: "growing", opening: growing, depth: deep(7, 6), maxTerm: 3, entries: 6, want: miniFacts{term: 2, committed: 3, founded: 2, groups: 2}},
		{name: "replaced", opening: replaced, depth: deep(8, 7), maxTerm: 3, entries: 3, want: miniFacts{term: 2, committed: 3, founded: 2, proven: true}},
	}
}

// founding is a group that has yet to begin: all have asked.
func founding() *miniature {
	w := newMiniature(true)
	w.crashes = 1
	for i := range w.nodes {
		w.step(i, member.Tick{})
	}
	return w
}

// settle delivers and persists until nothing is left to do, without node out.
func (w *miniature) settle(out int) {
	for again := true; again; {
		again = false
		for len(w.net) > 0 {
			msg := w.net[0].msg
			w.net = w.net[1:]
			if r := msg.Route(); miniIndex(r.To) != out && miniIndex(r.From) != out {
				w.step(miniIndex(r.To), member.Receive{Message: msg})
			}
		}
		for i, n := range w.nodes {
			if i != out && n.durable < len(n.terms) {
				w.persist(i)
				again = true
			}
		}
	}
}

// wait lets so much time pass for node i that it acts.
func (w *miniature) wait(i int) {
	for range 2 {
		w.nodes[i].now = w.nodes[i].now.Add(miniWait)
		w.step(i, member.Tick{})
	}
}

// election is a group without a leader in which one member has begun to ask.
func election() *miniature {
	w := newMiniature(false)
	w.crashes, w.doubles = 1, 1
	w.wait(0)
	return w
}

// ledByN1 is a group that n1 leads in term 1.
func ledByN1() *miniature {
	w := newMiniature(false)
	w.wait(0)
	w.settle(-1)
	w.proposals, w.crashes, w.doubles = 1, 1, 1
	return w
}

// conflict is a group in which n1 holds an entry of term 1 that nobody else has, and
// n2 leads term 2.
func conflict() *miniature {
	w := ledByN1()
	w.step(0, member.Propose{Count: 1})
	w.persist(0)
	w.net = nil
	w.wait(1)
	w.wait(2)
	w.net = nil
	for range 2 {
		w.wait(1)
		w.settle(0)
	}
	w.proposals, w.crashes, w.doubles = 0, 1, 0
	return w
}

// replaced is a group in which n1 and n3 had committed an entry that n2 lacks. n3 has
// lost its disk, and has got back from n1 all that it had.
func replaced() *miniature {
	w := newMiniature(false)
	w.wait(0)
	w.settle(-1)
	w.step(0, member.Propose{Count: 1})
	w.settle(1)
	w.wipe(2)
	w.net = nil
	w.crashes, w.doubles = 1, 0
	w.step(0, member.Connected{Peer: "n3"})
	w.settle(1)
	w.step(0, member.Connected{Peer: "n2"})
	return w
}
