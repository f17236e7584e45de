package member

// Event is anything that can happen to a member. The set is closed.
type Event interface{ event() }

// Tick lets time pass: deadlines are looked at. The shell sends one every 10 ms.
type Tick struct{}

// Receive is a message from a peer.
type Receive struct{ Message Message }

// Propose asks to append Count entries (at least 1) to the ledger. The answer is
// the next element of Update.Answers.
type Propose struct{ Count int }

// Persisted says that every entry up to Index is on this member's disk, and that
// the entry there has Term. Epoch is the number of truncations that the storage
// had carried out when that write began; a completion of an older epoch speaks
// of bytes that may be gone and is ignored (etcd-raft's append ABA race).
type Persisted struct {
	Index Index
	Term  Term
	Epoch uint64
}

// Transfer asks the leader to hand the leadership to To, or, if To is empty, to
// whoever is closest. The answer comes in Update.Transfers, perhaps much later.
type Transfer struct{ To ID }

// ChangeMembers asks the leader to change the group by one step. The answer is the
// next element of Update.Changed.
type ChangeMembers struct {
	Op      ChangeOp
	ID      ID
	Address string // AddLearner only
}

// Connected says that a connection to Peer has come up.
type Connected struct{ Peer ID }

// Disconnected says that a connection to or from Peer was refused or reset. From
// the leader it is reason to ask at once whether someone else may lead.
type Disconnected struct{ Peer ID }

// Health says whether this member's own disk and process are fit to lead. A
// leader that is not hands over or steps down; a member that is not stays out of
// elections as a candidate, but votes.
type Health struct{ Fit bool }

// Standing says whether this member may vote and stand for election. It may not
// while its disk may lack what it once acknowledged: a ledger that is damaged, or a
// directory that took the place of a lost one. It follows, and acknowledges what it
// does hold. A leader that loses its standing goes on: what it acknowledged, a
// quorum did.
type Standing struct{ MayVote bool }

func (Tick) event()          {}
func (Receive) event()       {}
func (Propose) event()       {}
func (Persisted) event()     {}
func (Transfer) event()      {}
func (ChangeMembers) event() {}
func (Connected) event()     {}
func (Disconnected) event()  {}
func (Health) event()        {}
func (Standing) event()      {}
