package sim

import (
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// god sees every node and every disk, and judges each step. The numbers in the
// comments are those of the list of invariants that the project promises.
type god struct {
	sim       *Sim
	leaders   map[member.Term]int8
	votes     map[vote]member.ID
	stamps    []stamps
	committed []committed
	acked     []*proposal
	maxTerm   member.Term
	maxAcked  member.Index
}

type vote struct {
	node int8
	dir  int
	term member.Term
}

// stamps are the entries ever seen at one index, one per term.
type stamps []entry

// committed is an entry that some node has reported as committed, and the term
// of the leadership that committed it.
type committed struct {
	entry
	by member.Term
}

func newGod(s *Sim) *god {
	return &god{sim: s, leaders: map[member.Term]int8{}, votes: map[vote]member.ID{}, maxAcked: member.NoIndex}
}

// checkBallot: a ballot never goes back, nor changes its vote within a term (I1).
func (g *god) checkBallot(n *node, b member.Ballot) {
	old := n.disk.ballot
	g.maxTerm = max(g.maxTerm, b.Term)
	if b.Proven && !old.Proven {
		g.checkProven(n, b)
	}
	if b.Term < old.Term || b.Term == old.Term && old.VotedFor != "" && b.VotedFor != old.VotedFor || old.Proven && !b.Proven {
		g.sim.fail("%s: I1: ballot %+v after %+v", n.id, b, old)
	}
}

// checkVote: one vote per directory and term, across crashes, none that the disk
// does not hold (I1), and none of an unproven one (I10).
func (g *god) checkVote(n *node, term member.Term, who member.ID) {
	if !n.disk.ballot.Proven {
		g.sim.fail("%s: I10: votes for %s in term %d with an unproven directory", n.id, who, term)
	}
	if n.chores.barred {
		g.sim.fail("%s: I10: votes for %s in term %d with a damaged ledger", n.id, who, term)
	}
	if n.disk.ballot.Term < term || n.disk.ballot.Term == term && n.disk.ballot.VotedFor != who {
		g.sim.fail("%s: I1: votes for %s in term %d, its disk holds %+v", n.id, who, term, n.disk.ballot)
	}
	key := vote{n.i, n.disk.dir, term}
	if was, ok := g.votes[key]; ok && was != who {
		g.sim.fail("%s: I1: votes for %s in term %d, voted for %s", n.id, who, term, was)
	}
	g.votes[key] = who
}

// checkLeads: one leader per term (I1).
func (g *god) checkLeads(n *node, term member.Term) {
	if was, ok := g.leaders[term]; !ok {
		g.leaders[term] = n.i
	} else if was != n.i {
		g.sim.fail("%s: I1: leads term %d, which %s led", n.id, term, g.sim.nodes[was].id)
	}
}

// checkElected: a new leader holds all that was committed before its term (I4)
// and opens its term with a NOOP.
func (g *god) checkElected(n *node, term member.Term, spans []member.Span) {
	g.checkLeads(n, term)
	last := len(g.committed) - 1
	for last >= 0 && g.committed[last].by >= term {
		last--
	}
	if last >= 0 && (last >= len(n.log) || n.log[last].chain != g.committed[last].chain) {
		g.sim.fail("%s: I4: leads term %d without the committed entry %d", n.id, term, last)
	}
	noop := false
	for _, span := range spans {
		noop = noop || span.Noop && span.Term == term
	}
	if !noop {
		g.sim.fail("%s: leads term %d without a NOOP", n.id, term)
	}
}

// checkAppend: an entry is made by the leader of its term, once, and has the same
// history wherever it is (I3); a refused proposal is not appended.
func (g *god) checkAppend(n *node, i member.Index, own bool) {
	e := n.log[i]
	for int(i) >= len(g.stamps) {
		g.stamps = append(g.stamps, nil)
	}
	for _, seen := range g.stamps[i] {
		if seen.term == e.term {
			if seen.chain != e.chain || seen.stamp != e.stamp || own {
				g.sim.fail("%s: I3: two entries (%d, term %d)", n.id, i, e.term)
			}
			return
		}
	}
	if !own {
		g.sim.fail("%s: I3: entry (%d, term %d) with a history that no leader wrote", n.id, i, e.term)
	}
	if n.disk.ballot.Term < e.term {
		g.sim.fail("%s: I5: entry (%d, term %d) above its durable term %d", n.id, i, e.term, n.disk.ballot.Term)
	}
	g.checkLeads(n, e.term)
	g.stamps[i] = append(g.stamps[i], e)
}

// checkTruncate: never by a leader (I2), never at or below the commit index, and
// never an entry that is committed anywhere (I5).
func (g *god) checkTruncate(n *node, i member.Index) {
	switch {
	case n.role == member.Leader && n.term == n.disk.ballot.Term:
		g.sim.fail("%s: I2: truncates at %d while it leads", n.id, i)
	case i <= n.commit:
		g.sim.fail("%s: I5: truncates at %d, committed %d", n.id, i, n.commit)
	case i < 0 || i > n.log.end():
		g.sim.fail("%s: truncates at %d, ends at %d", n.id, i, n.log.end())
	case int(i) < len(g.committed) && g.committed[i].chain == n.log[i].chain:
		g.sim.fail("%s: I5: truncates at %d an entry that is committed", n.id, i)
	}
}

// checkCommit: commit never goes back (I5), names what everyone else committed
// there (I5), lies in the leader's own term when it counted (I6), and is on the
// disks of a majority (I8).
func (g *god) checkCommit(n *node, c member.Index, leads bool) {
	s := g.sim
	if c < n.commit || c > n.log.end() {
		s.fail("%s: I5: commit %d after %d, ledger ends at %d", n.id, c, n.commit, n.log.end())
		return
	}
	known := min(int(c), len(g.committed)-1)
	if known >= 0 && n.log[known].chain != g.committed[known].chain {
		s.fail("%s: I5: committed %d differs from what others committed", n.id, known)
		return
	}
	if n.role == member.Leader && n.term == n.disk.ballot.Term {
		if n.log[c].term != n.term {
			s.fail("%s: I6: leader of term %d commits (%d, term %d) by counting", n.id, n.term, c, n.log[c].term)
		}
		if n.commit < c && n.commit+1 <= n.log.end() && n.log[n.commit+1].term != n.term {
			s.count[OldTermsReleased]++
		}
	}
	if int(c) < len(g.committed) {
		return
	}
	if !leads {
		s.fail("%s: I6: commits %d before any leader did", n.id, c)
	}
	g.extend(n, c)
}

// extend adds to the committed list what n is the first to report.
func (g *god) extend(n *node, c member.Index) {
	if !slices.ContainsFunc(n.groupsAt(), func(group member.Members) bool {
		return g.sim.majorityOf(group, func(o *node) bool { return g.holds(n, o, c) })
	}) {
		g.sim.fail("%s: I8: commits %d, which no majority of disks holds", n.id, c)
	}
	for i := len(g.committed); i <= int(c); i++ {
		g.committed = append(g.committed, committed{n.log[i], n.disk.ballot.Term})
		g.extendGroup(member.Index(i), n.log[i])
	}
	g.sim.count[Commits] += int64(c - n.commit)
}

// acknowledged: what a client is told is stored is committed, and comes after
// everything acknowledged before it was sent (I8, I12).
func (g *god) acknowledged(n *node, p *proposal) {
	last := p.first + member.Index(p.count) - 1
	for i := range p.count {
		at := int(p.first) + i
		if at >= len(g.committed) || g.committed[at].payload != p.payload+uint64(i) {
			g.sim.fail("%s: I8: acknowledged %d at %d, not committed there", n.id, p.payload, at)
			return
		}
	}
	if p.first <= p.after {
		g.sim.fail("%s: I12: acknowledged %d at %d, sent after %d was acknowledged", n.id, p.payload, p.first, p.after)
	}
	if p.acked || p.refused {
		g.sim.fail("%s: I14: proposal %d answered twice", n.id, p.payload)
	}
	p.acked, p.ackedAt = true, g.sim.now
	g.maxAcked = max(g.maxAcked, last)
	g.acked = append(g.acked, p)
	g.sim.count[Acked]++
}

// checkQuorum: a leader that hears no quorum steps down.
func (g *god) checkQuorum(n *node) {
	if n.role != member.Leader {
		return
	}
	if quiet := n.view.silence(n); quiet > quorumSilence {
		g.sim.fail("%s: leads term %d though it has heard no quorum for %v", n.id, n.term, quiet)
	}
}

// quorumSilence is three election timeouts: more than any pause of the loop that
// looks at it.
const quorumSilence = 1500 * time.Millisecond
