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
	Peers        []PeerStatus
}

// PeerStatus is another member as a leader sees it. All but the id and MayNotVote are
// zero or NoIndex elsewhere.
type PeerStatus struct {
	ID        ID
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
		Peers: make([]PeerStatus, len(m.peers)),
	}
	if !s.Proven {
		s.Elder = m.elder
	}
	if m.transfer != nil {
		s.Transferee = m.transfer.to
	}
	for i, p := range m.peers {
		s.Peers[i] = PeerStatus{ID: p.id, WaterMark: NoIndex, Next: NoIndex, MayNotVote: p.refuses}
		if m.role == Leader {
			s.Peers[i] = PeerStatus{ID: p.id, WaterMark: p.waterMark, Next: p.next, State: p.state, LastHeard: p.heardAt, Fit: p.fit, MayNotVote: p.standing.heard && !p.standing.proven}
		}
	}
	return s
}
