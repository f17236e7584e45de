package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// proposal is what a client asked for and what became of it. It is refused
// (definite: never in any ledger), acked, or, for all the client knows, either.
type proposal struct {
	payload  uint64 // of its first entry; the others count up from it
	count    int
	after    member.Index // the last index acknowledged when it was sent
	accepted bool         // appended by a leader at first in term
	first    member.Index
	term     member.Term
	refused  bool
	acked    bool
	unknown  bool // the leader that accepted it gave it up

	sentAt, ackedAt time.Duration // where a history is written
}

// propose sends one proposal to some node, most often to one that leads, and
// plans the next.
func (s *Sim) propose() {
	if s.quiet {
		return
	}
	s.after(s.spread(time.Duration(float64(time.Second)/s.profile.rate)), s.propose)
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	if s.calm || s.chance(0.9) {
		for _, o := range s.nodes { // the last one wins: not always the newest leader
			if o.role == member.Leader && (n.role != member.Leader || s.chance(0.5)) {
				n = o
			}
		}
	}
	if n.up && !n.chores.noSpace { // without space a broker takes nothing
		s.proposeTo(n)
	}
}

func (s *Sim) proposeTo(n *node) *proposal {
	p := &proposal{payload: s.nextPayload, count: 1 + s.rng.IntN(s.profile.maxCount), after: s.god.maxAcked}
	s.nextPayload += uint64(p.count)
	s.count[Proposals]++
	s.chronicled(p)
	n.post(input{ev: member.Propose{Count: p.count}, proposal: p})
	return p
}

// transfer asks a leader, if there is one, or else n to hand over.
func (s *Sim) transfer(n *node) {
	if lead := s.leader(); lead != nil && s.chance(0.9) {
		n = lead
	}
	if !n.up {
		return
	}
	var to member.ID
	if o := s.other(n); o != nil && s.chance(0.7) {
		to = o.id
	}
	n.post(input{ev: member.Transfer{To: to}})
}

// unfit makes n unfit to lead for a while.
func (s *Sim) unfit(n *node) {
	if lead := s.leader(); lead != nil && s.chance(0.5) {
		n = lead
	}
	if !n.up || !n.fit {
		return
	}
	s.setFit(n, false)
	life := n.life
	s.undo(s.spread(4*time.Second), func() {
		if n.life == life {
			s.setFit(n, true)
		}
	})
}

func (s *Sim) setFit(n *node, fit bool) {
	n.fit = fit
	n.tellHealth()
}

// other is some node that is not n, or nil.
func (s *Sim) other(n *node) *node {
	if len(s.nodes) == 1 {
		return nil
	}
	o := s.rng.IntN(len(s.nodes) - 1)
	if o >= int(n.i) {
		o++
	}
	return s.nodes[o]
}

// leader is the leader of the newest term among the nodes that run, or nil.
func (s *Sim) leader() *node {
	var lead *node
	for _, n := range s.nodes {
		if n.up && n.role == member.Leader && (lead == nil || n.term > lead.term) {
			lead = n
		}
	}
	return lead
}
