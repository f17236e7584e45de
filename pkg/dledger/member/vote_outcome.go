package member

// tally counts the answers of the voters in a vote round, the candidate's own included.
type tally struct {
	size      int  // voters of the group
	valid     int  // answers of any kind
	accepted  int  // ACCEPT
	notReady  int  // TERM_NOT_READY: will accept when asked again
	bigger    int  // refused because their ledger is ahead
	hasLeader bool // somebody has a leader
	term      Term // that the round asks for
	maxTerm   Term // the highest one that a refusal showed
}

func (m *Member) tally() tally {
	e := &m.election
	t := tally{size: m.voters, valid: m.own(), accepted: m.own(), term: e.term, maxTerm: e.maxTerm}
	for i, result := range e.results {
		if result == 0 || !m.peers[i].voter {
			continue
		}
		t.valid++
		switch result {
		case Accept:
			t.accepted++
		case RejectTermNotReady:
			t.notReady++
		case RejectExpiredLedgerTerm, RejectSmallLedgerEndIndex:
			t.bigger++
		case RejectAlreadyHasLeader:
			t.hasLeader = true
		case RejectUnknownLeader, RejectUnexpectedLeader, RejectExpiredVoteTerm, RejectAlreadyVoted,
			RejectTermSmallThanLedger, RejectTakingLeadership, RejectNotAVoter:
		}
	}
	return t
}

func (t tally) quorum(n int) bool { return n >= majority(t.size) }

// decided says whether answers that are still missing could not change what to do. A
// candidate that is on its way out has no vote of its own: too few may have answered
// although enough have refused.
func (t tally) decided() bool {
	yes := t.accepted + t.notReady
	missing := t.size - t.valid
	return t.maxTerm > t.term || t.quorum(yes) || (t.quorum(t.valid) && !t.quorum(yes+missing))
}

// outcome is DLedger's parse of a round, its seven cases in its order. One thing
// differs: a minority that still sees a leader does not veto a quorum of votes.
func (t tally) outcome() VoteOutcome {
	yes := t.accepted + t.notReady
	switch {
	case t.maxTerm > t.term: // 1: somebody is ahead
		return WaitToVoteNext
	case t.hasLeader && !t.quorum(yes): // 2: somebody has a leader
		return WaitToRevote
	case !t.quorum(t.valid): // 3: too few answers to know; the term does not grow
		return WaitToRevote
	case !t.quorum(t.valid - t.bigger): // 4: too many know more than this member
		return WaitToRevote
	case t.quorum(t.accepted): // 5
		return Passed
	case t.quorum(yes): // 6: they know the term now
		return RevoteImmediately
	}
	return WaitToVoteNext // 7: split
}
