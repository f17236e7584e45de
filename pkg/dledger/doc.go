// Package dledger is one member of a replicated ledger: the shell around the
// algorithm in pkg/dledger/member. The member decides; this package owns the
// clock, the disk and the network, and carries out what the member asks, in the
// order in which it asks.
//
// # The write path
//
//	Propose          the proposal waits in pendingAppends            (caller's goroutine)
//	step, Take       the member gives the entries their numbers      (state maintainer)
//	writeLedger      the commit log stamps and holds them: readable  (state maintainer)
//	send             "push 17 to 42" goes to each peer's outbox      (state maintainer)
//	readPush         the bytes are read and sent, while …            (entry dispatchers)
//	Sync             … they are written and fdatasynced here         (ledger syncer)
//	Persisted, PushResponse   come back; a quorum moves Commit       (state maintainer)
//	WaitCommitted, Applied    the broker applies; Done is called     (broker's dispatcher)
//
// Everything that has gathered while one step ran is stepped together, so that
// one Take, one write and one sync serve it; there is no other batching and no
// timer on this path. What is off it waits for the tick: a COMMIT that no entries
// go with, and the applying on a follower (docs/adr/0023-off-the-path.md).
//
// # Goroutines
//
// All are started by Run and end with it.
//
//	state maintainer    1         owns the Member, the ballot, the writing side of the log
//	ledger syncer       1         calls Sync and Seal, the only one to do so
//	segment preparer    1         has the next segment file ready, and zeros ahead of the log;
//	                              writes the outlines of full ones
//	ledger repair       1         asks peers for entries that are damaged here
//	ledger scrub        1         reads the sealed part of the log, looking for damage
//	end watch           1         ends Run when the server is closed
//	peer                1 a peer  waits for the peer's goroutines, which are those below; ends
//	                              with them when the peer has left the group
//	entry dispatcher    1 a peer  owns the outgoing push stream; within it, while the
//	                              stream is open, one sender and one receiver of answers
//	push receiver       1 a peer  reads the incoming push stream, verifies the entries
//	control senders     3 a peer  a vote, heartbeat or transfer each, with its deadline
//	keepers             2 a peer  keep the two connections up
//
// gRPC's own goroutines run the handlers: they check, put an event into the inbox
// and wait for the answer; the handler of a push stream sends the answers on it.
//
// # Who waits for whom
//
// The state maintainer waits for the disk (ballot, truncation) and for nobody
// else: what it sends goes into outboxes that merge or drop, what it answers into
// slots that have room. Everybody else may wait for the inbox. A push stream is
// not read while too many of its bytes are not durable yet.
//
// # Connections
//
// Each member keeps two connections to each other one, whatever its role: a small
// one for votes, heartbeats and transfers, and one for pushes. A push stream is
// open in both directions between any two members, so that a process that dies is
// noticed by all others in the same moment, without waiting for a timeout.
package dledger
