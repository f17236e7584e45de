package member

// Update is the work a member asks of its shell. The fields stand in the order
// in which they must be carried out; that order is the safety argument.
type Update struct {
	// Ballot must be durable before anything below is done. Nil: unchanged.
	Ballot *Ballot
	// Truncate drops the entries from this index on, never at or below the
	// commit index. Nil: nothing. It is durable before anything below is done. The
	// shell counts truncations for Persisted.Epoch.
	Truncate *Index
	// Changes is what must be known of the group after a crash: it is durable before
	// anything below is done, and given back as Config.Changes. Nil: unchanged.
	// After a truncation it is what is left.
	Changes []Change
	// Append are the ranges to write, in order, and to report with Persisted once
	// they are durable. The bodies wait in the shell.
	Append []Span
	// Answers are the answers to Propose events, one each, in their order. The
	// entries of an accepted one are in Append.
	Answers []ProposeAnswer
	// Changed are the answers to ChangeMembers events, one each, in their order. The
	// entry of an accepted one is in Append; its body is the group.
	Changed []ChangeAnswer
	// Peers are those to whom there may be something to say from now on: the other
	// members of the group, and those on their way out. Nil: unchanged.
	Peers []Seat
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
	// Change is set on the single entry by which this leader changes the group.
	Change bool
}

// ProposeAnswer is the answer to one Propose.
type ProposeAnswer struct {
	// Code is Success, NotLeader or LeaderTransferring. The latter two are
	// definite: nothing was appended.
	Code        Code
	First, Last Index
	Term        Term
}

// ChangeAnswer is the answer to one ChangeMembers.
type ChangeAnswer struct {
	// Code is Success, or says why nothing was appended: NotLeader,
	// LeaderTransferring, ChangeNotReady, ChangeInProgress, NotCaughtUp,
	// QuorumAtRisk, UnknownMember, UnexpectedArgument.
	Code Code
	// At and Term are the entry's, which may yet be lost: the change is certain when
	// At is committed in Term. NoIndex: it was so already.
	At      Index
	Term    Term
	Members Members // the group after it, with At
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
	ReasonRemoved       Reason = "removed"        // the group goes on without this member
	ReasonVoteRound     Reason = "vote-round"     // a vote round began in a new term
)
