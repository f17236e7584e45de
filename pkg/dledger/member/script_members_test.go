package member

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// cmdJoin starts a member that the group does not know yet.
func cmdJoin(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	id := ID(ids[0])
	n := &node{
		cfg:   Config{ID: id, Members: Voters(g.ids...), Joining: true, Rand: newRand(0.5), Incarnation: directory(id, 1)},
		lives: 1, ledger: NewLedger(0, NoTerm, nil, NoIndex),
	}
	g.ids = append(g.ids, id)
	g.nodes[id] = n
	n.start(t, d, g.now)
}

// cmdChange asks a member for a step of a membership change.
func cmdChange(g *group, _ *testing.T, d *datadriven.TestData) {
	args, _ := words(d)
	op := map[string]ChangeOp{"add": AddLearner, "promote": Promote, "remove": Remove}[args[1]]
	g.step(ID(args[0]), ChangeMembers{Op: op, ID: ID(args[2])})
}

// cmdPurge drops what lies before an entry from the ledger of a member; its outline
// shows it only after a restart.
func cmdPurge(g *group, t *testing.T, d *datadriven.TestData) {
	who, args := words(d)
	n := g.node(t, d, who[0])
	n.ledger = n.ledger.from(Index(number(t, d, args["before"], 0)))
}

// from is the ledger without what lies before begin, which it holds.
func (l *Ledger) from(begin Index) Ledger {
	prev, _ := l.TermAt(begin - 1)
	return NewLedger(begin, prev, l.Runs(begin, l.end), l.end)
}

func cmdMembers(g *group, _ *testing.T, d *datadriven.TestData) {
	who, _ := words(d)
	for _, id := range g.sortedIDs() {
		n := g.nodes[id]
		if n.member == nil || (len(who) > 0 && !slices.Contains(who, string(id))) {
			continue
		}
		s := n.member.Status()
		changing := ""
		if s.Changing {
			changing = " CHANGING"
		}
		g.printf("%s %s:%s%s", id, s.Seat(), seatsText(s.Members), changing)
	}
}

func cmdPeers(g *group, t *testing.T, d *datadriven.TestData) {
	ids, _ := words(d)
	for _, p := range g.node(t, d, ids[0]).member.Status().Peers {
		seat := ""
		switch {
		case p.Leaving:
			seat = " LEAVING"
		case p.Learner:
			seat = " LEARNER"
		}
		g.printf("%s %v waterMark=%d next=%d fit=%v%s%s", p.ID, p.State, p.WaterMark, p.Next, p.Fit, mark(p.MayNotVote), seat)
	}
}

// entryID names an entry.
type entryID struct {
	index Index
	term  Term
}

// bodies are those of the entries that change the group.
type bodies map[entryID]Members

func (b bodies) keep(answers []ChangeAnswer) {
	for _, a := range answers {
		if a.At != NoIndex {
			b[entryID{a.At, a.Term}] = a.Members
		}
	}
}

// fill is what a receiver's shell does with an APPEND: it reads the entries that change
// the group.
func (b bodies) fill(ev Event) Event {
	receive, _ := ev.(Receive)
	r, ok := receive.Message.(PushRequest)
	if !ok || r.Type != Append {
		return ev
	}
	r.Changes = nil
	for i, run := range r.Runs {
		last := r.Last
		if i+1 < len(r.Runs) {
			last = r.Runs[i+1].First - 1
		}
		for at := run.First; at <= last; at++ {
			if members, ok := b[entryID{at, run.Term}]; ok {
				r.Changes = append(r.Changes, Change{At: at, Term: run.Term, Members: members})
			}
		}
	}
	return Receive{r}
}

func changesText(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintf(&b, " %d/%d:%s", c.At, c.Term, strings.ReplaceAll(seatsText(c.Members), " ", "+")[1:])
	}
	return b.String()
}

// seatsText writes a learner with a question mark.
func seatsText(seats []Seat) string {
	var b strings.Builder
	for _, s := range seats {
		b.WriteString(" " + string(s.ID))
		if s.Learner {
			b.WriteString("?")
		}
	}
	return cmp.Or(b.String(), " nobody")
}
