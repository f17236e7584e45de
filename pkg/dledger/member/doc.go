// Package member is one member of a DLedger group as a pure state machine: the
// consensus algorithm of LedgerMQ, and nothing else.
//
// # Contract
//
// A Member starts no goroutine, reads no clock, does no I/O and holds no bodies. Its
// owner (the shell's state maintainer, or a simulator) feeds it events with Step and
// carries out what Take returns:
//
//	m.Step(now, event) // as often as there are events
//	u := m.Take()      // carry out u's fields in the order in which they stand
//
// Step gathers, Take drains: many events, one Take, one write, one sync. What the
// disk and the network answer comes back as events. The same events at the same
// times with the same Config.Rand make the same updates.
//
// The owner must see to these:
//
//   - Update.Ballot is on disk before anything else of that Update is done; if it
//     cannot be written the process ends.
//   - Persisted is reported only for what is synced, with the number of Truncates
//     carried out before that write began.
//   - Update.Changes is on disk before Truncate, Append and Send, as a Ballot is.
//   - A push names a range of indexes. Its bytes are read when it is sent, and only
//     while the member still leads the term of the push.
//   - Messages may be lost, doubled, delayed and reordered at will, but their sender
//     is who it says.
//   - If several events share one Take, a leadership may be won and lost within it:
//     spans of two terms can stand in one Append, a proposal that was answered with
//     Success may have been dropped again, and only the newest RoleChange is told.
//     A shell that would rather not see this takes whenever Role or Term changes.
//   - The commit index may be ahead of this member's own disk (a quorum of others has
//     the entries). What is applied can therefore be ahead of the ledger after a
//     crash; the missing entries come back unchanged.
//
// A broken invariant panics: it can only be a fault of ours, and nobody recovers.
//
// # Where to look
//
//	member.go             Member, Step, Take
//	ledger.go             the outline of the ledger: runs of equal terms
//	role.go               becoming and leaving a role, terms
//	state_maintenance.go  what a role does when time passes
//	election.go           judging a vote, standing, vote rounds
//	vote_outcome.go       what a round's answers mean
//	heartbeat.go          heartbeats, check-quorum
//	push_leader.go        compare, truncate, append, commit: asking
//	push_follower.go      the same: doing
//	commit.go             proposals, durability, the commit rule
//	standing.go           who may vote
//	founding.go           how a new group begins
//	proof.go              how a replaced member becomes a voter again
//	members.go            who is in the group
//	membership.go         how the group changes
//	transfer.go           leadership transfer, preferred leader, health
//	connection.go         connections that come and go
//	invariants.go         what is asserted after every step
//
// # Rules, and where they come from
//
// DLedger's, kept: roles, codes, vote results and vote outcomes; the order in which a
// vote is judged (ledgers before terms); TERM_NOT_READY and asking again;
// knownMaxTermInGroup; a random vote interval; compare, truncate, append, commit with
// fast back-up by xTerm; transfer and preferred leader.
//
// Raft's, instead of DLedger's where that loses data or hangs:
//
//   - Vote: the last entry's own term and index decide (Raft 5.4.1; dledger#52).
//   - The ballot is durable before an answer that depends on it (Raft fig. 2; F-S3).
//   - Commit by counting only what is of the own term and durable (Raft 5.4.2; F-S1,
//     F-S2); a no-op opens each term (dledger#305).
//   - Every push is checked for term, leader and previous entry when it is carried out
//     (Raft 5.3; F-S5, F-S6). Nothing committed is ever truncated.
//   - A follower commits, and acknowledges, only what matches its leader's ledger in
//     this term (Raft fig. 2 "min"; dledger#278).
//   - A completed write counts only if nothing was truncated since it began (etcd-raft's
//     append ABA race; R14).
//   - PreVote, check-quorum, trust in a leader that was heard lately (Raft thesis 9.6,
//     6.2; dledger PR 25).
//   - Membership changes by one voter at a time, effective on append, undone on
//     truncation, and only after an entry of the leader's own term is committed (Raft
//     thesis 4.1 and its erratum; DLedger's members are fixed); learners first (4.2.1),
//     leaders that remove themselves (4.2.2).
//   - Transfer as Raft thesis 3.10, with a term of its own and no PreVote.
//
// Ours:
//
//   - A leader that learns of a higher term asks for votes in a newer one at once, and
//     its followers' trust does not stand in its way (dledger#325).
//   - A minority that still sees a leader does not veto a quorum of votes.
//   - PreVote asks for the term after the highest known one; DLedger asks for that one.
//   - Of two candidates that only ask around, one lets the other go first, once.
//   - TRUNCATE names the term of the first entry to go and does nothing without a
//     conflict, so a late or doubled one is harmless; APPEND never truncates.
//   - Heartbeat answers carry the durable index and count like answers to pushes; a
//     follower that does not get on is compared where it should be (dledger#199).
//   - A member with a new directory does not vote, and is not counted, before a leader
//     elected without it has committed an entry for it (I10; docs/adr/0010).
//   - A candidate that the voter does not know is heard only if it holds an entry that
//     the voter lacks: a newer group begins with one. (The thesis hears everyone.)
//   - A broken connection to the leader is reason to ask around at once.
//   - Nobody raises the term by more than 2^32 with one message (R2).
//   - A preferred leader is offered the leadership only when it has been fit and close
//     for a while, and not often; a leader that is not fit hands over (dledger#287).
//   - A follower below the leader's first entry is marked, not compared for ever.
package member
