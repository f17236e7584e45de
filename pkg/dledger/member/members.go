package member

import (
	"cmp"
	"fmt"
	"slices"
)

// The largest group there may be.
const (
	maxVoters   = 9
	maxLearners = 3
)

// Seat is one member's place in the group.
type Seat struct {
	ID ID
	// Learner is set on a member that is replicated to and counts for nothing.
	Learner bool
	// Address is where the shell finds it. The algorithm only carries it.
	Address string
}

// Members is who is in the group, in the order of ids. It is never changed in place.
type Members []Seat

// Voters makes a group of voters without addresses.
func Voters(ids ...ID) Members {
	var ms Members
	for _, id := range ids {
		ms = append(ms, Seat{ID: id})
	}
	return ms.sorted()
}

func (ms Members) sorted() Members {
	ms = slices.Clone(ms)
	slices.SortFunc(ms, func(a, b Seat) int { return cmp.Compare(a.ID, b.ID) })
	return ms
}

// Seat is the place of id; ok says whether it has one.
func (ms Members) Seat(id ID) (s Seat, ok bool) {
	for _, s := range ms {
		if s.ID == id {
			return s, true
		}
	}
	return Seat{}, false
}

// HasVoter says whether id is a voter.
func (ms Members) HasVoter(id ID) bool {
	s, ok := ms.Seat(id)
	return ok && !s.Learner
}

// CountVoters is how many of them are voters.
func (ms Members) CountVoters() int {
	n := 0
	for _, s := range ms {
		if !s.Learner {
			n++
		}
	}
	return n
}

// Validate says what is wrong with a group: it has 1 to 9 voters, at most 3 learners,
// and each has one id that is not empty, in their order.
func (ms Members) Validate() error {
	voters := ms.CountVoters()
	if voters < 1 || voters > maxVoters {
		return fmt.Errorf("%d voters: give 1 to %d", voters, maxVoters)
	}
	if learners := len(ms) - voters; learners > maxLearners {
		return fmt.Errorf("%d learners: give at most %d", learners, maxLearners)
	}
	last := ID("")
	for _, s := range ms {
		if s.ID <= last {
			return fmt.Errorf("%q after %q: give each member one id that is not empty, in their order", s.ID, last)
		}
		last = s.ID
	}
	return nil
}

// without is the group without id.
func (ms Members) without(id ID) Members {
	return slices.DeleteFunc(slices.Clone(ms), func(s Seat) bool { return s.ID == id })
}

// with is the group with s in its place.
func (ms Members) with(s Seat) Members { return append(ms.without(s.ID), s).sorted() }

// Change is the entry that made Members the group: from the entry at At on, which
// has Term. The group that the configuration names has NoIndex and term 0.
type Change struct {
	At      Index
	Term    Term
	Members Members
}

// ChangeOp is one step of a membership change.
type ChangeOp uint8

// The steps. A new member is a learner first; a majority of the old group and one of
// the new always share a member, as only one voter comes or goes at a time (Raft
// thesis 4.1).
const (
	AddLearner ChangeOp = iota + 1
	Promote
	Remove
)

// String returns the step as logs and errors write it.
func (o ChangeOp) String() string {
	switch o {
	case AddLearner:
		return "ADD_LEARNER"
	case Promote:
		return "PROMOTE"
	case Remove:
		return "REMOVE"
	}
	return fmt.Sprintf("ChangeOp(%d)", uint8(o))
}
