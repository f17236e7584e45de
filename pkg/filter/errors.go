package filter

import (
	"errors"
	"fmt"
)

var (
	// ErrSyntax marks an expression that cannot be read; the error is an *Error.
	ErrSyntax = errors.New("invalid filter")
	// ErrLimit marks an expression that is above one of the limits; the error is an *Error.
	ErrLimit = errors.New("filter is above a limit")
	// ErrCost is what Match returns for a message on which the expression would take
	// more than MaxSteps.
	ErrCost = errors.New("filter: the message costs too many steps")
)

// The limits of an expression. They are what RocketMQ's users write, with room to
// spare; they are the same on every broker, so that a filter that one takes is good
// everywhere.
const (
	// MaxBytes bounds the text.
	MaxBytes = 8 << 10
	// MaxDepth bounds how deep parentheses and NOT are nested.
	MaxDepth = 64
	// MaxNodes bounds operators and operands; the values of an IN list are not counted,
	// they are bounded by the text.
	MaxNodes = 512
	// MaxProperties bounds the different properties that an expression names.
	MaxProperties = 64
	// MaxPattern bounds the characters of a LIKE pattern.
	MaxPattern = 255
	// MaxSteps bounds what one message may cost: about the bytes that are looked at.
	MaxSteps = 1 << 20
)

// Error says what is wrong with an expression, and where. It is an ErrSyntax or an
// ErrLimit.
type Error struct {
	// Column counts characters from 1.
	Column  int
	Message string
	kind    error
}

// Error names the column.
func (e *Error) Error() string { return fmt.Sprintf("filter, column %d: %s", e.Column, e.Message) }

// Is makes an *Error an ErrSyntax or an ErrLimit.
func (e *Error) Is(target error) bool { return target == e.kind }

func syntaxError(column int, format string, args ...any) *Error {
	return &Error{Column: column, Message: fmt.Sprintf(format, args...), kind: ErrSyntax}
}

func limitError(column int, format string, args ...any) *Error {
	return &Error{Column: column, Message: fmt.Sprintf(format, args...), kind: ErrLimit}
}
