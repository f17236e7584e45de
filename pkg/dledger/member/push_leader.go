package member

import (
	"fmt"
	"time"
)

// PushState is what a leader does with one peer.
type PushState uint8

// The push states. A peer is compared until a common entry is found, told to drop
// what conflicts after it if there may be something, and then appended to.
const (
	PushCompare PushState = iota + 1
	PushTruncate
	PushAppend
	// PushNeedsSeed is a peer that lacks entries which the leader no longer has.
	// Nothing is pushed until it has been seeded and has come back (Connected).
	PushNeedsSeed
)

// String returns the state in the manner of DLedger.
func (s PushState) String() string {
	switch s {
	case PushCompare:
		return "COMPARE"
	case PushTruncate:
		return "TRUNCATE"
	case PushAppend:
		return "APPEND"
	case PushNeedsSeed:
		return "NEEDS_SEED"
	}
	return fmt.Sprintf("PushState(%d)", uint8(s))
}

// peer is another member as the leader sees it. All but the id and its seat belongs
// to one leadership.
type peer struct {
	id        ID
	seat      Seat
	voter     bool // of the group as it is now
	leaving   bool // not in the group any more, but may not know it
	state     PushState
	waterMark Index     // up to here its durable ledger is known to match the leader's
	next      Index     // APPEND: the next entry to push; before: the one after what is compared
	asked     Index     // the entry that the last COMPARE or TRUNCATE named
	commit    Index     // the highest commit index it was sent
	askedAt   time.Time // when it was last sent a COMPARE or TRUNCATE
	grewAt    time.Time // when its water mark last rose or began to lag
	heardAt   time.Time // when it last answered
	goodSince time.Time // since when it has been fit and close; zero: it is not
	fit       bool
	standing  standing

	// Not of the leadership.
	birth   birth // what a fresh member has heard
	refuses bool  // asked for its vote, it said that it may not vote
}

func (p *peer) reset(next Index, now time.Time) {
	*p = peer{
		id: p.id, seat: p.seat, voter: p.voter, leaving: p.leaving, birth: p.birth, refuses: p.refuses,
		state: PushCompare, waterMark: NoIndex, next: next, commit: NoIndex, grewAt: now, heardAt: now,
	}
}

// push brings every peer up to date with what the leader has; called by Take, so
// that many proposals make one request. Nothing is sent to a peer that has
// everything: an answer alone never causes a push.
func (m *Member) push() {
	if m.role != Leader {
		return
	}
	for _, p := range m.peers {
		if p.state != PushAppend {
			continue
		}
		idle := p.waterMark >= p.next-1
		switch {
		case p.next <= m.ledger.End():
			if idle {
				p.grewAt = m.now
			}
			m.sendAppend(p)
		case idle && p.commit < m.commit:
			m.sendPush(p, PushRequest{Type: Commit, PrevIndex: p.waterMark, Last: NoIndex})
		}
	}
}

func (m *Member) sendAppend(p *peer) {
	first, last := p.next, m.ledger.End()
	p.next = last + 1
	m.sendPush(p, PushRequest{Type: Append, PrevIndex: first - 1, First: first, Last: last, Runs: m.ledger.Runs(first, last)})
}

// sendCompare asks whether p has the entry before p.next.
func (m *Member) sendCompare(p *peer) {
	p.state = PushCompare
	if p.next < m.ledger.Begin() {
		p.state = PushNeedsSeed
		return
	}
	p.askedAt, p.asked = m.now, p.next-1
	m.sendPush(p, PushRequest{Type: Compare, PrevIndex: p.asked, Last: NoIndex})
}

// sendTruncate tells p, which has the entry before p.next, to drop what follows if
// that conflicts.
func (m *Member) sendTruncate(p *peer) {
	p.state, p.askedAt, p.asked = PushTruncate, m.now, p.next-1
	term, _ := m.ledger.TermAt(p.next)
	m.sendPush(p, PushRequest{Type: Truncate, PrevIndex: p.asked, First: p.next, Last: NoIndex, FirstTerm: term})
}

func (m *Member) sendPush(p *peer, r PushRequest) {
	r.From, r.To, r.Term, r.Leader, r.Commit = m.cfg.ID, p.id, m.ballot.Term, m.cfg.ID, m.commit
	r.PrevTerm, _ = m.ledger.TermAt(r.PrevIndex)
	p.commit = m.commit
	m.send(r)
}

// handlePushResponse is the leader's side of the conversation with one peer.
// Answers to what another leader or an older term asked are not for this one.
func (m *Member) handlePushResponse(r PushResponse) {
	m.learnTerm(r.Term, r.From)
	p := m.peerOf(r.From)
	if m.role != Leader || p == nil || r.RequestTerm != m.ballot.Term || !m.recognise(p, r.Incarnation, r.Unproven) {
		return
	}
	switch r.Code {
	case Success:
		p.heardAt = m.now
		m.credit(p, r.DurableIndex, r.DurableTerm)
		m.pushSucceeded(p, r)
		m.tellProof(p)
	case InconsistentState:
		p.heardAt = m.now
		m.credit(p, r.DurableIndex, r.DurableTerm)
		m.pushConflicted(p, r)
	case InconsistentLeader:
		m.becomeCandidate(ReasonInconsistent, 0)
		m.startPreVote()
	}
}

func (m *Member) pushSucceeded(p *peer, r PushResponse) {
	if r.PrevIndex != p.asked {
		return // not what was asked last
	}
	switch {
	case p.state == PushCompare && r.Type == Compare && r.EndIndex > r.PrevIndex && p.next <= m.ledger.End():
		m.sendTruncate(p)
	case p.state == PushCompare && r.Type == Compare, p.state == PushTruncate && r.Type == Truncate:
		p.state, p.grewAt = PushAppend, m.now
	}
}

// pushConflicted goes back to where the two ledgers may agree, a whole term at a
// time: if the leader has entries of the follower's term, to the last of them;
// else to before the first that the follower has of it; or to the follower's end.
func (m *Member) pushConflicted(p *peer, r PushResponse) {
	compared := p.state == PushCompare && r.Type == Compare && r.PrevIndex == p.asked
	pushed := (p.state == PushAppend || p.state == PushTruncate) && r.Type != Compare && r.PrevIndex < p.next && r.PrevIndex >= p.waterMark
	if !compared && !pushed {
		return
	}
	prev := r.PrevIndex - 1
	if r.XTerm == NoTerm {
		prev = min(prev, r.EndIndex)
	} else if last, ok := m.ledger.LastOfTerm(r.XTerm); ok && last < r.PrevIndex {
		prev = last
	} else {
		prev = min(prev, r.XIndex-1)
	}
	if r.PrevIndex >= m.ledger.Begin() {
		prev = max(prev, m.ledger.Begin()-1) // the last one that can be compared: never jump over it
	}
	p.next = max(prev, NoIndex) + 1
	m.sendCompare(p)
}

// probe looks for what may have been lost, on every heartbeat answer: a COMPARE
// or TRUNCATE without an answer is asked again, and a peer whose durable index has
// gone back (it restarted) or does not grow is compared where it should be, which
// finds a lost push as well as a lost answer (dledger#199).
func (m *Member) probe(p *peer, durable Index) {
	switch p.state {
	case PushCompare, PushTruncate:
		if m.now.Sub(p.askedAt) >= m.cfg.HeartBeatInterval {
			m.sendCompare(p)
		}
	case PushAppend:
		stuck := p.waterMark < p.next-1 && m.now.Sub(p.grewAt) >= m.cfg.ResendInterval
		if durable < p.waterMark || stuck {
			m.sendCompare(p)
		}
	}
}

// stopPushingToTheSilent compares anew with whoever has not answered for an
// election timeout, instead of piling up pushes that are probably lost.
func (m *Member) stopPushingToTheSilent() {
	for _, p := range m.peers {
		if p.state == PushAppend && m.now.Sub(p.heardAt) >= m.electionTimeout() {
			p.state = PushCompare
		}
	}
}
