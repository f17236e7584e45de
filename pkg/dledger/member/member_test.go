package member

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func newMember(t *testing.T, ballot Ballot, ledger Ledger) *Member {
	t.Helper()
	m, err := New(Config{ID: "n1", Members: Voters("n1", "n2", "n3"), Rand: newRand(0.5)}, epoch, ballot, ledger)
	if err != nil {
		t.Fatal(err)
	}
	m.Take()
	return m
}

// newLeader makes a member that leads term 1, with n2 ready to be appended to.
func newLeader(t *testing.T) *Member {
	t.Helper()
	m := newMember(t, Ballot{Proven: true}, NewLedger(0, NoTerm, nil, NoIndex))
	m.Step(epoch.Add(750*time.Millisecond), Tick{})
	m.Step(m.now, Receive{VoteResponse{From: "n2", To: "n1", Result: Accept, PreVote: true, RequestTerm: 1}})
	m.Step(m.now, Receive{VoteResponse{From: "n2", To: "n1", Term: 1, Result: Accept, RequestTerm: 1}})
	if m.Role() != Leader {
		t.Fatalf("%v, not leader", m.Role())
	}
	m.Step(m.now, Receive{PushResponse{
		From: "n2", To: "n1", Type: Compare, Term: 1, Code: Success, RequestTerm: 1, PrevIndex: NoIndex,
		DurableIndex: NoIndex, DurableTerm: NoTerm, EndIndex: NoIndex,
	}})
	m.Take()
	return m
}

func TestTakeGathersManyProposals(t *testing.T) {
	m := newLeader(t)
	for range 3 {
		m.Step(m.now, Propose{Count: 2})
	}
	got := m.Take()
	want := Update{
		Append: []Span{{First: 1, Last: 6, Term: 1}},
		Answers: []ProposeAnswer{
			{Code: Success, First: 1, Last: 2, Term: 1}, {Code: Success, First: 3, Last: 4, Term: 1}, {Code: Success, First: 5, Last: 6, Term: 1},
		},
		Send: []Message{PushRequest{
			From: "n1", To: "n2", Type: Append, Term: 1, Leader: "n1", PrevIndex: 0, PrevTerm: 1, Commit: NoIndex,
			First: 1, Last: 6, Runs: []Run{{First: 1, Term: 1}},
		}},
		Commit: NoIndex,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("one write and one push for three proposals (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Update{Commit: NoIndex}, m.Take()); diff != "" {
		t.Fatalf("the second Take has nothing left (-want +got):\n%s", diff)
	}
}

// TestTruncateBeforeTake drops entries of which some were handed to the shell and
// some were not, with another append after it, all within one Take.
func TestTruncateBeforeTake(t *testing.T) {
	m := newMember(t, Ballot{Term: 2}, NewLedger(0, NoTerm, []Run{{0, 1}}, 2))
	push := func(from ID, term Term, typ PushType, prev Index, runs []Run, last Index, firstTerm Term) {
		m.Step(m.now, Receive{PushRequest{
			From: from, To: "n1", Type: typ, Term: term, Leader: from, PrevIndex: prev, PrevTerm: 1, Commit: NoIndex,
			First: prev + 1, Last: last, Runs: runs, FirstTerm: firstTerm,
		}})
	}
	push("n2", 2, Append, 2, []Run{{3, 2}}, 6, 0)
	push("n3", 3, Truncate, 2, nil, NoIndex, 3) // nothing of it was ever written
	push("n3", 3, Append, 2, []Run{{3, 3}}, 3, 0)
	u := m.Take()
	if diff := cmp.Diff([]Span{{First: 3, Last: 3, Term: 3}}, u.Append); diff != "" || u.Truncate != nil || m.epoch != 0 {
		t.Fatalf("truncate %v, epoch %d, append (-want +got):\n%s", u.Truncate, m.epoch, diff)
	}

	m.Step(m.now, Persisted{Index: 3, Term: 3})
	push("n2", 4, Append, 2, []Run{{3, 3}}, 3, 0)
	m.Step(m.now, Receive{PushRequest{
		From: "n2", To: "n1", Type: Append, Term: 4, Leader: "n2", PrevIndex: 3, PrevTerm: 3, Commit: NoIndex, First: 4, Last: 5, Runs: []Run{{4, 4}},
	}})
	push("n3", 5, Truncate, 2, nil, NoIndex, 5)
	push("n2", 6, Append, 2, []Run{{3, 6}}, 4, 0)
	push("n3", 7, Truncate, 1, nil, NoIndex, 7)
	u = m.Take()
	if u.Truncate == nil || *u.Truncate != 2 || len(u.Append) != 0 || m.epoch != 1 {
		t.Fatalf("truncate %v, epoch %d, append %v: want one truncation from 2 for both", u.Truncate, m.epoch, u.Append)
	}
	if s := m.Status(); s.End != 1 || s.Durable != 1 || s.EndTerm != 1 {
		t.Fatalf("status %+v: want the first two entries, durable", s)
	}
}

// TestNextDeadline shows that a Tick before NextDeadline does nothing and one at it
// does something.
func TestNextDeadline(t *testing.T) {
	follower := newMember(t, Ballot{Proven: true}, NewLedger(0, NoTerm, nil, NoIndex))
	candidate := newMember(t, Ballot{Proven: true}, NewLedger(0, NoTerm, nil, NoIndex))
	candidate.Step(epoch.Add(time.Second), Tick{})
	candidate.Take()
	newborn := newMember(t, Ballot{}, NewLedger(0, NoTerm, nil, NoIndex))
	newborn.Step(epoch, Tick{})
	newborn.Take()
	for name, m := range map[string]*Member{"newborn": newborn, "follower": follower, "candidate": candidate, "leader": newLeader(t)} {
		at := m.NextDeadline()
		m.Step(at.Add(-time.Nanosecond), Tick{})
		if diff := cmp.Diff(Update{Commit: m.commit}, m.Take()); diff != "" {
			t.Errorf("%s: a tick before the deadline (-want +got):\n%s", name, diff)
		}
		m.Step(at, Tick{})
		if u := m.Take(); len(u.Send) == 0 {
			t.Errorf("%s: the tick at the deadline does nothing", name)
		}
		if !m.NextDeadline().After(at) {
			t.Errorf("%s: the deadline does not move", name)
		}
	}
}

// TestTimeDoesNotRunBackwards hands in an earlier time.
func TestTimeDoesNotRunBackwards(t *testing.T) {
	m := newLeader(t)
	now := m.now
	m.Step(now.Add(-time.Hour), Tick{})
	if !m.now.Equal(now) || m.Role() != Leader {
		t.Fatalf("time went back to %v", m.now)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{ID: "n1", Members: Voters("n1", "n2", "n3"), Rand: newRand(0.5)}
	empty := NewLedger(0, NoTerm, nil, NoIndex)
	for _, c := range []struct {
		name   string
		change func(*Config)
		ballot Ballot
		ledger Ledger
		want   string
	}{
		{"no members", func(c *Config) { c.Members = nil }, Ballot{}, empty, "0 voters"},
		{"too many members", func(c *Config) { c.Members = Voters(strings2ids("n1 a b c d e f g h i")...) }, Ballot{}, empty, "10 voters"},
		{"a member twice", func(c *Config) { c.Members = Voters("n1", "n2", "n2") }, Ballot{}, empty, "one id"},
		{"a member without id", func(c *Config) { c.Members = Voters("n1", "") }, Ballot{}, empty, "one id"},
		{"not a member", func(c *Config) { c.ID = "n4" }, Ballot{}, empty, "not one of Members"},
		{"joins what it is in", func(c *Config) { c.Joining = true }, Ballot{}, empty, "Joining"},
		{"changes out of order", func(c *Config) {
			c.Changes = []Change{{At: 4, Term: 2, Members: c.Members}, {At: 3, Term: 2, Members: c.Members}}
		}, Ballot{}, empty, "Changes"},
		{"one heartbeat", func(c *Config) { c.MaxHeartBeatLeak = 1 }, Ballot{}, empty, "MaxHeartBeatLeak"},
		{"negative heartbeat", func(c *Config) { c.HeartBeatInterval = -1 }, Ballot{}, empty, "HeartBeatInterval"},
		{"no vote interval", func(c *Config) { c.MinVoteInterval = time.Second }, Ballot{}, empty, "MinVoteInterval"},
		{"negative resend", func(c *Config) { c.ResendInterval = -1 }, Ballot{}, empty, "ResendInterval"},
		{"no chance", func(c *Config) { c.Rand = nil }, Ballot{}, empty, "Rand"},
		{"ballot below ledger", func(*Config) {}, Ballot{Term: 1}, NewLedger(0, NoTerm, []Run{{0, 2}}, 0), "ballot"},
		{"negative ballot", func(*Config) {}, Ballot{Term: -1}, empty, "ballot"},
		{"unsound ledger", func(*Config) {}, Ballot{Term: 1}, NewLedger(0, NoTerm, nil, 3), "outline"},
	} {
		cfg := good
		c.change(&cfg)
		if _, err := New(cfg, epoch, c.ballot, c.ledger); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error about %q", c.name, err, c.want)
		}
	}
}

func strings2ids(s string) []ID {
	var ids []ID
	for word := range strings.FieldsSeq(s) {
		ids = append(ids, ID(word))
	}
	return ids
}

// TestNames covers what no script prints.
func TestNames(t *testing.T) {
	for got, want := range map[string]string{
		Code(1).String(): "Code(1)", VoteResult(0).String(): "UNSPECIFIED", VoteResult(99).String(): "VoteResult(99)",
		VoteOutcome(0).String(): "VoteOutcome(0)", PushType(0).String(): "PushType(0)", PushState(0).String(): "PushState(0)",
		ChangeOp(0).String(): "ChangeOp(0)", PushTruncate.String(): "TRUNCATE", Role(0).String(): "Role(0)",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
