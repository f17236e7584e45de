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

// The entry types of format version 1.
const (
	TypeBatch EntryType = iota + 1
	TypeNoop
	TypeConfigChange
	TypeCommand
	// TypeCarried is a copy of a batch that waits for its delivery, put at the end of
	// the ledger so that the segment of the original can go.
	TypeCarried
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
	case TypeCarried:
		return "CARRIED"
	}
	return fmt.Sprintf("EntryType(%d)", uint8(t))
}

func (t EntryType) valid() bool { return t >= TypeBatch && t <= TypeCarried }

// Body is what a leader appends: the type of the entry and its bytes, which
// begin with the CRC-32C (little endian) of all the bytes that follow it.
// Only a body without any bytes needs no CRC.
type Body struct {
	Type  EntryType
	Bytes []byte
	// Lent lets the log keep Bytes instead of copying them. Then Lent.Bytes is of no use.
	Lent Lent
}

// Frame is a range of whole, consecutive, encoded entries. Nobody may modify Bytes;
// they stay as they are until Release is called, and for ever if it never is.
type Frame struct {
	First, Last Index
	Bytes       []byte

	log    *Log
	chunk  *chunk  // that holds Bytes; nil: they are the frame's own
	pooled *[]byte // that holds Bytes, which were read from a file; nil: likewise
}

// Release tells the log, once, that nobody reads Bytes any more, so that their
// memory can be used again. Who does not know when that is must not call it.
func (f *Frame) Release() {
	if f.pooled != nil {
		readBuffersFor(len(*f.pooled)).Put(f.pooled)
		f.pooled, f.Bytes = nil, nil
	}
	if f.chunk == nil {
		return
	}
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	f.log.mu.tail.letGo(f.chunk)
	f.chunk, f.Bytes = nil, nil
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
	Trusted   int    // of them, not read: their outlines say what they hold
	Entries   int64  // entries kept
	TornBytes int64  // bytes after the last whole group that were dropped
	TornPath  string // the segment that had them
	Truncated int    // segments removed to finish a truncation that a crash cut short
}
