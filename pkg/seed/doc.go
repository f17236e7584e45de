// Package seed brings a member the state that the group had at some entry, when
// the entries before it are purged. It moves files and knows nothing of what is
// in them: the broker makes the checkpoint, checks what has come, and switches.
//
// It guarantees:
//
//   - A seed that Fetch returns holds exactly the files that were offered: each
//     piece and each whole file passed its CRC, and all of them are on disk.
//   - What an offer names stays readable, and its entries are not purged
//     (Source.Allow), until nobody has read it for a while or a limit has passed.
//   - A fetch that was cut short goes on where it was, as long as the same seed is
//     still offered; otherwise it begins anew. Pieces of two seeds never mix.
//
// A Source may be used from any goroutine; Fetch has one caller per directory. The
// package starts no goroutines.
package seed
