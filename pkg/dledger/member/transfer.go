package member

import "time"

// transfer is a hand-over of the leadership under way. The old leader keeps it
// until it hears who leads next, so that the answer is the truth.
type transfer struct {
	to        ID
	target    Index // the ledger's end when it began
	deadline  time.Time
	asked     bool // TransferRequest has been sent
	requested bool // by a Transfer event, which is to be answered
}

// handleTransfer is the word of an operator (or of a shell that shuts down).
func (m *Member) handleTransfer(ev Transfer) {
	p := m.peerOf(ev.To)
	if ev.To == "" && m.role == Leader {
		p = m.closest()
	}
	code := m.judgeTransfer(ev.To, p)
	if code != Success || ev.To == m.cfg.ID {
		m.update.Transfers = append(m.update.Transfers, TransferAnswer{To: ev.To, Code: code})
		return
	}
	m.beginTransfer(p, true)
}

// judgeTransfer decides whether this member may hand over to p, which was asked
// for as to. Success for itself means that there is nothing to do.
func (m *Member) judgeTransfer(to ID, p *peer) Code {
	switch {
	case m.role != Leader:
		return NotLeader
	case to == m.cfg.ID:
		return Success
	case m.transfer != nil:
		return LeaderTransferring
	case p == nil && to != "":
		return UnknownMember
	case p == nil || m.ledger.End()-p.waterMark > m.cfg.MaxTransferGap:
		return FallBehindTooMuch
	case !m.good(p):
		return TakeLeadershipFailed
	}
	return Success
}

// good says whether p could lead: it is a voter, lives, says it is fit, and is close.
func (m *Member) good(p *peer) bool {
	return p.voter && p.fit && m.now.Sub(p.heardAt) < m.electionTimeout() && m.ledger.End()-p.waterMark <= m.cfg.MaxTransferGap
}

// closest is the good peer with the highest water mark, nil if none is good.
func (m *Member) closest() *peer {
	var best *peer
	for _, p := range m.peers {
		if m.good(p) && (best == nil || p.waterMark > best.waterMark) {
			best = p
		}
	}
	return best
}

func (m *Member) beginTransfer(p *peer, requested bool) {
	m.transfer = &transfer{to: p.id, target: m.ledger.End(), deadline: m.now.Add(m.cfg.TransferTimeout), requested: requested}
	m.handOver()
}

// withholding says whether proposals are refused: only once the transferee has
// everything that the leader had when the transfer began, so that the pause is as
// short as its last few entries.
func (m *Member) withholding() bool {
	return m.transfer != nil && m.peerOf(m.transfer.to).waterMark >= m.transfer.target
}

// handOver asks the transferee to lead as soon as it holds everything.
func (m *Member) handOver() {
	t := m.transfer
	if t == nil || t.asked || m.peerOf(t.to).waterMark < m.ledger.End() {
		return
	}
	t.asked = true
	m.askTransferee()
}

// askTransfereeAgain makes good a lost request; one that was not lost is refused
// with a term that shows that the transferee has begun.
func (m *Member) askTransfereeAgain() {
	if m.transfer != nil && m.transfer.asked {
		m.askTransferee()
	}
}

func (m *Member) askTransferee() {
	m.send(TransferRequest{From: m.cfg.ID, To: m.transfer.to, Term: m.ballot.Term, LedgerEndIndex: m.ledger.End()})
}

// handleTransferRequest is the transferee's side: it answers and asks for votes at
// once, without PreVote and with the leader's blessing.
func (m *Member) handleTransferRequest(r TransferRequest) {
	code := m.judgeTakeOver(r)
	m.send(TransferResponse{From: m.cfg.ID, To: r.From, Term: m.ballot.Term, Code: code, RequestTerm: r.Term})
	if code == Success {
		m.heard = hearing{} // the leader has given its leadership up
		m.becomeCandidate(ReasonTransfer, 0)
		m.startVote(m.knownMaxTerm+1, true)
	}
}

func (m *Member) judgeTakeOver(r TransferRequest) Code {
	held, _ := m.acknowledged()
	switch code := m.judgeLeader(r.From, r.From, r.Term); {
	case code != Success:
		return code
	case m.role != Follower:
		return NotFollower
	case held < r.LedgerEndIndex:
		return FallBehindTooMuch
	case !m.mayStand():
		return TakeLeadershipFailed
	}
	return Success
}

// handleTransferResponse ends the transfer if the transferee refuses. A refusal
// because it is ahead in term only says that it has begun; one because it is
// behind in term, that it will hear the term with the next heartbeat.
func (m *Member) handleTransferResponse(r TransferResponse) {
	m.learnTerm(r.Term, r.From)
	t := m.transfer
	if m.role != Leader || t == nil || t.to != r.From || r.RequestTerm != m.ballot.Term {
		return
	}
	switch {
	case r.Code == Success && m.retiring(): // nobody will tell it who leads next
	case r.Code == Success, r.Code == ExpiredTerm, r.Code == TermNotReady:
		return
	}
	m.finishTransfer(r.Code)
	m.stepDownIfUnfit()
}

// maintainTransfer gives up on a transfer that takes too long; the leader goes on
// leading.
func (m *Member) maintainTransfer() {
	if m.transfer != nil && !m.now.Before(m.transfer.deadline) {
		m.finishTransfer(TakeLeadershipFailed)
		m.stepDownIfUnfit()
	}
}

// leaveLeadership says what becomes of a transfer when its leader stops leading:
// if that can be its success, the next leader will tell.
func (m *Member) leaveLeadership(reason Reason) {
	if t := m.transfer; t != nil && (!t.asked || (reason != ReasonTransfer && reason != ReasonHigherTerm)) {
		m.finishTransfer(TakeLeadershipFailed)
	}
}

// endTransfer takes note of who leads now.
func (m *Member) endTransfer(leader ID) {
	if m.transfer == nil {
		return
	}
	code := TakeLeadershipFailed
	if leader == m.transfer.to {
		code = Success
	}
	m.finishTransfer(code)
}

func (m *Member) finishTransfer(code Code) {
	if m.transfer.requested {
		m.update.Transfers = append(m.update.Transfers, TransferAnswer{To: m.transfer.to, Code: code})
	}
	m.transfer = nil
}

// offerToPreferred hands over to the preferred leader, if it has been good for a
// while and was not offered the leadership lately. (Without the wait a preferred
// member with a bad disk is made leader again and again: dledger#287.)
func (m *Member) offerToPreferred() {
	p := m.peerOf(m.cfg.PreferredLeader)
	if p == nil {
		return
	}
	if !m.good(p) {
		p.goodSince = time.Time{}
		return
	}
	if p.goodSince.IsZero() {
		p.goodSince = m.now
	}
	coolDown := m.cfg.PreferredCoolDown
	if m.transfer != nil || !m.fit || m.commit < m.noop || m.now.Sub(p.goodSince) < coolDown || m.now.Sub(m.handedAt) < coolDown {
		return
	}
	m.handedAt = m.now
	m.beginTransfer(p, false)
}

// handleHealth takes note of whether this member is fit to lead. A leader that is
// not hands over to the closest peer that is; if there is none, the others will
// find one among them.
func (m *Member) handleHealth(ev Health) {
	m.fit = ev.Fit
	if m.fit || m.role == Follower {
		return
	}
	if m.role == Candidate {
		m.giveUpCandidacy()
		return
	}
	if m.transfer != nil {
		return
	}
	m.leave()
}

// leave hands over to the closest peer that is fit, or just steps down.
func (m *Member) leave() {
	if p := m.closest(); p != nil {
		m.beginTransfer(p, false)
		return
	}
	m.stepDownIfUnfit()
}

// stepDownIfUnfit ends a leadership that should have been handed over.
func (m *Member) stepDownIfUnfit() {
	switch {
	case m.retiring():
		m.becomeFollower("", ReasonRemoved)
	case m.role == Leader && !m.fit:
		m.becomeCandidate(ReasonUnfit, m.electionTimeout())
	}
}
