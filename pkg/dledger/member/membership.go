package member

import "slices"

// How the group changes. A CONFIG_CHANGE entry holds the complete new group, and a
// member goes by the newest one in its ledger, committed or not (Raft thesis 4.1):
//
//   - One voter at a time, and the next only when the last is committed.
//   - Only after the leader has committed an entry of its own term (the erratum to
//     the thesis, raft-dev 2015): else two leaders that know nothing of each other's
//     change could each have a majority.
//   - A truncation that takes a change away takes its group away too.
//
// changes holds the newest group known to be committed and those after it.

// members is the group as it is now.
func (m *Member) members() Members { return m.changes[len(m.changes)-1].Members }

// changing says whether the newest change is not known to be committed.
func (m *Member) changing() bool { return len(m.changes) > 1 }

// mayCampaign says whether this member's seat lets it stand for election. One that a
// change removes may have to, as long as the change is not committed: it can be the
// only one that holds it (Raft thesis 4.2.2).
func (m *Member) mayCampaign() bool {
	return m.isVoter || (m.changing() && m.changes[len(m.changes)-2].Members.HasVoter(m.cfg.ID))
}

// retiring says whether this member leads a group that it is no longer in.
func (m *Member) retiring() bool { return m.role == Leader && !m.isVoter && !m.changing() }

// restoreChanges takes what was kept of earlier changes: the first is certain, the
// others hold if the ledger has their entries.
func (m *Member) restoreChanges() {
	m.changes = []Change{{At: NoIndex, Members: m.cfg.Members}}
	void := false
	for i, c := range m.cfg.Changes {
		switch {
		case i == 0:
			m.changes = []Change{c}
		case !m.ledger.Has(c.At, c.Term):
			void = true
		case c.At < m.ledger.Begin():
			m.changes = []Change{c} // it was committed before it was purged
		default:
			m.changes = append(m.changes, c)
		}
	}
	if void {
		m.saveChanges()
	}
	m.seatMembers()
	m.update.Peers = m.peerSeats()
}

// addChange goes over to the group of c, whose entry has just been appended. One that
// is not newer is known already: this member was told of it before it had the entry.
func (m *Member) addChange(c Change) {
	if c.At <= m.changes[len(m.changes)-1].At {
		return
	}
	m.changes = append(m.changes, c)
	m.saveChanges()
	m.seatMembers()
}

// saveChanges hands out the groups as they are now.
func (m *Member) saveChanges() { m.update.Changes = slices.Clone(m.changes) }

// undoChanges goes back to the group before the entries from i on. What is undone is
// not kept: once its place in the ledger was purged, it would look committed.
func (m *Member) undoChanges(i Index) {
	kept := m.changes
	for len(kept) > 1 && kept[len(kept)-1].At >= i {
		kept = kept[:len(kept)-1]
	}
	if len(kept) < len(m.changes) {
		m.changes = kept
		m.saveChanges()
		m.seatMembers()
	}
}

// settleChanges takes note of the changes that are committed now.
func (m *Member) settleChanges() {
	settled := 0
	for settled+1 < len(m.changes) && m.changes[settled+1].At <= m.commit {
		settled++
	}
	if settled == 0 {
		return
	}
	if len(m.update.Changes) > 2 { // a member that catches up may meet many at once
		m.update.Changes = slices.Clone(m.changes[settled-1:])
	}
	m.changes = slices.Clone(m.changes[settled:])
	m.settledAt = m.now
	m.seatMembers()
}

// seatMembers makes the peers those of the group, and those on their way out.
func (m *Member) seatMembers() {
	assert(m.role != Candidate, "I6: the group changes while %s asks for votes", m.cfg.ID)
	group, was := m.members(), m.peerSeats()
	m.isVoter, m.voters = group.HasVoter(m.cfg.ID), group.CountVoters()
	var peers []*peer
	seat := func(s Seat, leaving bool) {
		p := m.peerOf(s.ID)
		if p == nil {
			p = m.newPeer(s.ID)
		}
		p.seat, p.voter, p.leaving = s, !s.Learner && !leaving, leaving
		peers = append(peers, p)
	}
	for _, s := range group.without(m.cfg.ID) {
		seat(s, false)
	}
	for _, s := range m.departing() {
		seat(s, true)
	}
	slices.SortFunc(peers, func(a, b *peer) int { return compareIDs(a.id, b.id) })
	m.peers = peers
	if now := m.peerSeats(); !slices.Equal(was, now) {
		m.update.Peers = now
	}
}

// departing are the members of the group before this one that are not in it any more,
// as long as they may not know it.
func (m *Member) departing() Members {
	var out Members
	if m.changing() {
		out = m.changes[len(m.changes)-2].Members.without(m.cfg.ID)
	}
	for _, p := range m.peers {
		if _, known := out.Seat(p.id); p.leaving && m.role == Leader && !known {
			out = append(out, p.seat)
		}
	}
	return slices.DeleteFunc(out, func(s Seat) bool {
		_, stays := m.members().Seat(s.ID)
		return stays
	})
}

// newPeer is a peer that this member has just heard of.
func (m *Member) newPeer(id ID) *peer {
	p := &peer{id: id, waterMark: NoIndex}
	if m.role == Leader {
		p.reset(m.ledger.End()+1, m.now)
		m.sendHeartBeat(p)
		m.sendCompare(p)
	}
	return p
}

// peerSeats are those to whom there may be something to say.
func (m *Member) peerSeats() []Seat {
	seats := make([]Seat, 0, len(m.peers))
	for _, p := range m.peers {
		seats = append(seats, p.seat)
	}
	return seats
}

// dismiss forgets the peers that have left and know it, or have had time to hear it.
func (m *Member) dismiss() {
	if m.changing() {
		return
	}
	at := m.changes[0].At
	staying := slices.DeleteFunc(slices.Clone(m.peers), func(p *peer) bool {
		knows := p.waterMark >= at && p.commit >= at
		return p.leaving && (knows || m.now.Sub(m.settledAt) >= 2*m.electionTimeout())
	})
	if len(staying) < len(m.peers) {
		m.peers = staying
		m.update.Peers = m.peerSeats()
	}
}

// handleChangeMembers appends the entry that changes the group, if it may.
func (m *Member) handleChangeMembers(ev ChangeMembers) {
	answer := ChangeAnswer{At: NoIndex, Term: m.ballot.Term, Code: m.mayChange()}
	if answer.Code == Success {
		answer.Members, answer.Code = m.afterChange(ev)
	}
	if answer.Code == Success && answer.Members != nil {
		answer.At = m.appendChange(answer.Members)
	}
	m.update.Changed = append(m.update.Changed, answer)
}

// mayChange says whether any change may begin.
func (m *Member) mayChange() Code {
	switch {
	case m.role != Leader:
		return NotLeader
	case m.transfer != nil || m.retiring():
		return LeaderTransferring
	case m.commit < m.noop:
		return ChangeNotReady
	case m.changing():
		return ChangeInProgress
	}
	return Success
}

// afterChange is the group after ev, nil if it is so already.
func (m *Member) afterChange(ev ChangeMembers) (Members, Code) {
	group := m.members()
	seat, known := group.Seat(ev.ID)
	var after Members
	switch {
	case ev.Op == AddLearner && known:
		if seat == (Seat{ID: ev.ID, Learner: true, Address: ev.Address}) {
			return nil, Success
		}
		return nil, UnexpectedArgument
	case ev.Op == AddLearner:
		after = group.with(Seat{ID: ev.ID, Learner: true, Address: ev.Address})
	case !known:
		return nil, UnknownMember
	case ev.Op == Promote && !seat.Learner:
		return nil, Success
	case ev.Op == Promote && !m.caughtUp(m.peerOf(ev.ID)):
		return nil, NotCaughtUp
	case ev.Op == Promote:
		after = group.with(Seat{ID: ev.ID, Address: seat.Address})
	case ev.Op == Remove:
		after = group.without(ev.ID)
	}
	switch {
	case after.Validate() != nil:
		return nil, UnexpectedArgument
	case after.CountVoters() != m.voters && !m.hasQuorumOf(after):
		return nil, QuorumAtRisk
	}
	return after, Success
}

// caughtUp says whether a learner would be a voter of use: it lives, its directory
// is proven, and what it lacks is little.
func (m *Member) caughtUp(p *peer) bool {
	return p.counts() && m.now.Sub(p.heardAt) < m.electionTimeout() && m.ledger.End()-p.waterMark <= m.cfg.MaxTransferGap
}

// hasQuorumOf says whether enough voters of a group live to commit anything in it.
func (m *Member) hasQuorumOf(group Members) bool {
	alive := 0
	if group.HasVoter(m.cfg.ID) {
		alive++
	}
	for _, p := range m.peers {
		if group.HasVoter(p.id) && p.counts() && m.now.Sub(p.heardAt) < m.electionTimeout() {
			alive++
		}
	}
	return alive >= majority(group.CountVoters())
}

// appendChange appends the entry of a new group and goes over to it.
func (m *Member) appendChange(group Members) Index {
	assert(m.commit >= m.noop, "I6: %s changes the group before it has committed an entry of term %d", m.cfg.ID, m.ballot.Term)
	assert(!m.changing(), "I6: %s changes the group twice at once", m.cfg.ID)
	m.ledger.append(m.ballot.Term, 1)
	at := m.ledger.End()
	m.write(Span{First: at, Last: at, Term: m.ballot.Term, Change: true})
	m.addChange(Change{At: at, Term: m.ballot.Term, Members: group})
	m.advanceCommit()
	return at
}

// majority is how many of n are one.
func majority(n int) int { return n/2 + 1 }
