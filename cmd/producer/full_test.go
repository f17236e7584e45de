package main

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
)

// full is a disk without room.
type full struct{}

// Write fails.
func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestUnwrittenReceipts: what was stored is told also when its receipts cannot be written.
func TestUnwrittenReceipts(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	for want, args := range map[string][]string{
		"\n  acked 1, unknown 0 (exit 3)":                                {"-o", "jsonl"},
		"receipts cannot be written: no space left on device\n  acked 1": {"-o", "text"},
		"no space left on device\n  acked 3, unknown 0 (exit 3)":         {"--bench", "-n", "3"},
		"all 1 messages are delivered, but receipts cannot be written":   {"--transaction", "-o", "jsonl"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), clitest.Patience)
		var errs clitest.Buffer
		exit := run(ctx, append(args, "t", "--server", s.Addr), cli.Streams{In: strings.NewReader("x\n"), Out: full{}, Err: &errs}, nil)
		cancel()
		if exit != cli.ExitPartial || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: exit %d: %s", args, exit, errs.String())
		}
	}
	if n := len(s.consume("t")[0]); n != 6 {
		t.Errorf("%d messages are stored", n)
	}
}
