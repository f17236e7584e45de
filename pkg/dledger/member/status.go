package member

import "time"

// Status is a member as an operator sees it: plain values, a copy.
type Status struct {
	ID           ID
	Role         Role
	Term         Term
	VotedFor     ID
	Leader       ID // empty: not known
	Begin, End   Index
	EndTerm      Term // of the last entry
	Durable      Index
	Commit       Index
	Noop         Index // LEADER: the entry that opened its term; it serves once that is committed. Else NoIndex
	Fit          bool
	MayVote      bool // it is proven and not barred
	Proven       bool // see Ballot
	Missing      []ID // not proven: the members that it has to hear of before a new group can begin
	Elder        ID   // not proven: a member that shows that the group is not new; empty: none heard of
	Transferee   ID   // empty: no transfer under way
	KnownMaxTerm Term
	LastOutcome  VoteOutcome // of the last vote round, 0 if there was none
	Members      Members     // the group as it is now
	Changing     bool        // the change that made it is not known to be committed
	Peers        []PeerStatus
}

// Seat is this member's own place: VOTER, LEARNER or, if it has none, NONE.
func (s Status) Seat() string {
	seat, ok := s.Members.Seat(s.ID)
	switch {
	case !ok:
		return "NONE"
	case seat.Learner:
		return "LEARNER"
	}
	return "VOTER"
}

// PeerStatus is another member as a leader sees it. All but the id, the seat and MayNotVote are
// zero or NoIndex elsewhere.
type PeerStatus struct {
	ID        ID
	Learner   bool
	Leaving   bool // not in the group any more, but may not know it
	WaterMark Index
	Next      Index
	State     PushState
	LastHeard time.Time
	Fit       bool
	// MayNotVote is set while it is not counted: its directory is new, or it said so.
	MayNotVote bool
}

// Status describes the member as it is after the last Step.
func (m *Member) Status() Status {
	s := Status{
		ID: m.cfg.ID, Role: m.role, Term: m.ballot.Term, VotedFor: m.ballot.VotedFor, Leader: m.leader,
		Begin: m.ledger.Begin(), End: m.ledger.End(), EndTerm: m.ledger.EndTerm(), Durable: m.durable, Commit: m.commit,
		Noop: m.noop, Fit: m.fit, MayVote: m.mayVote(), Proven: m.ballot.Proven, Missing: m.missing(), KnownMaxTerm: m.knownMaxTerm, LastOutcome: m.lastOutcome,
		Members: m.members(), Changing: m.changing(),
		Peers: make([]PeerStatus, len(m.peers)),
	}
	if !s.Proven {
		s.Elder = m.elder
	}
	if m.transfer != nil {
		s.Transferee = m.transfer.to
	}
	for i, p := range m.peers {
		s.Peers[i] = PeerStatus{ID: p.id, Learner: p.seat.Learner, Leaving: p.leaving, WaterMark: NoIndex, Next: NoIndex, MayNotVote: p.refuses}
		if m.role == Leader {
			s.Peers[i] = PeerStatus{ID: p.id, Learner: p.seat.Learner, Leaving: p.leaving, WaterMark: p.waterMark, Next: p.next, State: p.state, LastHeard: p.heardAt, Fit: p.fit, MayNotVote: p.standing.heard && !p.standing.proven}
		}
	}
	return s
}
