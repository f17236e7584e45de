package commitlog

import "fmt"

// Index is an entry's number in the ledger. The first entry has index 0.
type Index int64

// Term numbers leaderships. Terms of entries are 1 and above.
type Term int64

const (
	// NoIndex is the index before the first entry.
	NoIndex Index = -1
	// NoTerm is the term of the entry before the first one.
	NoTerm Term = -1
)

// EntryType says what the body of an entry is. Zero is invalid, so that
// unwritten bytes never pass for an entry.
type EntryType uint8

// The entry types of format version 1. TypeConfigChange is reserved.
const (
	TypeBatch EntryType = iota + 1
	TypeNoop
	TypeConfigChange
	TypeCommand
)

// String returns the name that the format document uses.
func (t EntryType) String() string {
	switch t {
	case TypeBatch:
		return "BATCH"
	case TypeNoop:
		return "NOOP"
	case TypeConfigChange:
		return "CONFIG_CHANGE"
	case TypeCommand:
		return "COMMAND"
	}
	return fmt.Sprintf("EntryType(%d)", uint8(t))
}

func (t EntryType) valid() bool { return t >= TypeBatch && t <= TypeCommand }

// Body is what a leader appends: the type of the entry and its bytes, which
// begin with the CRC-32C (little endian) of all the bytes that follow it.
// Only a body without any bytes needs no CRC.
type Body struct {
	Type  EntryType
	Bytes []byte
}

// Frame is a range of whole, consecutive, encoded entries. Bytes belong to the
// garbage collector and are never recycled; nobody may modify them.
type Frame struct {
	First, Last Index
	Bytes       []byte
}

// Run says that the entries from First on carry Term, until the next run begins.
type Run struct {
	First Index
	Term  Term
}

// Persisted is how far the log is durable: the last durable entry with its
// term, and how many truncations had happened by then. A completion whose
// epoch is older than the last truncation may speak of entries that are gone.
type Persisted struct {
	Index Index
	Term  Term
	Epoch uint64
}

// Recovery is what Open found.
type Recovery struct {
	Created   bool   // there was no log: an empty one was made
	Clean     bool   // the last writer closed the log
	Segments  int    // segment files kept
	Entries   int64  // entries kept
	TornBytes int64  // bytes after the last whole group that were dropped
	TornPath  string // the segment that had them
	Truncated int    // segments removed to finish a truncation that a crash cut short
}
