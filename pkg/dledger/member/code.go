package member

import "fmt"

// Code says how a member answered a heartbeat, push, proposal or transfer. Names
// and numbers are DLedger's DLedgerResponseCode.
type Code int32

// The response codes in use. The zero value is not one of them.
const (
	Success              Code = 200
	UnknownMember        Code = 401 // the sender is not in the group
	UnexpectedMember     Code = 402 // the sender claims the receiver's own id
	ExpiredTerm          Code = 403 // the request is of an older term
	NotLeader            Code = 404
	NotFollower          Code = 405
	InconsistentState    Code = 406 // the ledgers differ at the compared entry
	InconsistentLeader   Code = 409 // the receiver follows another leader in this term
	UnexpectedArgument   Code = 411
	TermNotReady         Code = 416 // the receiver has only now learned the term
	FallBehindTooMuch    Code = 417 // too far behind to take the leadership
	TakeLeadershipFailed Code = 418
	LeaderTransferring   Code = 506 // no appends while the leadership is handed over

	// Ours, of membership changes.
	ChangeInProgress Code = 601 // the last change is not committed yet
	ChangeNotReady   Code = 602 // the leader has not committed an entry of its term yet
	NotCaughtUp      Code = 603 // the learner is not fit to be a voter yet
	QuorumAtRisk     Code = 604 // too few voters of the new group live
)

var codeNames = map[Code]string{
	Success: "SUCCESS", UnknownMember: "UNKNOWN_MEMBER", UnexpectedMember: "UNEXPECTED_MEMBER",
	ExpiredTerm: "EXPIRED_TERM", NotLeader: "NOT_LEADER", NotFollower: "NOT_FOLLOWER",
	InconsistentState: "INCONSISTENT_STATE", InconsistentLeader: "INCONSISTENT_LEADER",
	TermNotReady: "TERM_NOT_READY", FallBehindTooMuch: "FALL_BEHIND_TOO_MUCH",
	TakeLeadershipFailed: "TAKE_LEADERSHIP_FAILED", LeaderTransferring: "LEADER_TRANSFERRING",
	UnexpectedArgument: "UNEXPECTED_ARGUMENT", ChangeInProgress: "CHANGE_IN_PROGRESS", ChangeNotReady: "CHANGE_NOT_READY",
	NotCaughtUp: "NOT_CAUGHT_UP", QuorumAtRisk: "QUORUM_AT_RISK",
}

// String returns the code as DLedger writes it.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("Code(%d)", int32(c))
}

// VoteResult is a voter's answer.
type VoteResult uint8

// The vote results of DLedger, in the order of its VoteResponse.RESULT, and one of
// ours. The zero value is not one of them.
const (
	Accept VoteResult = iota + 1
	RejectUnknownLeader
	RejectUnexpectedLeader
	RejectExpiredVoteTerm
	RejectAlreadyVoted
	RejectAlreadyHasLeader
	RejectTermNotReady
	RejectTermSmallThanLedger
	RejectExpiredLedgerTerm
	RejectSmallLedgerEndIndex
	RejectTakingLeadership
	// RejectNotAVoter is ours: the voter may lack what it once acknowledged (Standing).
	RejectNotAVoter
)

var voteResultNames = [...]string{
	"UNSPECIFIED", "ACCEPT", "REJECT_UNKNOWN_LEADER", "REJECT_UNEXPECTED_LEADER", "REJECT_EXPIRED_VOTE_TERM",
	"REJECT_ALREADY_VOTED", "REJECT_ALREADY_HAS_LEADER", "REJECT_TERM_NOT_READY", "REJECT_TERM_SMALL_THAN_LEDGER",
	"REJECT_EXPIRED_LEDGER_TERM", "REJECT_SMALL_LEDGER_END_INDEX", "REJECT_TAKING_LEADERSHIP",
	"REJECT_NOT_A_VOTER",
}

// String returns the result as DLedger writes it.
func (r VoteResult) String() string {
	if int(r) < len(voteResultNames) {
		return voteResultNames[r]
	}
	return fmt.Sprintf("VoteResult(%d)", uint8(r))
}

// VoteOutcome is what a candidate makes of a vote round (DLedger: ParseResult).
type VoteOutcome uint8

// The outcomes of a vote round.
const (
	Passed            VoteOutcome = iota + 1 // a quorum accepts: lead
	RevoteImmediately                        // a quorum accepts or will, now that it knows the term: ask again at once, same term
	WaitToRevote                             // ask again later, same term
	WaitToVoteNext                           // ask again later, next term
)

// String returns the outcome as DLedger writes it.
func (o VoteOutcome) String() string {
	switch o {
	case Passed:
		return "PASSED"
	case RevoteImmediately:
		return "REVOTE_IMMEDIATELY"
	case WaitToRevote:
		return "WAIT_TO_REVOTE"
	case WaitToVoteNext:
		return "WAIT_TO_VOTE_NEXT"
	}
	return fmt.Sprintf("VoteOutcome(%d)", uint8(o))
}

// PushType is what a leader asks of a follower.
type PushType uint8

// The push types of DLedger that are in use.
const (
	Compare PushType = iota + 1
	Truncate
	Append
	Commit
)

// String returns the type as DLedger writes it.
func (t PushType) String() string {
	switch t {
	case Compare:
		return "COMPARE"
	case Truncate:
		return "TRUNCATE"
	case Append:
		return "APPEND"
	case Commit:
		return "COMMIT"
	}
	return fmt.Sprintf("PushType(%d)", uint8(t))
}
