package batch

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalid marks bytes or a record that break the format.
	ErrInvalid = errors.New("invalid batch")
	// ErrCorrupt marks a batch whose checksum does not match its bytes.
	ErrCorrupt = errors.New("corrupt batch")
	// ErrTooLarge marks a record or a batch above one of the limits; the error is a *LimitError.
	ErrTooLarge = errors.New("too large")
	// ErrFull is what Builder.Append returns when the record fits into a batch, but not
	// any more into this one: Build, Reset, append again.
	ErrFull = errors.New("batch is full")
)

// LimitError says which limit was broken and by how much. It is an ErrTooLarge.
type LimitError struct {
	What string // for example "key", "tag", "records"
	Size int    // bytes, or a count where What names one
	Max  int
}

// Error names the limit, what it is and what was given.
func (e *LimitError) Error() string {
	return fmt.Sprintf("batch: %s of %d is above the limit of %d", e.What, e.Size, e.Max)
}

// Is makes errors.Is(err, ErrTooLarge) true.
func (e *LimitError) Is(target error) bool { return target == ErrTooLarge }

// CorruptError is a checksum that does not match. It is an ErrCorrupt.
type CorruptError struct {
	Stored, Computed uint32
}

// Error gives both checksums.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("batch: CRC-32C is %08x, header says %08x: the bytes were damaged on their way or on disk", e.Computed, e.Stored)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// invalid builds an ErrInvalid that says what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("batch: %s: %w", fmt.Sprintf(format, args...), ErrInvalid)
}
