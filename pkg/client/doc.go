// Package client is what users of LedgerMQ import: Dial any broker of a group,
// publish with a Producer, read with a Consumer, manage with an Admin.
//
// What it promises:
//
//   - A receipt means that the message is on disk on a majority and has its offset.
//   - Messages of one Producer for one queue are stored in the order of the
//     Publish calls, each at most once, over retries and failovers: batches in
//     flight are kept until they are acknowledged and sent again in order with the
//     same sequence numbers.
//   - While a leader is being replaced callers see latency, not errors. An error
//     is what remains when DeliveryTimeout is over or when trying again cannot
//     help; it says whether the message certainly was not stored or may have been
//     (Error.Indefinite).
//   - A Consumer hands out committed messages, each offset once and in order per
//     queue; a hole in the offsets is an error, never skipped, and an offset that
//     does not exist is an error, never reset.
//   - A GroupConsumer hands out what nobody of its group has committed, in order per queue;
//     it commits only what its user has finished, and nothing below a committed offset
//     comes again, over failovers and rebalances.
//   - A WorkConsumer receives single messages, which it acknowledges one by one; what was
//     acknowledged never comes again, what was not comes again, and after too many attempts
//     it is a dead letter, once.
//   - Memory is bounded: Publish waits when MaxBufferedBytes are under way, a
//     Consumer fetches no further ahead than MaxBytes.
//
// Goroutines. No `go` statement stands in this package; every goroutine belongs
// to the errgroup of a Client, which Dial makes and Close waits for. That Client,
// Producer and Consumer start theirs in their constructors, not in a Run that the
// user calls, is an exception of this package to the rule of the house: users of a
// library expect it to be alive when they have it.
//
//	goroutine        one per              owns                                      ends
//	router           Client               the table of nodes, writes Route          Client.Close
//	watcher          known broker         its WatchLeader stream                    Client.Close
//	producer         Producer             sessions; sealing and sending of batches  Producer.Close
//	ack reader       publish session      receiving of answers                      with its session
//	session watch    publish session      noticing silence and a moved leader       with its session
//	fetcher          queue of a Consumer  its PullStream and next offset            Consumer.Close
//	credit sender    pull session         giving back of read bytes                 with its session
//	member           GroupConsumer        its session: joins, and joins again       GroupConsumer.Close
//	beater           group session        beats                                     with its session
//	group watch      group session        the stream of assignments                 with its session
//	committer        group session        commits of what is finished               with its session
//	acker            WorkConsumer         sending of acknowledgements               WorkConsumer.Close
//	handlers         WorkConsumer.Handle  one per message at work, and one that     with Handle
//	                                      extends their leases
//
// State is owned as in the rest of the house: the route is immutable behind an
// atomic pointer, a Producer's queues stand under its mu, a fetcher's wishes under
// its own. Nothing blocks and no channel is used under a lock.
package client
