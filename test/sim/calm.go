package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The calm phase: everything is healed, and the group has to show that it lives
// (I20, I21).
const (
	electLimit  = 10 * time.Second // to one leader that all follow
	serveTime   = 5 * time.Second  // of proposals, all of which must be acknowledged
	lossyTime   = 300 * time.Millisecond
	settleTime  = 2 * time.Second // without proposals, to equal ledgers
	settleLimit = 20 * time.Second
	idleTime    = time.Second
	calmTerms   = 2 // new terms after the first stable leader
)

// beginCalm heals everything and watches.
func (s *Sim) beginCalm() {
	s.heal()
	if s.profile.disaster && s.strike() {
		return
	}
	if s.profile.calamity && s.ruin() {
		s.awaitRefusal(s.now + calamityLimit)
		return
	}
	s.awaitLeader(s.now + electLimit)
}

// awaitLeader looks for one leader that all follow, whose NOOP is committed, and who
// has proven all.
func (s *Sim) awaitLeader(limit time.Duration) {
	if lead := s.leader(); lead != nil && s.allFollow(lead) && lead.commit >= 0 && lead.log[lead.commit].term == lead.term {
		term := s.god.maxTerm
		s.served = s.served[:0]
		s.serve(term, s.now+serveTime)
		return
	}
	if s.now >= limit {
		s.fail("I20: no leader that all follow within %v of healing", electLimit)
		return
	}
	s.after(20*time.Millisecond, func() { s.awaitLeader(limit) })
}

func (s *Sim) allFollow(lead *node) bool {
	for _, n := range s.members() {
		if !n.disk.ballot.Proven {
			return false
		}
		if n != lead && (n.role != member.Follower || n.leader != lead.id || n.term != lead.term) {
			return false
		}
	}
	return true
}

// serve proposes to the leader until end. A refusal during a hand-over is no fault.
func (s *Sim) serve(term member.Term, end time.Duration) {
	if end-s.now < lossyTime {
		s.weather.drop = 0.3 // the last pushes get lost, and nothing follows them
	}
	if s.now >= end {
		s.quiet = true
		s.weather.drop = 0
		s.after(settleTime, func() { s.settle(term, s.now+settleLimit) })
		return
	}
	if lead := s.leader(); lead != nil {
		s.served = append(s.served, s.proposeTo(lead))
	}
	s.after(100*time.Millisecond, func() { s.serve(term, end) })
}

// settle waits until all ledgers are equal, durable and committed to the end.
func (s *Sim) settle(term member.Term, limit time.Duration) {
	if s.equal() {
		sent := s.count[Messages]
		s.after(idleTime, func() { s.judgeIdle(s.count[Messages] - sent); s.judgeCalm(term) })
		return
	}
	if s.now >= limit {
		for _, n := range s.nodes {
			s.note(n, "ledger end and commit", int64(n.log.end()), int64(n.commit))
			s.note(n, "faulty and unsynced", int64(len(n.chores.faulty)), int64(len(n.disk.unsynced)))
		}
		s.fail("I21: ledgers not equal, durable and committed %v after the last proposal", settleTime+settleLimit)
		return
	}
	s.after(100*time.Millisecond, func() { s.settle(term, limit) })
}

func (s *Sim) equal() bool {
	first := s.members()[0].log
	for _, n := range s.members() {
		end := n.log.end()
		if end < 0 || end != first.end() || n.log[end].chain != first[end].chain {
			return false
		}
		if s.mendable(n) || !n.disk.ballot.Proven || n.commit != end || n.disk.durable.end() != end || len(n.disk.unsynced) > 0 {
			return false
		}
	}
	return true
}

// judgeIdle: a group with nothing to do exchanges heartbeats and little else.
func (s *Sim) judgeIdle(messages int64) {
	beats := 2 * int64(len(s.nodes)-1) * int64(idleTime/(100*time.Millisecond))
	if s.changing() {
		beats *= 3 // those that were removed and do not know it ask for votes
	}
	if messages > 2*beats+20 {
		s.fail("chatter: %d messages in %v without proposals, %d are heartbeats and answers", messages, idleTime, beats)
	}
}

// judgeCalm looks back at the calm phase.
func (s *Sim) judgeCalm(term member.Term) {
	changes := s.god.maxTerm - term
	if changes > calmTerms {
		s.fail("I20: %d new terms after the first stable leader", changes)
	}
	acked := 0
	for _, p := range s.served {
		if p.acked {
			acked++
		}
	}
	most := 8
	if changes > 0 {
		most = 6 // a leader that finds damage which nobody can mend holds on for a second first
	}
	if s.changing() {
		most = 5 // a leader that has just been removed may hand over to a slow disk first
	}
	if acked*10 < len(s.served)*most {
		s.fail("I20: %d of %d proposals acknowledged in calm", acked, len(s.served))
	}
	for _, p := range s.god.acked {
		at := int(p.first) + p.count - 1
		if s.god.committed[at].payload != p.payload+uint64(p.count)-1 {
			s.fail("I8: acknowledged %d is no longer at %d", p.payload, p.first)
		}
	}
	for _, n := range s.nodes {
		if n.transfers != 0 {
			s.fail("%s: %d transfers were never answered", n.id, n.transfers)
		}
	}
	if s.ruined != nil {
		s.findCopy()
		return
	}
	s.finish(s.now + mendLimit)
}

// finish reads everything once more on every member, and waits until what turns out to be
// damaged is repaired.
func (s *Sim) finish(limit time.Duration) {
	whole := true
	for _, n := range s.members() {
		whole = n.up && n.readAll() && !s.mendable(n) && whole
	}
	switch {
	case whole:
		s.judgeHistory()
		s.done = true
	case s.now >= limit:
		s.fail("I9: not all entries can be read everywhere %v after the end", mendLimit)
	default:
		s.after(200*time.Millisecond, func() { s.finish(limit) })
	}
}
