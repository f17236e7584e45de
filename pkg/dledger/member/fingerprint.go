package member

import (
	"slices"
	"time"
)

// Clone is another member in the same state: what happens to one does not touch the
// other. Both draw from the same Config.Rand. It is for searches through states, and
// is called when Take has left nothing behind.
func (m *Member) Clone() *Member {
	c := *m
	c.ledger.runs = slices.Clone(m.ledger.runs)
	c.changes = slices.Clone(m.changes)
	c.election.results = slices.Clone(m.election.results)
	c.peers = make([]*peer, len(m.peers))
	for i, p := range m.peers {
		q := *p
		q.standing.gone = slices.Clone(p.standing.gone)
		c.peers[i] = &q
	}
	if m.transfer != nil {
		t := *m.transfer
		c.transfer = &t
	}
	return &c
}

// Fingerprint sums up the state: members with equal fingerprints, the same Config
// and a Config.Rand that goes on alike do the same from here on. Moments count as
// how far they are away, up to two election timeouts; nothing asks for more.
func (m *Member) Fingerprint() uint64 {
	f := &fingerprint{now: m.now, horizon: 2 * m.electionTimeout()}
	f.ballot(m.ballot)
	f.numbers(int64(m.knownMaxTerm), int64(m.role), int64(m.durable), int64(m.epoch), int64(m.commit), int64(m.verified), int64(m.acked), int64(m.noop))
	f.texts(m.leader, m.elder, m.heard.leader)
	f.flags(m.fit, m.barred, m.leaderGone)
	f.changes(m.changes)
	f.flags(m.isVoter)
	f.numbers(int64(m.voters))
	f.moments(m.settledAt, m.askAt, m.heard.at, m.deadline, m.beatAt, m.handedAt)
	f.ledger(&m.ledger)
	f.election(&m.election)
	for _, p := range m.peers {
		f.peer(p)
	}
	f.flags(m.transfer != nil)
	if t := m.transfer; t != nil {
		f.texts(t.to)
		f.numbers(int64(t.target))
		f.moments(t.deadline)
		f.flags(t.asked, t.requested)
	}
	return f.sum
}

type fingerprint struct {
	sum     uint64
	now     time.Time
	horizon time.Duration
}

func (f *fingerprint) numbers(values ...int64) {
	for _, v := range values {
		f.sum = (f.sum ^ uint64(v)) * 0x9e3779b97f4a7c15
		f.sum ^= f.sum >> 29
	}
}

func (f *fingerprint) texts(values ...ID) {
	for _, v := range values {
		f.numbers(int64(len(v)))
		for i := range len(v) {
			f.numbers(int64(v[i]))
		}
	}
}

func (f *fingerprint) flags(values ...bool) {
	for _, v := range values {
		if v {
			f.numbers(1)
		} else {
			f.numbers(0)
		}
	}
}

func (f *fingerprint) moments(values ...time.Time) {
	for _, v := range values {
		away := f.horizon + 1 // never
		if !v.IsZero() {
			away = min(max(v.Sub(f.now), -f.horizon), f.horizon)
		}
		f.numbers(int64(away))
	}
}

func (f *fingerprint) ballot(b Ballot) {
	f.numbers(int64(b.Term))
	f.texts(b.VotedFor)
	f.flags(b.Proven)
}

func (f *fingerprint) ledger(l *Ledger) {
	f.numbers(int64(l.begin), int64(l.prevTerm), int64(l.end))
	for _, r := range l.runs {
		f.numbers(int64(r.First), int64(r.Term))
	}
}

func (f *fingerprint) changes(changes []Change) {
	for _, c := range changes {
		f.numbers(int64(c.At), int64(c.Term))
		for _, s := range c.Members {
			f.texts(s.ID)
			f.flags(s.Learner)
		}
	}
}

func (f *fingerprint) election(e *election) {
	f.flags(e.asking, e.preVote, e.transfer, e.again, e.revoted, e.yielded)
	f.numbers(int64(e.term), int64(e.maxTerm))
	for _, r := range e.results {
		f.numbers(int64(r))
	}
}

func (f *fingerprint) peer(p *peer) {
	f.numbers(int64(p.state), int64(p.waterMark), int64(p.next), int64(p.asked), int64(p.commit))
	f.moments(p.askedAt, p.grewAt, p.heardAt, p.goodSince, p.birth.askedAt, p.birth.freshAt)
	f.texts(p.seat.ID, ID(p.seat.Address))
	f.flags(p.seat.Learner, p.voter, p.leaving, p.fit, p.refuses, p.standing.heard, p.standing.proven, p.standing.told, p.standing.doubted)
	f.numbers(int64(p.standing.proof))
	f.texts(ID(p.standing.incarnation))
	for _, gone := range p.standing.gone {
		f.texts(ID(gone))
	}
}
