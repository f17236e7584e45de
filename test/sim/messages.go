package sim

import "github.com/ledgermq/ledgermq/pkg/dledger/member"

// checkSend judges a message by what the sender's disk holds at this moment.
// What depends on the ledger is judged only when the batch was a single step:
// in a longer one the ledger may have moved on since the message was made.
func (g *god) checkSend(n *node, msg member.Message) {
	switch m := msg.(type) {
	case member.VoteRequest:
		g.checkVoteRequest(n, m)
		g.checkProvenWord(n, m.Unproven)
	case member.VoteResponse:
		if m.Result == member.Accept && !m.PreVote {
			g.checkVote(n, m.RequestTerm, m.To)
		}
		g.checkProvenWord(n, m.Result != member.Accept)
		g.checkTerm(n, m.Term)
	case member.HeartBeatRequest:
		g.checkLeader(n, m.Term, m.Leader, m.Commit)
	case member.HeartBeatResponse:
		g.checkTerm(n, m.Term)
		g.checkProvenWord(n, m.Unproven)
		g.checkWhole(n, m.DurableIndex)
		if m.Code == member.Success {
			g.checkDurable(n, m.Term, m.RequestTerm, m.DurableIndex, m.DurableTerm)
		}
	case member.PushRequest:
		g.checkLeader(n, m.Term, m.Leader, m.Commit)
	case member.PushResponse:
		g.checkTerm(n, m.Term)
		g.checkProvenWord(n, m.Unproven)
		g.checkWhole(n, m.DurableIndex)
		if m.Code == member.Success {
			g.checkDurable(n, m.Term, m.RequestTerm, m.DurableIndex, m.DurableTerm)
		}
	case member.TransferRequest:
		g.checkLeads(n, m.Term)
		g.checkTerm(n, m.Term)
	case member.TransferResponse:
		g.checkTerm(n, m.Term)
	}
}

// checkTerm: no term is spoken of that a crash could make the node forget.
func (g *god) checkTerm(n *node, term member.Term) {
	if term > n.disk.ballot.Term {
		g.sim.fail("%s: speaks of term %d, its disk holds term %d", n.id, term, n.disk.ballot.Term)
	}
}

// checkProvenWord: whoever speaks as a voter has a proven directory on its disk.
func (g *god) checkProvenWord(n *node, unproven bool) {
	if !unproven && !n.disk.ballot.Proven {
		g.sim.fail("%s: I10: speaks as a voter with an unproven directory", n.id)
	}
}

// checkVoteRequest: a candidate votes for itself durably, names its last entry
// (dledger#52), and stands only after a quorum has said that it would vote for it.
func (g *god) checkVoteRequest(n *node, m member.VoteRequest) {
	if n.chores.barred {
		g.sim.fail("%s: I10: asks for votes in term %d with a damaged ledger", n.id, m.Term)
	}
	if n.batch.steps == 1 {
		if m.LedgerEndIndex != n.log.end() || m.LedgerEndTerm != n.log.termAt(n.log.end()) {
			g.sim.fail("%s: asks for votes with (%d, term %d), its last entry is (%d, term %d)",
				n.id, m.LedgerEndIndex, m.LedgerEndTerm, n.log.end(), n.log.termAt(n.log.end()))
		}
	}
	if m.PreVote {
		return
	}
	g.checkVote(n, m.Term, n.id)
	if !m.Transfer && !n.view.preQuorum(n, m.Term) {
		g.sim.fail("%s: stands in term %d without a quorum of pre-votes", n.id, m.Term)
	}
}

// checkLeader: only the leader of a term sends its heartbeats and pushes, and
// they name no commit index above what is committed.
func (g *god) checkLeader(n *node, term member.Term, leader member.ID, commit member.Index) {
	g.checkTerm(n, term)
	g.checkLeads(n, term)
	if leader != n.id {
		g.sim.fail("%s: sends in the name of leader %q", n.id, leader)
	}
	if commit > n.log.end() {
		g.sim.fail("%s: announces commit %d, ledger ends at %d", n.id, commit, n.log.end())
	}
}

// checkDurable: a position that a follower answers with is on its disk, and
// matches the ledger of the leader that it answers (I6).
func (g *god) checkDurable(n *node, term, request member.Term, i member.Index, t member.Term) {
	if request < term {
		g.sim.fail("%s: SUCCESS in term %d to a request of term %d", n.id, term, request)
	}
	if i < 0 || n.batch.steps != 1 {
		return
	}
	if i > n.disk.durable.end() || n.disk.durable[i].term != t {
		g.sim.fail("%s: answers durable (%d, term %d), its disk ends at %d", n.id, i, t, n.disk.durable.end())
		return
	}
	leader, ok := g.leaders[request]
	if !ok {
		return
	}
	l := g.sim.nodes[leader]
	if l.up && l.role == member.Leader && l.term == request {
		if i > l.log.end() || l.log[i].chain != n.disk.durable[i].chain {
			g.sim.fail("%s: answers durable (%d, term %d), which does not match leader %s", n.id, i, t, l.id)
		}
	}
}

// checkWhole: no entry is answered for that is known to be damaged and that nobody has
// told the node is committed (I9).
func (g *god) checkWhole(n *node, durable member.Index) {
	if faulty, ok := n.chores.faulty.after(n.settled()); ok && durable >= faulty {
		g.sim.fail("%s: I9: answers durable %d, entry %d is damaged", n.id, durable, faulty)
	}
}

// checkPush: while its sender leads, a push describes the sender's ledger truly.
func (g *god) checkPush(n *node, p *member.PushRequest, es entries) {
	if n.role != member.Leader || n.term != p.Term {
		return
	}
	if p.PrevIndex != p.First-1 || p.PrevTerm != n.log.termAt(p.PrevIndex) {
		g.sim.fail("%s: pushes %d..%d after (%d, term %d), its ledger has term %d there",
			n.id, p.First, p.Last, p.PrevIndex, p.PrevTerm, n.log.termAt(p.PrevIndex))
	}
	if p.Runs == nil {
		return
	}
	want := es.runs(p.First)
	same := len(want) == len(p.Runs)
	for i := 0; same && i < len(want); i++ {
		same = want[i] == p.Runs[i]
	}
	if !same {
		g.sim.fail("%s: pushes %d..%d as %v, its ledger has %v", n.id, p.First, p.Last, p.Runs, want)
	}
}
