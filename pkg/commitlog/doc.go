// Package commitlog is one member's copy of the ledger: an append-only log of
// entries in segment files.
//
// What it guarantees:
//
//   - What Sync has confirmed survives a power cut (unless PageCache is set):
//     it was on disk before Sync returned.
//   - Entries are consecutive, their terms never fall, each is chained by a CRC
//     to the whole history before it, and they are stored byte for byte as the
//     leader stamped them.
//   - Bytes that are not what was written are never returned. Open tells a torn
//     tail, which nobody was promised, from corruption, which it refuses to
//     open, or, where the caller tolerates it, marks as faulty entries until a
//     peer's copy repairs them; it never shortens the log to get rid of damage.
//   - After a write or sync error nothing is written any more.
//   - A log that is MASTER is never truncated.
//
// The one picture; docs/format/commitlog.md draws the bytes:
//
//	AppendMaster ─┐                  ┌──────────── Read (recent) ──▶ dispatchers, pulls
//	AppendSlave ──┴▶ tail (chunks in memory)
//	                       │ Sync: one group, one pwritev, one fdatasync
//	                       ▼
//	   00…000.seg  00…731.seg  00…995.seg (active)  prepared-….tmp
//	                       └───────── Read (older): pread past the page cache, CRCs checked
//
// Who may call what: AppendMaster, AppendSlave, TruncateFrom, BecomeMaster and
// BecomeSlave belong to the goroutine that decides what the ledger holds. Sync
// has one caller, PrepareSegment another, Repair a third. Everything else may be called from
// anywhere at any time. Readers and appenders never wait for the disk, except
// that a read of old entries reads its file, at a pace while the log is being written
// (pace), and TruncateFrom waits for a Sync in flight. The package starts no goroutines.
package commitlog
