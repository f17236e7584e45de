package commitlog

import (
	"errors"
	"fmt"
)

var (
	// ErrFailed wraps the first write or sync error. It is final: what the
	// disk holds is unknown from then on, so the process must end.
	ErrFailed = errors.New("commit log failed")
	// ErrNoSpace means that the next segment could not be reserved because the
	// disk is full. It is not final: nothing was written, the log is as it was,
	// and the same call may be made again when there is space.
	ErrNoSpace = errors.New("no space for the next segment of the commit log")
	// ErrClosed means that the log was closed or abandoned.
	ErrClosed = errors.New("commit log is closed")
	// ErrPurged means that the entry was removed by retention.
	ErrPurged = errors.New("entry was purged")
	// ErrBeyondEnd means that the log does not have the entry yet.
	ErrBeyondEnd = errors.New("entry is beyond the end of the log")
	// ErrNotMaster refuses a leader's append on a log that is SLAVE.
	ErrNotMaster = errors.New("commit log is not MASTER")
	// ErrNotSlave refuses a follower's append or a truncation on a log that is MASTER.
	ErrNotSlave = errors.New("commit log is not SLAVE")
	// ErrStaleTerm refuses an append of another term than the one the log is MASTER in.
	ErrStaleTerm = errors.New("append of another term")
	// ErrNotContiguous refuses entries that do not begin right after the end.
	ErrNotContiguous = errors.New("entries do not follow the end of the log")
	// ErrDivergence refuses entries whose chain does not continue this log's history.
	ErrDivergence = errors.New("entries do not continue this log's history")
	// ErrFaulty means that the bytes of the entry on this disk are damaged.
	ErrFaulty = errors.New("entry is damaged on this disk")
	// ErrInvalidEntry means that bytes are not an entry of this format.
	ErrInvalidEntry = errors.New("invalid entry")
)

// CorruptionError says that bytes which had been durable are not what was
// written. Nothing is changed on disk when it is returned.
type CorruptionError struct {
	Path     string // the segment file
	Position int64  // byte position in it
	Index    Index  // the first entry that cannot be trusted
	Why      string
}

// Error names the file, the place, the cause and what to do.
func (e *CorruptionError) Error() string {
	return fmt.Sprintf("commit log is corrupt: %s at position %d (entry %d): %s; "+
		"nothing was changed: keep the file for inspection, check the disk, and "+
		"replace this member's data from the other members", e.Path, e.Position, e.Index, e.Why)
}

// IdentityError says that a segment was written by somebody else.
type IdentityError struct {
	Path       string
	Found      Identity
	Configured Identity
}

// Error says whose file it is and who was asked to open it.
func (e *IdentityError) Error() string {
	return fmt.Sprintf("segment %s belongs to %s, but this is %s: start the broker with its own data directory",
		e.Path, e.Found, e.Configured)
}
