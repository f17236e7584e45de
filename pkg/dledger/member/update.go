package member

// Update is the work a member asks of its shell. The fields stand in the order
// in which they must be carried out; that order is the safety argument.
type Update struct {
	// Ballot must be durable before anything below is done. Nil: unchanged.
	Ballot *Ballot
	// Truncate drops the entries from this index on, never at or below the
	// commit index. Nil: nothing. The shell counts truncations for Persisted.Epoch.
	Truncate *Index
	// Append are the ranges to write, in order, and to report with Persisted once
	// they are durable. The bodies wait in the shell.
	Append []Span
	// Answers are the answers to Propose events, one each, in their order. The
	// entries of an accepted one are in Append.
	Answers []ProposeAnswer
	// Send are the messages to send. A message may be lost; none may overtake the
	// Ballot above. A push names a range: its bytes are read when it is sent.
	Send []Message
	// Commit is the commit index: entries up to here may be applied.
	Commit Index
	// Role is the newest change of role, term or leader. Nil: unchanged.
	Role *RoleChange
	// Transfers are the ends of leadership transfers.
	Transfers []TransferAnswer
}

// Span is a range of entries of one term, First to Last inclusive.
type Span struct {
	First, Last Index
	Term        Term
	// Noop is set on the single entry that opens a leader's term. It has no body.
	Noop bool
}

// ProposeAnswer is the answer to one Propose.
type ProposeAnswer struct {
	// Code is Success, NotLeader or LeaderTransferring. The latter two are
	// definite: nothing was appended.
	Code        Code
	First, Last Index
	Term        Term
}

// TransferAnswer is the end of one leadership transfer.
type TransferAnswer struct {
	To   ID
	Code Code
}

// RoleChange is a new role, or a new leader or term in the same role.
type RoleChange struct {
	Role   Role
	Term   Term
	Leader ID // empty: not known
	Reason Reason
}

// Reason says why a role changed, in one word for logs and metrics.
type Reason string

// The reasons of role changes.
const (
	ReasonStart         Reason = "start"
	ReasonElected       Reason = "elected"
	ReasonHeartBeat     Reason = "heartbeat"      // a leader was heard of
	ReasonHeartBeatLeak Reason = "heartbeat-leak" // no leader heard for too long
	ReasonLeaderGone    Reason = "leader-gone"    // connection to the leader refused or reset
	ReasonHigherTerm    Reason = "higher-term"    // a higher term was learned
	ReasonNoQuorum      Reason = "no-quorum"      // check-quorum failed
	ReasonTransfer      Reason = "transfer"       // leadership handed over or taken over
	ReasonUnfit         Reason = "unfit"          // own disk or process not fit to lead
	ReasonInconsistent  Reason = "inconsistent"   // someone follows another leader in this term
	ReasonVoteRound     Reason = "vote-round"     // a vote round began in a new term
)
