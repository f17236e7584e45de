package member

// A member may vote, and stand, only while its disk surely holds all that it has
// ever acknowledged. Two things take that from it: damage (the Standing event), and
// a data directory that took the place of a lost one. The latter is a new
// incarnation of the member. It is unproven, and its ballot says so, until it has
// founded the group with all others (founding.go) or a leader elected without it
// has brought it up to date (proof.go).

// handleStanding takes note of whether this member may vote.
func (m *Member) handleStanding(ev Standing) {
	m.barred = !ev.MayVote
	if m.barred && m.role == Candidate {
		m.giveUpCandidacy()
	}
}

// giveUpCandidacy asks nobody for a vote before the next election timeout.
func (m *Member) giveUpCandidacy() {
	m.election = election{yielded: m.election.yielded}
	m.deadline = m.now.Add(m.electionTimeout())
}

// mayVote says whether this member may give its vote.
func (m *Member) mayVote() bool { return m.ballot.Proven && !m.barred }

// mayStand says whether this member may ask for votes.
func (m *Member) mayStand() bool { return m.fit && m.mayVote() && m.mayCampaign() }
