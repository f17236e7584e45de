// Package state is what applying the ledger yields, kept in Pebble: topics, the
// queues' indexes (queue offset → ledger index), producers and their windows.
// docs/format/state.md lists every key and value.
//
// It guarantees:
//
//   - Apply is a pure function of the ledger: two stores that applied the same
//     entries hold the same keys and values, byte for byte, however the entries
//     were grouped into calls and however often a crash cut them short.
//   - Nothing is in the store but what was applied, and so committed: Apply is
//     given committed entries only.
//   - The ledger is the write-ahead log. Pebble's own is off: after a crash the
//     store holds what some earlier Apply left, Applied says which, and the
//     entries behind it are applied again. DurableApplied says what no crash can
//     take back; the ledger must keep everything behind that.
//
// Apply belongs to one goroutine, the broker's dispatcher. Everything else may be
// called from any goroutine while Apply runs: readers see immutable snapshots
// behind atomic pointers, published after Pebble has taken the entries. The
// package starts no goroutine; Flush waits for Pebble, so the broker calls it
// from a goroutine of its own whenever FlushDue says so.
//
//	Apply ──► batch.go, command.go      judge each entry, change `working`
//	          │
//	          ▼
//	one Pebble batch: blocks, windows, topics, …, applied index + hash
//	          │
//	          ▼
//	publish: queueView, catalog, tip ◄── Topic, QueueRange, Locate, Hash
package state
