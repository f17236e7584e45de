package member

// handleConnected resumes at once what a broken connection had interrupted.
func (m *Member) handleConnected(ev Connected) {
	p := m.peerOf(ev.Peer)
	if p == nil {
		return
	}
	m.askBirth(p)
	if m.role != Leader {
		return
	}
	if p.state == PushNeedsSeed {
		p.next = m.ledger.End() + 1
	}
	m.sendHeartBeat(p)
	m.sendCompare(p)
}

// handleDisconnected loses trust in the leader whose process or host is gone and
// asks around at once instead of waiting for the election timeout, after a jitter
// that keeps two followers apart. If the leader lives, the others will say so and
// its next word ends the candidacy. A leader only stops pushing to the peer, as
// what was on its way is probably lost.
func (m *Member) handleDisconnected(ev Disconnected) {
	p := m.peerOf(ev.Peer)
	if p == nil {
		return
	}
	if m.role == Leader {
		if p.state != PushNeedsSeed {
			p.state = PushCompare
		}
		return
	}
	if ev.Peer != m.heard.leader {
		return
	}
	if !m.mayCampaign() {
		m.becomeFollower("", ReasonLeaderGone)
		return
	}
	m.heard, m.leaderGone = hearing{}, true
	jitter := m.chance(m.cfg.MinVoteInterval / 3)
	switch {
	case m.role == Follower:
		m.becomeCandidate(ReasonLeaderGone, jitter)
	case !m.election.asking:
		m.deadline = earlier(m.deadline, m.now.Add(jitter))
	}
}
