package main

import (
	"os"
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
)

// TestWithoutALeader: the topic is waited for no longer than a message, and not in silence.
func TestWithoutALeader(t *testing.T) {
	s := clitest.StartLeaderless(t, run)
	for _, args := range [][]string{{"t"}, {"t", "--transaction"}, {"t", "--name", "till"}} {
		o := s.Command("x\n", append(args, "--timeout", "300ms")...)
		if o.Exit != cli.ExitNoLeader || !strings.Contains(o.Err, "NO_LEADER") || strings.Contains(o.Err, "stored") {
			t.Errorf("%v: %+v", args, o)
		}
	}
	c := s.Start("t")
	c.AwaitText(&c.Err, "no leader yet: waiting")
	c.Signals <- os.Interrupt
	if o := c.Wait(); o.Exit != cli.ExitInterrupted || strings.Count(o.Err, "\n") != 1 {
		t.Errorf("%+v", o)
	}
}
