package dledger

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Failover says how long the parts of this member's latest election took. It is
// the new leader's view.
type Failover struct {
	Term member.Term
	// Detect is from the last word of the old leader until this member asked for
	// votes; zero if it never heard of one.
	Detect time.Duration
	// Elect is from there until it led, Commit until the entry that opened its term
	// was committed, Serve until that was applied.
	Elect, Commit, Serve time.Duration
	Reason               member.Reason // why it stood for election
	At                   time.Time     // when it led
	Serving              bool          // all parts are over
}

// failover measures. Owned by the state maintainer.
type failover struct {
	heardAt     time.Time // the last word of a leader
	stoodAt     time.Time // zero: does not stand for election
	reason      member.Reason
	committedAt time.Time
	last        Failover
	observe     func(phase string, d time.Duration)
}

// saw notes when the leader was last heard.
func (f *failover) saw(ev member.Event, leader member.ID, now time.Time) {
	r, ok := ev.(member.Receive)
	if !ok || leader == "" || r.Message.Route().From != leader {
		return
	}
	switch r.Message.(type) {
	case member.HeartBeatRequest, member.PushRequest:
		f.heardAt = now
	}
}

func (f *failover) changed(before, after member.RoleChange, now time.Time) {
	switch after.Role {
	case member.Follower:
		f.stoodAt = time.Time{}
	case member.Candidate:
		if before.Role != member.Candidate {
			f.stoodAt, f.reason = now, after.Reason
		}
	case member.Leader:
		f.lead(after.Term, now)
	}
}

func (f *failover) lead(term member.Term, now time.Time) {
	if f.stoodAt.IsZero() {
		f.stoodAt = now
	}
	f.last = Failover{Term: term, Reason: f.reason, At: now, Elect: now.Sub(f.stoodAt)}
	if !f.heardAt.IsZero() {
		f.last.Detect = f.stoodAt.Sub(f.heardAt)
		f.observe("detect", f.last.Detect)
	}
	f.observe("elect", f.last.Elect)
	f.stoodAt, f.committedAt, f.heardAt = time.Time{}, time.Time{}, time.Time{}
}

// committed notes that the entry which opened the term is committed.
func (f *failover) committed(now time.Time) {
	if f.committedAt.IsZero() {
		f.committedAt = now
		f.last.Commit = now.Sub(f.last.At)
		f.observe("commit", f.last.Commit)
	}
}

// served notes that it is applied.
func (f *failover) served(now time.Time) {
	if !f.last.Serving {
		f.last.Serving = true
		f.last.Serve = now.Sub(f.committedAt)
		f.observe("serve", f.last.Serve)
	}
}
