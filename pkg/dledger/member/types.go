package member

import "fmt"

// ID names a member within its group, for example "n1".
type ID string

// Incarnation names one data directory of a member. A member that lost its disk
// comes back with another one.
type Incarnation string

// Index is an entry's number in the ledger. The first entry has index 0.
type Index int64

// NoIndex is the index before the first entry, as in DLedger.
const NoIndex Index = -1

// Term numbers leaderships. Term 0 has no leader; it is the term of a new member.
type Term int64

// NoTerm is the term of the entry before the first one.
const NoTerm Term = -1

// Role is what a member is in its group.
type Role uint8

// The roles of DLedger. The zero value is none of them.
const (
	Candidate Role = iota + 1
	Follower
	Leader
)

// String returns the role as DLedger writes it.
func (r Role) String() string {
	switch r {
	case Candidate:
		return "CANDIDATE"
	case Follower:
		return "FOLLOWER"
	case Leader:
		return "LEADER"
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// Ballot is what a member must never forget: the newest term it has entered and
// whom it voted for there. It is on disk before anything that depends on it is said.
type Ballot struct {
	Term     Term
	VotedFor ID // empty: nobody yet in this term
	// Proven says that this directory surely holds all that the member has ever
	// acknowledged, so that it may vote. It never goes back.
	Proven bool
}

// Run says that entries from First on carry Term, until the next run begins.
type Run struct {
	First Index
	Term  Term
}
