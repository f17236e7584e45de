package member

// Message is what members say to each other. The set is closed.
type Message interface{ Route() Route }

// Route says who sent a message and for whom it is.
type Route struct{ From, To ID }

// VoteRequest asks for a vote, or with PreVote whether one would be given.
type VoteRequest struct {
	From, To       ID // From is the candidate (DLedger: leaderId)
	Term           Term
	LedgerEndIndex Index // of the candidate's last entry
	LedgerEndTerm  Term  // of that same entry, never of an election (dledger#52)
	PreVote        bool
	Transfer       bool // the leader itself asked the candidate to take over
	Incarnation    Incarnation
	// Unproven is set by a member that may not stand: it only asks whether the
	// receiver is fresh. Then PreVote is set and Term is 0.
	Unproven bool
}

// VoteResponse answers a VoteRequest.
type VoteResponse struct {
	From, To    ID
	Term        Term // the voter's
	Result      VoteResult
	PreVote     bool
	RequestTerm Term
	Asker       Incarnation // the request's
	Fresh       bool        // the voter has no term and no entry
}

// HeartBeatRequest tells a follower that its leader lives.
type HeartBeatRequest struct {
	From, To ID
	Term     Term
	Leader   ID
	Commit   Index
	// Proves names the receiver's directory if that may vote from now on, because it
	// holds everything up to ProofIndex. Empty: nothing of the kind.
	Proves     Incarnation
	ProofIndex Index
}

// HeartBeatResponse answers a HeartBeatRequest.
type HeartBeatResponse struct {
	From, To     ID
	Term         Term
	Code         Code
	DurableIndex Index // as in PushResponse
	DurableTerm  Term
	Fit          bool // may be given the leadership
	Incarnation  Incarnation
	Unproven     bool // may lack what the member once acknowledged: not to be counted
	RequestTerm  Term
}

// PushRequest asks a follower to compare, truncate, append or commit.
type PushRequest struct {
	From, To  ID
	Type      PushType
	Term      Term
	Leader    ID
	PrevIndex Index
	PrevTerm  Term
	Commit    Index
	// First and Last are the range of entries that an APPEND carries; empty when
	// Last < First. Runs are the terms of exactly that range. The shell of the
	// sender may cut a range into several requests; the shell of the receiver
	// reads Runs from the entries themselves.
	First, Last Index
	Runs        []Run
	// Changes are the changes of the group among the entries, in order. The sender
	// leaves them out; the shell of the receiver reads them from the entries.
	Changes []Change
	// FirstTerm is the term of the leader's entry at First; for TRUNCATE only.
	FirstTerm Term
}

// PushResponse answers one or more PushRequests.
type PushResponse struct {
	From, To ID
	Type     PushType
	Term     Term
	Code     Code
	// DurableIndex and DurableTerm name the last entry that is on the follower's
	// disk and known to match the ledger of the leader of RequestTerm.
	DurableIndex Index
	DurableTerm  Term
	EndIndex     Index
	XTerm        Term  // the follower's term at PrevIndex, NoTerm if it has no entry there
	XIndex       Index // that term's first index in the follower's ledger
	RequestTerm  Term
	PrevIndex    Index
	Incarnation  Incarnation // as in HeartBeatResponse
	Unproven     bool
}

// TransferRequest is the leader's word to the transferee: lead, now.
type TransferRequest struct {
	From, To       ID
	Term           Term
	LedgerEndIndex Index
}

// TransferResponse answers a TransferRequest.
type TransferResponse struct {
	From, To    ID
	Term        Term
	Code        Code
	RequestTerm Term
}

// Route implements Message.
func (m VoteRequest) Route() Route       { return Route{m.From, m.To} }
func (m VoteResponse) Route() Route      { return Route{m.From, m.To} } // Route implements Message.
func (m HeartBeatRequest) Route() Route  { return Route{m.From, m.To} } // Route implements Message.
func (m HeartBeatResponse) Route() Route { return Route{m.From, m.To} } // Route implements Message.
func (m PushRequest) Route() Route       { return Route{m.From, m.To} } // Route implements Message.
func (m PushResponse) Route() Route      { return Route{m.From, m.To} } // Route implements Message.
func (m TransferRequest) Route() Route   { return Route{m.From, m.To} } // Route implements Message.
func (m TransferResponse) Route() Route  { return Route{m.From, m.To} } // Route implements Message.
