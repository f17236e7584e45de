package member

import "slices"

// handlePropose appends to the leader's own ledger. Sending starts with the next
// Take, in parallel with the leader's own write.
func (m *Member) handlePropose(ev Propose) {
	answer := ProposeAnswer{Code: NotLeader, First: NoIndex, Last: NoIndex, Term: m.ballot.Term}
	switch {
	case m.role != Leader:
	case m.withholding():
		answer.Code = LeaderTransferring
	default:
		assert(ev.Count > 0, "I2: propose %d entries", ev.Count)
		answer.Code = Success
		answer.First, answer.Last = m.appendOwn(Index(ev.Count), false)
	}
	m.update.Answers = append(m.update.Answers, answer)
}

// appendOwn appends count entries of the leader's own term.
func (m *Member) appendOwn(count Index, noop bool) (first, last Index) {
	assert(m.role == Leader, "I2: %v appends entries of its own", m.role)
	first, last = m.ledger.End()+1, m.ledger.End()+count
	m.ledger.append(m.ballot.Term, count)
	m.write(Span{First: first, Last: last, Term: m.ballot.Term, Noop: noop})
	return first, last
}

// write asks for a range to be written; ranges that touch become one.
func (m *Member) write(s Span) {
	if n := len(m.update.Append); n > 0 {
		last := &m.update.Append[n-1]
		plain := !s.Noop && !s.Change && !last.Noop && !last.Change
		if plain && last.Term == s.Term && last.Last+1 == s.First {
			last.Last = s.Last
			return
		}
	}
	m.update.Append = append(m.update.Append, s)
}

// handlePersisted takes note of what is on disk. A completion from before a
// truncation, or for an entry that has been replaced since, proves nothing about
// the ledger as it is now (R14).
func (m *Member) handlePersisted(ev Persisted) {
	if ev.Epoch != m.epoch || ev.Index <= m.durable || ev.Index > m.ledger.End() || !m.ledger.Has(ev.Index, ev.Term) {
		return
	}
	m.durable = ev.Index
	if m.role == Leader {
		m.advanceCommit()
		return
	}
	m.acknowledge()
}

// credit raises the water mark of p to what it says is durable there, if the
// leader's ledger agrees.
func (m *Member) credit(p *peer, index Index, term Term) {
	if index <= p.waterMark || index > m.ledger.End() || !m.ledger.Has(index, term) {
		return
	}
	p.waterMark, p.grewAt = index, m.now
	if p.state == PushAppend {
		p.next = max(p.next, index+1)
	}
	m.advanceCommit()
	m.handOver()
}

// advanceCommit is the leader's commit rule: a quorum, the leader's own disk
// counted like any other, holds the entry durably, and the entry is of the
// leader's own term. What learners and unproven members hold is not counted, nor the
// own copy of a leader on its way out (Raft thesis 4.2.2). Older entries are committed
// only by what follows them (Raft 5.4.2; DLedger 0.3.1.2 counts them).
func (m *Member) advanceCommit() {
	marks := make([]Index, 0, maxVoters)
	if m.isVoter {
		marks = append(marks, m.durable)
	}
	for _, p := range m.peers {
		switch {
		case p.voter && p.counts():
			marks = append(marks, p.waterMark)
		case p.voter:
			marks = append(marks, NoIndex)
		}
	}
	index := quorumIndex(marks)
	if index <= m.commit {
		return
	}
	if term, _ := m.ledger.TermAt(index); term == m.ballot.Term {
		m.commit = index
		m.settleChanges()
	}
}

// quorumIndex is the highest index that a majority of the marks has reached. It
// reorders them.
func quorumIndex(marks []Index) Index {
	slices.Sort(marks)
	return marks[(len(marks)-1)/2]
}

// advanceCommitTo is the follower's commit rule: never beyond what is known to
// match the leader's ledger (dledger#278).
func (m *Member) advanceCommitTo(leaders Index) {
	m.commit = max(m.commit, min(leaders, m.verified))
	m.settleChanges()
}
