package member

import (
	"slices"
	"time"
)

// sendHeartBeats tells every follower that the leader lives.
func (m *Member) sendHeartBeats() {
	m.beatAt = m.now.Add(m.cfg.HeartBeatInterval)
	for _, p := range m.peers {
		m.sendHeartBeat(p)
	}
}

func (m *Member) sendHeartBeat(p *peer) {
	r := HeartBeatRequest{From: m.cfg.ID, To: p.id, Term: m.ballot.Term, Leader: m.cfg.ID, Commit: m.commit, ProofIndex: NoIndex}
	if m.hasProof(p) {
		r.Proves, r.ProofIndex = p.standing.incarnation, p.standing.proof
	}
	m.send(r)
}

// judgeLeader decides how to answer a heartbeat or push of leader in term. It
// changes nothing. Success includes that leader was not known yet: a member that lags
// behind does not know who has been added (Raft thesis 4.1).
func (m *Member) judgeLeader(from, leader ID, term Term) Code {
	switch {
	case from == m.cfg.ID || leader == m.cfg.ID:
		return UnexpectedMember
	case from != leader || leader == "":
		return UnknownMember
	case term < m.ballot.Term || !m.plausible(term):
		return ExpiredTerm
	case term > m.ballot.Term:
		return TermNotReady
	case m.leader != "" && m.leader != leader:
		return InconsistentLeader
	}
	return Success
}

// follow takes note that leader leads the ballot's term and lives.
func (m *Member) follow(leader ID) {
	if m.role == Follower && m.leader == leader {
		m.hear(leader)
		return
	}
	m.becomeFollower(leader, ReasonHeartBeat)
}

// handleHeartBeat answers a leader. A higher term is adopted at once, but as in
// DLedger it takes the leader's next word to follow it.
func (m *Member) handleHeartBeat(r HeartBeatRequest) {
	code := m.judgeLeader(r.From, r.Leader, r.Term)
	switch code {
	case Success:
		m.follow(r.Leader)
		m.advanceCommitTo(r.Commit)
		m.acceptProof(r)
	case TermNotReady:
		m.adoptTerm(r.Term)
		m.becomeCandidate(ReasonHigherTerm, m.patience())
		m.heard = hearing{leader: r.Leader, at: m.now}
	}
	resp := HeartBeatResponse{
		From: m.cfg.ID, To: r.From, Term: m.ballot.Term, Code: code, RequestTerm: r.Term, Fit: m.mayStand(),
		DurableIndex: NoIndex, DurableTerm: NoTerm, Incarnation: m.cfg.Incarnation, Unproven: !m.ballot.Proven,
	}
	if code == Success {
		resp.DurableIndex, resp.DurableTerm = m.acknowledged()
	}
	m.send(resp)
}

// handleHeartBeatResponse is the leader's side. An answer is an answer whatever it
// says, so refusals too keep the leader from believing that it has lost its
// quorum, except those of strangers.
func (m *Member) handleHeartBeatResponse(r HeartBeatResponse) {
	m.learnTerm(r.Term, r.From)
	p := m.peerOf(r.From)
	if m.role != Leader || p == nil || r.RequestTerm != m.ballot.Term || !m.recognise(p, r.Incarnation, r.Unproven) {
		return
	}
	switch r.Code {
	case Success:
		p.heardAt, p.fit = m.now, r.Fit
		m.credit(p, r.DurableIndex, r.DurableTerm)
		m.probe(p, r.DurableIndex)
		m.tellProof(p)
	case TermNotReady:
		p.heardAt, p.fit = m.now, r.Fit
		m.sendHeartBeat(p)
	case InconsistentLeader:
		m.becomeCandidate(ReasonInconsistent, 0)
		m.startPreVote()
	}
}

// quorumDeadline is when the leader will have been without answers from a quorum
// for one election timeout (check-quorum).
func (m *Member) quorumDeadline() time.Time {
	needed := m.quorum() - m.own()
	if needed == 0 {
		return m.now.Add(m.electionTimeout())
	}
	heard := make([]time.Time, 0, maxVoters)
	for _, p := range m.peers {
		switch {
		case p.voter && (p.counts() || !p.standing.heard):
			heard = append(heard, p.heardAt)
		case p.voter:
			heard = append(heard, time.Time{})
		}
	}
	slices.SortFunc(heard, func(a, b time.Time) int { return b.Compare(a) })
	return heard[needed-1].Add(m.electionTimeout())
}
