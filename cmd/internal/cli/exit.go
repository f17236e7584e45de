package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// ExitCode is what a program hands to the shell.
type ExitCode int

// The exit codes of all three programs, named in every --help.
const (
	ExitOK           ExitCode = 0
	ExitFailed       ExitCode = 1   // failed
	ExitUsage        ExitCode = 2   // wrong usage or configuration
	ExitPartial      ExitCode = 3   // partly done: some messages are not acknowledged
	ExitNotFound     ExitCode = 4   // no such topic, queue, offset, member or group
	ExitDenied       ExitCode = 5   // not allowed
	ExitNoLeader     ExitCode = 6   // no leader, or no answer in time
	ExitVerification ExitCode = 7   // loss, duplicate or divergence found
	ExitInterrupted  ExitCode = 130 // ended by Ctrl-C
)

// ExitHelp is the line about exit codes that every --help ends with.
const ExitHelp = `Exit codes: 0 ok, 1 failed, 2 usage, 3 partly done, 4 not found, 5 not allowed,
            6 no leader or timeout, 7 verification failed, 130 interrupted.`

// Error is an error that chose its exit code.
type Error struct {
	Exit ExitCode
	// Code is the stable code printed after the text, for example "UNKNOWN_TOPIC"; may be empty.
	Code string
	// Err is the text; nil ends the program quietly with Exit.
	Err error
}

// Error returns the text alone.
func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Exit)
	}
	return e.Err.Error()
}

// Unwrap returns the error that was given an exit code.
func (e *Error) Unwrap() error { return e.Err }

// Exit makes an error that ends the program with code. A nil err prints nothing.
func Exit(code ExitCode, err error) error { return &Error{Exit: code, Err: err} }

// Usagef makes an error about wrong usage.
func Usagef(format string, args ...any) error {
	return &Error{Exit: ExitUsage, Code: "USAGE", Err: fmt.Errorf(format, args...)}
}

// ExitCodeOf tells which exit code an error ends the program with.
func ExitCodeOf(err error) ExitCode {
	if err == nil {
		return ExitOK
	}
	var own *Error
	if errors.As(err, &own) {
		return own.Exit
	}
	var ce *client.Error
	if errors.As(err, &ce) {
		return exitOfClient(ce)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return ExitNoLeader
	}
	return ExitFailed
}

func exitOfClient(e *client.Error) ExitCode {
	switch e.Code {
	case client.CodeUnknownTopic, client.CodeUnknownQueue, client.CodeUnknownMember, client.CodeUnknownGroup,
		client.CodeOffsetTooLow, client.CodeOffsetTooHigh, client.CodeTopicDeleted:
		return ExitNotFound
	case client.CodeUnauthenticated, client.CodePermissionDenied:
		return ExitDenied
	case client.CodeNoLeader, client.CodeNotLeader, client.CodeLeaderNotReady, client.CodeLeaderTransferring,
		client.CodeUnavailable, client.CodeTimeout, client.CodeDeliveryTimeout, client.CodeQuorumTimeout,
		client.CodeLeadershipLost, client.CodeShuttingDown:
		return ExitNoLeader
	case client.CodeInvalidTopicName, client.CodeInvalidGroupName, client.CodeInvalidConfig, client.CodeInvalidMember,
		client.CodeInvalidTopicSettings, client.CodeInvalidTopicChange, client.CodeInvalidFilter, client.CodeInvalidHandle,
		client.CodeDeliveryTooFar:
		return ExitUsage
	case client.CodeSkipped, client.CodeCorruptBatch:
		return ExitVerification
	}
	return ExitFailed
}

// Describe renders an error in the form all programs use: what, where, why,
// what to do, and in brackets the exit code and the stable code.
func Describe(program string, err error) string {
	exit, code := ExitCodeOf(err), ""
	var own *Error
	var ce *client.Error
	if errors.As(err, &own) && own.Code != "" {
		code = own.Code
	} else if errors.As(err, &ce) {
		code = string(ce.Code)
	}
	tail := fmt.Sprintf("(exit %d)", exit)
	if code != "" {
		tail = fmt.Sprintf("(exit %d, %s)", exit, code)
	}
	text := strings.TrimRight(err.Error(), " \n")
	return fmt.Sprintf("%s: %s %s", program, text, tail)
}
