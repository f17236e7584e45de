package member

import "time"

// becomeFollower follows leader in the ballot's term, or, if leader is empty,
// waits for one to be heard of.
func (m *Member) becomeFollower(leader ID, reason Reason) {
	m.role, m.leader = Follower, leader
	m.election, m.noop, m.leaderGone = election{}, NoIndex, false
	m.hear(leader)
	m.tellRole(reason)
	if leader != "" {
		m.endTransfer(leader)
	}
}

// becomeCandidate gives up whatever leader there was and asks for votes after
// wait. The term stays: it rises only with a vote (or with adoptTerm).
func (m *Member) becomeCandidate(reason Reason, wait time.Duration) {
	if m.role == Leader {
		m.leaveLeadership(reason)
	}
	m.role, m.leader = Candidate, ""
	m.election, m.noop = election{}, NoIndex
	m.deadline = m.now.Add(wait)
	m.tellRole(reason)
}

// becomeLeader leads the ballot's term. The no-op entry lets everything before it
// be committed without counting old terms (Raft 5.4.2, dledger#305).
func (m *Member) becomeLeader() {
	m.role, m.leader = Leader, m.cfg.ID
	m.election, m.leaderGone = election{}, false
	m.heard = hearing{}
	m.handedAt = m.now
	m.noop = m.ledger.End() + 1
	for _, p := range m.peers {
		p.reset(m.noop, m.now)
	}
	m.tellRole(ReasonElected)
	m.endTransfer(m.cfg.ID)
	m.appendOwn(1, true)
	m.sendHeartBeats()
	for _, p := range m.peers {
		m.sendCompare(p)
	}
}

// adoptTerm enters a higher term without a vote in it. Whoever calls it also says
// what role the member has there.
func (m *Member) adoptTerm(term Term) { m.setBallot(Ballot{Term: term}) }

func (m *Member) setBallot(b Ballot) {
	if b.Term > m.ballot.Term {
		// Only what is committed is certain to be in the next leader's ledger.
		m.verified, m.acked = m.commit, NoIndex
	}
	b.Proven = b.Proven || m.ballot.Proven
	m.ballot = b
	m.knownMaxTerm = max(m.knownMaxTerm, b.Term)
	m.update.Ballot = &b
}

// hear notes that leader lives and starts the election timeout anew.
func (m *Member) hear(leader ID) {
	m.heard = hearing{leader: leader, at: m.now}
	m.deadline = m.now.Add(m.patience())
}

// trusts says whether this member has reason to believe in a leader other than id.
func (m *Member) trusts(id ID) bool {
	if m.role == Leader {
		return m.now.Before(m.quorumDeadline())
	}
	return m.heard.leader != "" && m.heard.leader != id && m.now.Before(m.heard.at.Add(m.electionTimeout()))
}

func (m *Member) tellRole(reason Reason) {
	change := RoleChange{Role: m.role, Term: m.ballot.Term, Leader: m.leader, Reason: reason}
	same := m.told
	same.Reason = reason
	if change == same {
		return
	}
	m.told = change
	m.update.Role = &change
}

// plausible says whether term may be believed at all.
func (m *Member) plausible(term Term) bool {
	return term >= 0 && term <= m.ballot.Term+maxTermJump
}

// learnTerm takes note of the term in a reply of peer from, unless it leaves. A leader that hears of
// a higher one is no longer sure to be needed, and whoever is in that term will
// never follow this one: it asks the group at once whether it may lead a newer
// term (DLedger: needIncreaseTermImmediately). Its followers do not hold their
// trust in it against it, so with a live quorum this costs a few round trips;
// without this a follower that is ahead in term would be lost for good
// (dledger#325).
func (m *Member) learnTerm(term Term, from ID) {
	if p := m.peerOf(from); p == nil || p.leaving || !m.plausible(term) {
		return
	}
	m.knownMaxTerm = max(m.knownMaxTerm, term)
	if m.role != Leader || term <= m.ballot.Term {
		return
	}
	if m.transfer != nil && m.transfer.asked && m.transfer.to == from {
		return // the transferee has begun; its vote request is on the way
	}
	m.becomeCandidate(ReasonHigherTerm, 0)
	m.startPreVote()
}
