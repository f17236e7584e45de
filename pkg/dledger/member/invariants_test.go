package member

import (
	"strings"
	"testing"
)

// TestInvariantsAreAsserted breaks each one by hand and expects its name.
func TestInvariantsAreAsserted(t *testing.T) {
	for name, breakIt := range map[string]func(*Member){
		"I5: term went back":      func(m *Member) { m.ballot.Term = 0 },
		"I10: no longer proven":   func(m *Member) { m.ballot.Proven = false },
		"I10: leads term":         func(m *Member) { m.before.ballot.Proven, m.ballot.Proven = false, false },
		"I10: votes for n2":       func(m *Member) { m.barred = true; m.grant(VoteRequest{From: "n2"}) },
		"I1: two votes":           func(m *Member) { m.ballot.VotedFor = "n2" },
		"I5: commit index went":   func(m *Member) { m.before.commit = 9 },
		"I5: commit index 9":      func(m *Member) { m.commit = 9 },
		"I8: durable":             func(m *Member) { m.durable = 9 },
		"I3: verified":            func(m *Member) { m.verified = 9 },
		"I3: last entry's term":   func(m *Member) { m.ledger.append(9, 1) },
		"I5: known max term":      func(m *Member) { m.knownMaxTerm = 0 },
		"I1: LEADER of term":      func(m *Member) { m.leader = "n2" },
		"I1: leads term":          func(m *Member) { m.before.ballot = Ballot{}; m.ballot.VotedFor = "n2" },
		"I6: leads term":          func(m *Member) { m.noop = NoIndex },
		"I2: leader's end":        func(m *Member) { m.before.end = 9 },
		"I6: peer n2: water mark": func(m *Member) { m.peers[0].waterMark = 9 },
		"I2: propose 0":           func(m *Member) { m.Step(m.now, Propose{}) },
		"I2: FOLLOWER appends":    func(m *Member) { m.becomeFollower("n2", ReasonHeartBeat); m.appendOwn(1, false) },
		"I3: truncate from 7":     func(m *Member) { m.ledger.truncateFrom(7) },
		"I3: append 1 entries":    func(m *Member) { m.ledger.append(0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newLeader(t)
			defer func() {
				got, _ := recover().(string)
				if !strings.Contains(got, name) {
					t.Fatalf("panic %q, want %q", got, name)
				}
			}()
			breakIt(m)
			m.Step(m.now, Connected{Peer: "n9"})
		})
	}
}
