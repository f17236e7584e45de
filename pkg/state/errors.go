package state

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned after Close or Abandon.
	ErrClosed = errors.New("state: store is closed")
	// ErrUnknownQueue is returned for a queue that does not exist (any more).
	ErrUnknownQueue = errors.New("state: unknown queue")
	// ErrOffsetTooLow is returned for an offset below the queue's first.
	ErrOffsetTooLow = errors.New("state: offset is below the queue's first")
	// ErrOffsetTooHigh is returned for an offset above the queue's end.
	ErrOffsetTooHigh = errors.New("state: offset is above the queue's end")
	// ErrNotIndexed is returned for offsets of which the queue's key index does not know all
	// messages, and for queues that have none.
	ErrNotIndexed = errors.New("state: not in the key index")
	// ErrCorrupt is what every CorruptionError is.
	ErrCorrupt = errors.New("state: store is corrupt")
	// ErrUnsupported is what every UnsupportedError is.
	ErrUnsupported = errors.New("state: unsupported entry")
)

// CorruptionError says that what the store holds cannot be. The ledger has it
// all: a member whose ledger reaches back far enough removes Dir and applies
// again, another one is seeded again. It is an ErrCorrupt.
type CorruptionError struct {
	Dir  string
	What string
	Err  error // what Pebble said, if it was Pebble
}

// Error names the directory and what is wrong there.
func (e *CorruptionError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("state store %s is corrupt: %s: %v", e.Dir, e.What, e.Err)
	}
	return fmt.Sprintf("state store %s is corrupt: %s", e.Dir, e.What)
}

// Unwrap gives Pebble's error and makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptionError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// UnsupportedError says that an entry holds what this build does not know, so
// that it was written by a newer one. Skipping it would let this member's state
// drift from the others': the member must stop until it is upgraded. Everything
// before the entry is applied. It is an ErrUnsupported.
type UnsupportedError struct {
	Index Index
	What  string
}

// Error says which entry and what about it.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("state: entry %d holds %s, which this build does not know: upgrade this member", e.Index, e.What)
}

// Is makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }
