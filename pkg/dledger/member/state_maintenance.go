package member

// maintainState looks at the deadlines of the current role, as DLedger's state
// maintainer does every 10 ms.
func (m *Member) maintainState() {
	m.maintainTransfer()
	m.maintainFounding()
	switch m.role {
	case Leader:
		m.maintainAsLeader()
	case Follower:
		m.maintainAsFollower()
	case Candidate:
		m.maintainAsCandidate()
	}
}

func (m *Member) maintainAsLeader() {
	if !m.now.Before(m.quorumDeadline()) {
		m.becomeCandidate(ReasonNoQuorum, m.voteInterval())
		return
	}
	if m.retiring() && m.transfer == nil {
		m.leave()
	}
	if m.role != Leader || m.now.Before(m.beatAt) {
		return
	}
	m.dismiss()
	m.sendHeartBeats()
	m.askTransfereeAgain()
	m.stopPushingToTheSilent()
	m.offerToPreferred()
}

func (m *Member) maintainAsFollower() {
	if m.now.Before(m.deadline) {
		return
	}
	if !m.mayCampaign() {
		m.becomeFollower("", ReasonHeartBeatLeak)
		return
	}
	m.becomeCandidate(ReasonHeartBeatLeak, 0)
	m.maintainAsCandidate()
}

func (m *Member) maintainAsCandidate() {
	if m.now.Before(m.deadline) {
		return
	}
	switch {
	case !m.mayStand():
		m.election = election{}
		m.deadline = m.now.Add(m.electionTimeout())
	case m.election.asking:
		m.concludeRound()
	default:
		m.nextRound()
	}
}
