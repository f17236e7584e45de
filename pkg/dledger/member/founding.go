package member

import "time"

// birth is what a member that may be a founder has heard of another one in this
// life.
type birth struct {
	askedAt time.Time
	freshAt time.Time // when it last said that it has no term and no entry
}

// fresh says whether this member has taken part in nothing yet.
func (m *Member) fresh() bool {
	return m.ballot.Term == 0 && m.ledger.Begin() == 0 && m.ledger.End() == NoIndex
}

// mayFound says whether this member may be of a group that begins. One that is
// fresh itself but has heard of a member that is not is the one that was replaced:
// the group goes on, and this one waits for its leader.
func (m *Member) mayFound() bool {
	return !m.ballot.Proven && m.fresh() && m.elder == "" && m.isVoter
}

// maintainFounding asks the others whether they are fresh too.
func (m *Member) maintainFounding() {
	if !m.mayFound() || m.now.Before(m.askAt) {
		return
	}
	m.askAt = m.now.Add(m.voteInterval())
	m.found() // the only member of its group has nobody to ask
	for _, p := range m.peers {
		if !m.freshLately(p) {
			m.askBirth(p)
		}
	}
}

// freshLately says whether p was fresh within the last election timeout: what was
// heard of several members counts only together, or what one of them has lost
// could since have come to another.
func (m *Member) freshLately(p *peer) bool {
	return !p.birth.freshAt.IsZero() && m.now.Sub(p.birth.freshAt) < m.electionTimeout()
}

// askBirth asks p by a pre-vote for no term, which nobody grants.
func (m *Member) askBirth(p *peer) {
	if !m.mayFound() {
		return
	}
	p.birth.askedAt = m.now
	m.send(VoteRequest{
		From: m.cfg.ID, To: p.id, Incarnation: m.cfg.Incarnation, Unproven: true, PreVote: true,
		LedgerEndIndex: m.ledger.End(), LedgerEndTerm: m.ledger.EndTerm(),
	})
}

// askBirthBack asks a peer that asks: it has come up just now.
func (m *Member) askBirthBack(id ID) {
	p := m.peerOf(id)
	if p != nil && !m.freshLately(p) && m.now.Sub(p.birth.askedAt) >= m.cfg.MinVoteInterval {
		m.askBirth(p)
	}
}

// hearOfBirth takes note of what a voter says about its age. An answer to an
// earlier incarnation of this member says nothing: the group may have lived since.
func (m *Member) hearOfBirth(r VoteResponse) {
	p := m.peerOf(r.From)
	if p == nil || m.ballot.Proven || r.Asker != m.cfg.Incarnation {
		return
	}
	if !r.Fresh {
		m.elder = r.From
		return
	}
	p.birth.freshAt = m.now
	m.found()
}

// found makes this member a voter of a group that begins, if all others, or with
// Bootstrap a majority, are fresh like itself: then nobody has ever acknowledged
// anything that could be lost. Nobody stands before a majority has come so far,
// because a pre-vote needs one; whoever comes later is proven by the leader.
func (m *Member) found() {
	if !m.mayFound() {
		return
	}
	others := 0
	for _, p := range m.peers {
		if m.freshLately(p) {
			others++
		}
	}
	if others == m.voters-1 || (m.cfg.Bootstrap && others+1 >= m.quorum()) {
		m.setBallot(Ballot{Proven: true})
		m.deadline = earlier(m.deadline, m.now.Add(m.voteInterval())) // there is no leader to wait for
	}
}

// missing are the members that this one still waits for to found a group.
func (m *Member) missing() []ID {
	if !m.mayFound() {
		return nil
	}
	var ids []ID
	for _, p := range m.peers {
		if !m.freshLately(p) {
			ids = append(ids, p.id)
		}
	}
	return ids
}
