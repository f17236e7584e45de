// Package sim runs groups of real members (pkg/dledger/member) in one process
// under simulated time, networks, disks and clocks, all drawn from one seed, and
// watches them from above.
//
//	        events in virtual time (heap.go, run.go)
//	                     |
//	faults.go --> network.go --> node.go --> member.Member
//	workload.go ------^            |  ^
//	                               v  | Persisted
//	                            disk.go
//	              invariants.go sees every node and every disk after each step
//
// The same seed gives the same run to the last message. A run has two phases:
// chaos, in which the invariants of safety must hold whatever happens, and calm,
// in which everything is healed and the group must soon have one leader, take
// proposals and become equal on all members.
//
// Each node is a stand-in for the shell of pkg/dledger: it steps the member,
// carries out its Updates in field order, holds what follows a ballot until the
// ballot is saved, syncs its ledger in the background, and reads the bodies of a
// push only when the push leaves.
//
// In a share of the runs the nodes are thick: pkg/commitlog is under them, on a file
// system in memory (thick.go). In a share, clients write histories for pkg/history.
//
// exhaustive.go tries everything that can happen to a miniature of three members
// within some moves (miniature.go, scopes.go).
//
// mutants.go lists rules to break on purpose; each must be noticed. See README.md.
package sim
