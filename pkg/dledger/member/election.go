package member

import "cmp"

// election is a candidate's campaign: one round of questions after the other.
type election struct {
	asking   bool // a round is open; else the candidate waits for the next
	preVote  bool // the round asks whether votes would be given
	term     Term // for which the round asks
	transfer bool // the old leader asked this member to take over
	again    bool // the next round asks for votes in the same term
	revoted  bool // REVOTE_IMMEDIATELY has been done in this round
	yielded  bool // has once let another candidate go first
	maxTerm  Term // the highest term that a refusal showed
	results  []VoteResult
}

// voter is what judgeVote needs to know of the member that is asked.
type voter struct {
	self     ID
	peer     bool // the candidate is in the group, as far as this member knows
	term     Term
	votedFor ID
	leader   ID
	trusts   bool // a leader other than the candidate was heard within the election timeout
	taking   bool // this member was asked by the leader to take over
	barred   bool // this member may not vote
	endIndex Index
	endTerm  Term
}

func (m *Member) voter(candidate ID) voter {
	return voter{
		self: m.cfg.ID, peer: m.peerOf(candidate) != nil, term: m.ballot.Term, votedFor: m.ballot.VotedFor, leader: m.leader,
		trusts: m.trusts(candidate), taking: m.role == Candidate && m.election.transfer, barred: !m.mayVote(),
		endIndex: m.ledger.End(), endTerm: m.ledger.EndTerm(),
	}
}

// judgeVote decides how v answers r, in DLedger's order: who asks, then the
// ledgers, then the terms. It changes nothing. What DLedger does not have: a
// PreVote is judged for the term it names without entering it, and a voter that
// trusts a leader helps nobody else unless that leader asked for it.
func judgeVote(v voter, r VoteRequest) VoteResult {
	switch {
	case !v.peer && r.From != v.self && !r.ahead(v):
		return RejectUnknownLeader
	case r.From == v.self:
		return RejectUnexpectedLeader
	case v.barred || r.Unproven:
		return RejectNotAVoter
	case r.LedgerEndTerm < v.endTerm:
		return RejectExpiredLedgerTerm
	case r.LedgerEndTerm == v.endTerm && r.LedgerEndIndex < v.endIndex:
		return RejectSmallLedgerEndIndex
	case r.Term < v.term || r.Term > v.term+maxTermJump:
		return RejectExpiredVoteTerm
	case r.Term == v.term && v.votedFor != "" && v.votedFor != r.From && (v.leader == "" || v.leader == r.From):
		return RejectAlreadyVoted // also to the leader of the term, whose request comes late: a vote is given once
	case r.Term == v.term && v.votedFor != r.From && v.leader != "" && v.leader != r.From:
		return RejectAlreadyHasLeader
	case r.Term > v.term && v.trusts && !r.Transfer:
		return RejectAlreadyHasLeader
	case r.Term > v.term && !r.PreVote:
		return RejectTermNotReady
	case r.Term < v.endTerm:
		return RejectTermSmallThanLedger
	case v.taking && r.LedgerEndTerm == v.endTerm && v.endIndex >= r.LedgerEndIndex:
		return RejectTakingLeadership
	}
	return Accept
}

// ahead says whether the candidate has an entry that v lacks. One that v does not know
// is heard only then: it is in a newer group, and the entry that says so is such a one
// (Raft thesis 4.1 hears everyone).
func (r VoteRequest) ahead(v voter) bool {
	return r.LedgerEndTerm > v.endTerm || (r.LedgerEndTerm == v.endTerm && r.LedgerEndIndex > v.endIndex)
}

// handleVote answers a candidate.
func (m *Member) handleVote(r VoteRequest) {
	result := judgeVote(m.voter(r.From), r)
	switch {
	case result == Accept && r.PreVote:
		m.yieldTo(r)
	case result == Accept:
		m.grant(r)
	case result == RejectTermNotReady:
		m.adoptTerm(r.Term)
		reason := ReasonHigherTerm
		if r.Transfer {
			reason = ReasonTransfer
		}
		m.becomeCandidate(reason, m.patience())
		m.heard = hearing{}
	}
	m.send(VoteResponse{
		From: m.cfg.ID, To: r.From, Term: m.ballot.Term, Result: result, PreVote: r.PreVote, RequestTerm: r.Term,
		Asker: r.Incarnation, Fresh: m.fresh(),
	})
	if r.Unproven {
		m.askBirthBack(r.From)
	}
}

// grant gives the vote of the ballot's term to r.From, once, and lets it try in
// peace.
func (m *Member) grant(r VoteRequest) {
	assert(m.mayVote(), "I10: votes for %s in term %d without the right to", r.From, m.ballot.Term)
	if m.ballot.VotedFor == "" {
		m.setBallot(Ballot{Term: m.ballot.Term, VotedFor: r.From})
	}
	m.election = election{}
	m.deadline = m.now.Add(m.patience())
}

// yieldTo lets r.From, which would get this member's vote, go first if both are
// only asking around: else two followers that lost their leader at the same
// instant both reach the vote and split it. A candidate yields only once, so that
// one that cannot hear the answers cannot hold up another for ever.
func (m *Member) yieldTo(r VoteRequest) {
	e := &m.election
	voting := e.asking && !e.preVote
	if m.role != Candidate || e.yielded || voting || e.again {
		return
	}
	first := cmp.Or(
		cmp.Compare(r.LedgerEndTerm, m.ledger.EndTerm()),
		cmp.Compare(r.LedgerEndIndex, m.ledger.End()),
		cmp.Compare(m.cfg.ID, r.From)) > 0
	if e.asking && !first {
		return
	}
	e.asking, e.yielded = false, true
	m.deadline = m.now.Add(m.voteInterval())
}

// startPreVote asks who would vote for this member in the next term. Nothing is
// written and no term rises until a majority would.
func (m *Member) startPreVote() {
	if !m.mayStand() {
		m.deadline = m.now.Add(m.electionTimeout())
		return
	}
	m.openRound(election{preVote: true, term: m.knownMaxTerm + 1, yielded: m.election.yielded})
}

// startVote enters term with a vote for itself, which counts only because the
// ballot is durable before the requests leave.
func (m *Member) startVote(term Term, transfer bool) {
	m.setBallot(Ballot{Term: term, VotedFor: m.cfg.ID})
	m.tellRole(ReasonVoteRound)
	m.openRound(election{term: term, transfer: transfer, yielded: m.election.yielded})
}

// nextRound follows a wait.
func (m *Member) nextRound() {
	if m.election.again {
		e := m.election
		e.again, e.revoted, e.maxTerm = false, false, 0
		m.openRound(e)
		return
	}
	m.startPreVote()
}

// openRound sends e's question to everyone who has not yet said yes to it.
func (m *Member) openRound(e election) {
	e.asking = true
	old := e.results
	e.results = make([]VoteResult, len(m.peers))
	for i := range old {
		if old[i] == Accept {
			e.results[i] = Accept // a vote given stays given
		}
	}
	m.election = e
	m.deadline = m.now.Add(m.voteInterval())
	for i, p := range m.peers {
		if p.voter && e.results[i] != Accept {
			m.send(VoteRequest{
				From: m.cfg.ID, To: p.id, Term: e.term, PreVote: e.preVote, Transfer: e.transfer,
				LedgerEndIndex: m.ledger.End(), LedgerEndTerm: m.ledger.EndTerm(), Incarnation: m.cfg.Incarnation,
			})
		}
	}
	if m.tally().decided() {
		m.concludeRound()
	}
}

// handleVoteResponse counts an answer.
func (m *Member) handleVoteResponse(r VoteResponse) {
	m.learnTerm(r.Term, r.From)
	m.hearOfBirth(r)
	e := &m.election
	if m.role != Candidate || !e.asking || r.PreVote != e.preVote || r.RequestTerm != e.term {
		return
	}
	late := r.Result == RejectTermNotReady && e.revoted // it has been asked again since
	for i, p := range m.peers {
		if p.id != r.From {
			continue
		}
		p.refuses = r.Result == RejectNotAVoter
		if e.results[i] != Accept && !late {
			e.results[i] = r.Result
		}
	}
	if (r.Result == RejectExpiredVoteTerm || r.Result == RejectTermSmallThanLedger) && m.plausible(r.Term) {
		e.maxTerm = max(e.maxTerm, r.Term)
	}
	if m.tally().decided() {
		m.concludeRound()
	}
}

// concludeRound draws the outcome of the open round and acts on it.
func (m *Member) concludeRound() {
	t := m.tally()
	e := &m.election
	m.lastOutcome = t.outcome()
	switch m.lastOutcome {
	case Passed:
		if e.preVote {
			m.startVote(e.term, false)
		} else {
			m.becomeLeader()
		}
	case RevoteImmediately:
		again := *e
		again.revoted = true
		m.openRound(again)
	case WaitToRevote:
		e.again = !e.preVote
		m.waitForRound(t)
	case WaitToVoteNext:
		m.waitForRound(t)
	}
}

// waitForRound closes the round. DLedger waits 0.3 to 1 s, and 6 s more if anyone
// still sees a leader; here that is one heartbeat more, and nothing more if the
// connection to the leader is known to be gone.
func (m *Member) waitForRound(t tally) {
	m.election.asking = false
	wait := m.voteInterval()
	switch {
	case t.maxTerm > t.term:
	case t.hasLeader && m.leaderGone:
		wait = m.cfg.MinVoteInterval + m.chance(m.cfg.MinVoteInterval)
	case t.hasLeader:
		wait = min(wait+m.cfg.HeartBeatInterval, m.electionTimeout())
	case !t.quorum(t.valid):
		m.nextRound() // the round has already waited for the missing answers
		return
	case !t.quorum(t.valid - t.bigger):
		wait += m.cfg.MaxVoteInterval
	}
	m.deadline = m.now.Add(wait)
}
