// Command broker runs a LedgerMQ broker and looks after a cluster of them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for an orderly end; from then on a second one ends
	// the process in the ordinary way, at once.
	context.AfterFunc(ctx, stop)
	streams := cli.OSStreams()
	os.Exit(int(cli.Execute(ctx, newRoot(streams), os.Args[1:], streams)))
}
