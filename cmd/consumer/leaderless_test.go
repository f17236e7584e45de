package main

import (
	"os"
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
)

// TestWithoutALeader: what is waited for is told, once.
func TestWithoutALeader(t *testing.T) {
	s := clitest.StartLeaderless(t, run)
	var waiting []*clitest.Running
	for _, args := range [][]string{{"t", "-n", "1"}, {"t", "-g", "g"}, {"t", "-g", "w", "--receive"}} {
		waiting = append(waiting, s.Start(args...))
	}
	for _, c := range waiting {
		c.AwaitText(&c.Err, "no leader yet: waiting")
		c.Signals <- os.Interrupt
		if o := c.Wait(); o.Exit != cli.ExitInterrupted && o.Exit != cli.ExitOK || strings.Count(o.Err, "waiting") != 1 {
			t.Errorf("%+v", o)
		}
	}
}
