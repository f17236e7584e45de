package member

import "fmt"

// assert panics on what only a fault of ours can cause. Nobody recovers: a member
// that has broken a rule must not go on.
func assert(ok bool, format string, args ...any) {
	if !ok {
		panic("member: invariant broken: " + fmt.Sprintf(format, args...))
	}
}

// snapshot is what must not go back from one step to the next.
type snapshot struct {
	ballot Ballot
	commit Index
	role   Role
	end    Index
}

func (m *Member) snapshot() snapshot { return snapshot{m.ballot, m.commit, m.role, m.ledger.End()} }

// checkInvariants runs after every Step, in production too.
func (m *Member) checkInvariants() {
	was, is := m.before, m.snapshot()
	m.before = is
	if !m.sound(was, is) {
		m.explain(was, is)
	}
}

// sound says in one condition whether every invariant holds; explain names the
// one that does not, at its leisure.
func (m *Member) sound(was, is snapshot) bool {
	end := m.ledger.End()
	ok := is.commit >= was.commit && is.commit <= end && m.durable <= end && m.verified <= end &&
		is.ballot.Term >= was.ballot.Term && (is.ballot.Proven || !was.ballot.Proven) && m.knownMaxTerm >= is.ballot.Term && m.ledger.EndTerm() <= is.ballot.Term
	if is.ballot.Term == was.ballot.Term && was.ballot.VotedFor != "" {
		ok = ok && is.ballot.VotedFor == was.ballot.VotedFor
	}
	if m.role == Leader {
		ok = ok && is.ballot.Proven && (was.role != Leader || is.end >= was.end) && m.leader == m.cfg.ID && is.ballot.VotedFor == m.cfg.ID && m.noop >= m.ledger.Begin() && m.noop <= end
		for _, p := range m.peers {
			ok = ok && p.waterMark <= end && p.next >= 0 && p.next <= end+1
		}
	} else {
		ok = ok && m.leader != m.cfg.ID
	}
	return ok
}

func (m *Member) explain(was, is snapshot) {
	end := m.ledger.End()
	assert(is.ballot.Term >= was.ballot.Term, "I5: term went back from %d to %d", was.ballot.Term, is.ballot.Term)
	assert(is.ballot.Term != was.ballot.Term || was.ballot.VotedFor == "" || is.ballot.VotedFor == was.ballot.VotedFor,
		"I1: two votes in term %d: %s, then %s", is.ballot.Term, was.ballot.VotedFor, is.ballot.VotedFor)
	assert(is.ballot.Proven || !was.ballot.Proven, "I10: no longer proven in term %d", is.ballot.Term)
	assert(m.role != Leader || is.ballot.Proven, "I10: leads term %d unproven", is.ballot.Term)
	assert(is.commit >= was.commit, "I5: commit index went back from %d to %d", was.commit, is.commit)
	assert(is.commit <= end, "I5: commit index %d is beyond the end %d", is.commit, end)
	assert(m.durable <= end, "I8: durable index %d is beyond the end %d", m.durable, end)
	assert(m.verified <= end, "I3: verified index %d is beyond the end %d", m.verified, end)
	assert(m.ledger.EndTerm() <= is.ballot.Term, "I3: last entry's term %d is above the ballot's %d", m.ledger.EndTerm(), is.ballot.Term)
	assert(m.knownMaxTerm >= is.ballot.Term, "I5: known max term %d is below the ballot's %d", m.knownMaxTerm, is.ballot.Term)
	assert((m.role == Leader) == (m.leader == m.cfg.ID), "I1: %v of term %d takes %s for its leader", m.role, is.ballot.Term, m.leader)
	assert(m.role != Leader || is.ballot.VotedFor == m.cfg.ID, "I1: leads term %d but voted for %s", is.ballot.Term, is.ballot.VotedFor)
	assert(m.role != Leader || (m.noop >= m.ledger.Begin() && m.noop <= end), "I6: leads term %d without a no-op entry", is.ballot.Term)
	assert(m.role != Leader || was.role != Leader || is.end >= was.end, "I2: leader's end went back from %d to %d", was.end, is.end)
	for _, p := range m.peers {
		assert(m.role != Leader || (p.waterMark <= end && p.next >= 0 && p.next <= end+1),
			"I6: peer %s: water mark %d, next %d, end %d", p.id, p.waterMark, p.next, end)
	}
}
