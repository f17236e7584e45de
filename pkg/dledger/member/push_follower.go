package member

// handlePush carries out what a leader asks. Term and leader are checked now, not
// when the request was queued: a delayed request of a deposed leader changes
// nothing (DLedger HEAD checks neither for TRUNCATE, COMPARE and COMMIT).
func (m *Member) handlePush(r PushRequest) {
	code := m.judgeLeader(r.From, r.Leader, r.Term)
	if code == TermNotReady {
		m.adoptTerm(r.Term)
		if m.role == Leader {
			m.becomeCandidate(ReasonHigherTerm, m.patience())
		}
		m.leader = ""
		code = Success
	}
	if code != Success {
		m.answerPush(r, code)
		return
	}
	m.follow(r.Leader)
	if !m.ledger.Has(r.PrevIndex, r.PrevTerm) {
		m.answerPush(r, InconsistentState)
		return
	}
	m.verify(r.PrevIndex)
	switch r.Type {
	case Compare:
		m.answerPush(r, Success)
	case Truncate:
		m.truncateConflict(r)
		m.answerPush(r, Success)
	case Append:
		m.appendPushed(r)
	}
	m.advanceCommitTo(r.Commit)
}

// verify notes that the ledger matches the leader's up to i.
func (m *Member) verify(i Index) { m.verified = max(m.verified, i) }

// truncateConflict drops the entries from First on if the one at First is not the
// leader's. A late or doubled request finds no conflict and does nothing.
func (m *Member) truncateConflict(r PushRequest) {
	if r.First != r.PrevIndex+1 || r.First > m.ledger.End() || m.ledger.Has(r.First, r.FirstTerm) {
		return
	}
	assert(r.First > m.commit, "I5: %s asks to truncate from %d, committed up to %d", r.Leader, r.First, m.commit)
	assert(r.First > m.verified, "I3: %s asks to truncate from %d, matching up to %d", r.Leader, r.First, m.verified)
	m.truncateFrom(r.First)
}

// truncateFrom drops the entries from i on. Those that were never handed to the
// shell are only forgotten.
func (m *Member) truncateFrom(i Index) {
	handed := m.ledger.End()
	if len(m.update.Append) > 0 {
		handed = m.update.Append[0].First - 1
	}
	m.ledger.truncateFrom(i)
	m.undoChanges(i)
	m.durable = min(m.durable, m.ledger.End())
	m.acked = min(m.acked, m.ledger.End())
	spans := m.update.Append
	for len(spans) > 0 && spans[len(spans)-1].First >= i {
		spans = spans[:len(spans)-1]
	}
	if n := len(spans); n > 0 {
		spans[n-1].Last = min(spans[n-1].Last, i-1)
	}
	m.update.Append = spans
	if i > handed {
		return
	}
	if m.update.Truncate == nil {
		m.epoch++
		m.update.Truncate = &i
	}
	*m.update.Truncate = min(*m.update.Truncate, i)
}

// appendPushed takes the entries it lacks. It skips those it has and never
// removes one: a conflict is for COMPARE and TRUNCATE to settle.
func (m *Member) appendPushed(r PushRequest) {
	if r.Last < r.First {
		m.answerPush(r, Success)
		return
	}
	if !m.soundRuns(r) {
		m.answerPush(r, InconsistentState)
		return
	}
	if at, conflict := m.conflict(r); conflict {
		r.PrevIndex = at // the entry to look for common ground before
		m.answerPush(r, InconsistentState)
		return
	}
	end := m.ledger.End()
	for i, run := range r.Runs {
		last := r.Last
		if i+1 < len(r.Runs) {
			last = r.Runs[i+1].First - 1
		}
		if last <= m.ledger.End() {
			continue
		}
		first := m.ledger.End() + 1
		m.ledger.append(run.Term, last-m.ledger.End())
		m.write(Span{First: first, Last: last, Term: run.Term})
	}
	for _, c := range r.Changes {
		if c.At > end {
			m.addChange(c)
		}
	}
	m.verify(r.Last)
	if m.durable >= r.Last {
		m.answerPush(r, Success)
	}
}

// soundRuns says whether the runs describe exactly First to Last, after PrevTerm
// and up to the leader's term. (A leader that was deposed while its shell was
// reading could send entries of a newer term under its own.)
func (m *Member) soundRuns(r PushRequest) bool {
	if r.First != r.PrevIndex+1 || len(r.Runs) == 0 || r.Runs[0].First != r.First {
		return false
	}
	term, next := max(r.PrevTerm, 1), r.First
	for i, run := range r.Runs {
		if run.Term < term || run.Term > r.Term || run.First < next || run.First > r.Last || (i > 0 && run.Term == term) {
			return false
		}
		term, next = run.Term, run.First+1
	}
	return true
}

// conflict finds the first entry of the request that is here with another term.
func (m *Member) conflict(r PushRequest) (at Index, found bool) {
	end := min(r.Last, m.ledger.End())
	for i, run := range r.Runs {
		last := end
		if i+1 < len(r.Runs) {
			last = min(end, r.Runs[i+1].First-1)
		}
		if run.First > last {
			break
		}
		if !m.ledger.Has(run.First, run.Term) {
			return run.First, true
		}
		if same, _ := m.ledger.LastOfTerm(run.Term); same < last {
			return same + 1, true
		}
	}
	return NoIndex, false
}

// acknowledged is the last entry that is on disk here and matches the leader's
// ledger: what the leader may count.
func (m *Member) acknowledged() (Index, Term) {
	index := min(m.durable, m.verified)
	term, _ := m.ledger.TermAt(index)
	return index, term
}

// acknowledge tells the leader how far its entries are durable here, once per
// completed write.
func (m *Member) acknowledge() {
	if m.role != Follower || m.leader == "" {
		return
	}
	if index, _ := m.acknowledged(); index > m.acked {
		m.answerPush(PushRequest{From: m.leader, Type: Append, Term: m.ballot.Term, PrevIndex: index}, Success)
	}
}

func (m *Member) answerPush(r PushRequest, code Code) {
	resp := PushResponse{
		From: m.cfg.ID, To: r.From, Type: r.Type, Term: m.ballot.Term, Code: code, RequestTerm: r.Term, PrevIndex: r.PrevIndex,
		DurableIndex: NoIndex, DurableTerm: NoTerm, EndIndex: m.ledger.End(), XTerm: NoTerm, XIndex: NoIndex,
		Incarnation: m.cfg.Incarnation, Unproven: !m.ballot.Proven,
	}
	if code == Success || code == InconsistentState {
		resp.DurableIndex, resp.DurableTerm = m.acknowledged()
		m.acked = max(m.acked, resp.DurableIndex)
	}
	if term, ok := m.ledger.TermAt(r.PrevIndex); ok && code == InconsistentState {
		resp.XTerm, resp.XIndex = term, m.ledger.FirstOfTerm(r.PrevIndex)
	}
	m.send(resp)
}
