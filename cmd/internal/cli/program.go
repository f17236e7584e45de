package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Streams are the three standard streams of a program, so that tests can give their own.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// OSStreams are the streams of this process.
func OSStreams() Streams { return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr} }

// IsTerminal tells whether a stream is a terminal.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Execute runs a command line and returns its exit code; an error is printed to
// the error stream. What fails before a command's own function starts (an
// unknown flag, a missing argument) is wrong usage.
func Execute(ctx context.Context, root *cobra.Command, args []string, s Streams) ExitCode {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	started := false
	hook := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		started = true
		if hook != nil {
			return hook(cmd, args)
		}
		return nil
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	var own *Error
	if !started && !errors.As(err, &own) {
		err = Usagef("%w; see '%s --help'", err, cmd.CommandPath())
	}
	if errors.As(err, &own) && own.Err == nil {
		return own.Exit
	}
	fmt.Fprintln(s.Err, Describe(root.Name(), err))
	return ExitCodeOf(err)
}
