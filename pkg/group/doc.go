// Package group decides who of a consumer group reads which queue. It is pure: it is told
// the time, holds no lock, starts nothing and knows no transport. The broker's coordinator
// owns one Group per consumer group that has members, on the leader only: who is connected
// is memory, and is lost with a leadership.
//
//	Join, Beat, Leave, Tick, SetQueues ──► Group ──► Assignment of a session
//	                                         │
//	                                  Wanted │ ▲ Granted
//	                                         ▼ │
//	                              the ledger: epochs, fencing
//
// It guarantees:
//
//   - A queue is granted to a member only when its former owner has said that it let go of
//     it, has left, or has not been heard for too long; the grant goes through the ledger
//     first, which fences the former owner's commits.
//   - Queues that do not move are never taken from anyone for a moment.
//   - Sticky: each queue has one owner, the owners of equal subscriptions have as many
//     queues as each other but for one, and the fewest possible move.
//
// After a change of leader the Group begins empty. Members come back with the queues that
// they own, which the ledger's epochs prove; owners that have not come yet keep theirs
// until they would be given up anyway. The ledger also says the name of each owner. One who
// comes by that name and does not know the queue's epoch was not told of the grant or of a
// reset, or is another process that has the name now: it is granted the queue again, at
// once. So no two processes are ever told of the same epoch, and nobody waits.
package group
