// Package history holds what clients saw of a group of brokers, and judges it.
//
// A history is a file of JSON lines, one for each operation of a client: what it
// asked for, when, and what came back (docs/format/history.md). A Writer writes
// it, safe for concurrent use; a Reader reads it as a stream; a Checker takes the
// operations of one or of several files and reports every anomaly by its Class.
//
// The checker knows nothing of how brokers work. It holds the promises of the
// README against what clients saw: an acknowledged message is found once, at its
// offset, in order, in every member's copy, and nothing else is found. An
// operation whose outcome is not known may have happened once or not at all. Consumer
// groups, messages that wait for their time or for a transaction, and work that is
// received and acknowledged have rules of their own. The same checker serves simulation, chaos on real processes and long runs.
//
// Time and memory: O(n log n) and O(n) in the number of operations and messages.
//
// Goroutines: none. A Reader and a Checker are for one goroutine.
package history
