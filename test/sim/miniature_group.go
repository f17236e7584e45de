package sim

import (
	"slices"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// miniChange is an entry that changes the group.
type miniChange struct {
	at      member.Index
	term    member.Term
	members member.Members
}

// firstGroup is the group as it began.
func (w *miniature) firstGroup() member.Members {
	var group member.Members
	for i, n := range w.nodes {
		if !n.joins {
			group = append(group, member.Seat{ID: miniID(i)})
		}
	}
	return group
}

// keepGroups remembers what the entries of accepted changes hold.
func (w *miniature) keepGroups(answers []member.ChangeAnswer) {
	for _, a := range answers {
		if a.At != member.NoIndex {
			w.groups = append(w.groups, miniChange{a.At, a.Term, a.Members})
		}
	}
}

// withGroups reads the changes among the entries of a push.
func (w *miniature) withGroups(ev member.Event) member.Event {
	receive, _ := ev.(member.Receive)
	p, ok := receive.Message.(member.PushRequest)
	if !ok || p.Type != member.Append || len(w.groups) == 0 {
		return ev
	}
	for at := p.First; at <= p.Last; at++ {
		term := p.Runs[0].Term
		for _, run := range p.Runs {
			if run.First <= at {
				term = run.Term
			}
		}
		k := slices.IndexFunc(w.groups, func(c miniChange) bool { return c.at == at && c.term == term })
		if k >= 0 {
			p.Changes = append(p.Changes, member.Change{At: at, Term: term, Members: w.groups[k].members})
		}
	}
	return member.Receive{Message: p}
}

// shrinking is a group that n1 leads and from which members are removed.
func shrinking() *miniature {
	w := ledByN1()
	w.proposals, w.crashes, w.doubles, w.changes = 0, 1, 0, 2
	return w
}

// growing is a group of two that n1 leads, with n3 for a learner.
func growing() *miniature {
	w := newMiniature(false)
	w.nodes[2].joins, w.nodes[2].ballot = true, member.Ballot{}
	for i := range w.nodes {
		w.start(i)
	}
	w.wait(0)
	w.settle(2)
	w.step(0, member.ChangeMembers{Op: member.AddLearner, ID: "n3"})
	w.settle(-1)
	w.step(0, member.Connected{Peer: "n3"})
	w.settle(-1)
	w.crashes, w.changes = 1, 2
	return w
}
