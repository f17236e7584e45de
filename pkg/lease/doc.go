// Package lease decides which message of a queue a work-queue group is given next. It is
// pure: it is told the time, holds no lock, starts nothing and knows no transport. The
// broker has one Table per group and queue, on the leader only: leases are memory, and are
// lost with a leadership, while what is done and how often it was tried is in the ledger.
//
//	the queue ──Add──► ready ──Take──► leased ──Settle──► pinned ──Done──► gone
//	                    ▲  ▲              │ Tick: expired     │
//	                    │  └─ line moves on                   │ Delay
//	                    └───────────── waiting ◄──────────────┘
//
// It guarantees:
//
//   - A message is leased to one consumer at a time, and not while what became of it (an
//     acknowledgement, a refusal, an expiry) is on its way through the ledger.
//   - An attempt is counted when it has ended in vain; a message that has had as many as it
//     may is handed out as a dead letter, and never again as a message.
//   - With FIFO, messages of one message group are delivered in the order of their offsets,
//     one after the other, also through attempts in vain; other groups go on meanwhile.
//   - A Table never holds more messages than its limit.
package lease
