package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a write tells
	os.Exit(int(run(context.Background(), os.Args[1:], cli.OSStreams(), signals)))
}

// run is the program: it returns the exit code. A signal ends it.
func run(ctx context.Context, args []string, streams cli.Streams, signals <-chan os.Signal) cli.ExitCode {
	p := &program{streams: streams, signals: signals}
	return cli.Execute(ctx, p.command(), args, streams)
}
