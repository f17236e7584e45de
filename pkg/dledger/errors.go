package dledger

import (
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The codes of Error. docs/errors.md has the whole table.
const (
	CodeNotLeader          = "NOT_LEADER"          // definite: another member leads
	CodeNoLeader           = "NO_LEADER"           // definite: no leader is known
	CodeLeaderNotReady     = "LEADER_NOT_READY"    // definite: elected, but the opening entry of the term is not applied yet
	CodeLeaderTransferring = "LEADER_TRANSFERRING" // definite: the leadership is being handed over
	CodeLeadershipLost     = "LEADERSHIP_LOST"     // indefinite: appended, then deposed or stopped
	CodePendingFull        = "LEADER_PENDING_FULL" // definite: too much waits for a quorum
	CodeShuttingDown       = "SHUTTING_DOWN"       // definite: nothing was appended
	CodeUnknownMember      = "UNKNOWN_MEMBER"      // definite: no such member in the group
	CodeMembersChanging    = "MEMBERS_CHANGING"    // definite: another change of the group is not committed yet
	CodeNotCaughtUp        = "NOT_CAUGHT_UP"       // definite: a learner that is not ready to be a voter
	CodeQuorumAtRisk       = "QUORUM_AT_RISK"      // definite: too few voters would be up after the change
	CodeInvalidMember      = "INVALID_MEMBER"      // definite: no such group can be
	CodeTransferFailed     = "TRANSFER_FAILED"     // definite: the leadership stays where it was
	CodeDataDamaged        = "DATA_DAMAGED"        // the entry is damaged here and is being repaired
	CodeDataLost           = "DATA_LOST"           // the entry is damaged on every member
	CodeInvalidProposal    = "INTERNAL"            // the caller broke the contract of Propose
)

// Error is why a proposal or a transfer did not succeed.
type Error struct {
	// Code is one of the Code constants.
	Code string
	// Message says what happened and what to do about it.
	Message string
	// Indefinite is set when the entries may yet be committed.
	Indefinite bool
	// RetryAfter is about when another try may succeed; 0: not known.
	RetryAfter time.Duration
	// Leader and LeaderAddr name the leader and its address for clients, if known.
	Leader     member.ID
	LeaderAddr string
	// Term is the newest term this member knew.
	Term member.Term
}

// Error implements error.
func (e *Error) Error() string {
	if e.Leader == "" {
		return fmt.Sprintf("%s: %s (term %d)", e.Code, e.Message, e.Term)
	}
	return fmt.Sprintf("%s: %s (term %d, leader %s %s)", e.Code, e.Message, e.Term, e.Leader, e.LeaderAddr)
}

// refusal is an Error with the leader that s knows of.
func (s *Server) refusal(code, message string) *Error {
	st := s.status.load()
	return &Error{
		Code: code, Message: message, Indefinite: code == CodeLeadershipLost,
		Leader: st.Leader, LeaderAddr: st.LeaderClientAddr, Term: st.Term,
	}
}
