package main

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// TestReceiveAcknowledgesWhatWasWritten: runs share the queue of a work-queue group, and
// none prints what another one has.
func TestReceiveAcknowledgesWhatWasWritten(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 100)...)
	first := s.Command("", "t", "-g", "g", "--receive", "-n", "30")
	if first.Exit != cli.ExitOK || first.Out != lines(0, 0, 30) {
		t.Errorf("%+v", first)
	}
	if at := s.at("g"); at != 30 {
		t.Errorf("the group is at %d", at)
	}
	a, b := s.Start("t", "-g", "g", "--receive"), s.Start("t", "-g", "g", "--receive")
	for s.at("g") < 100 {
		runtime.Gosched()
	}
	a.Signals <- os.Interrupt
	b.Signals <- os.Interrupt
	gotA, gotB := a.Wait(), b.Wait()
	got := strings.SplitAfter(gotA.Out+gotB.Out, "\n")
	slices.Sort(got)
	want := strings.SplitAfter(lines(0, 30, 100), "\n")
	slices.Sort(want)
	if gotA.Exit != cli.ExitOK || gotB.Exit != cli.ExitOK || !slices.Equal(got, want) {
		t.Errorf("%+v %+v", gotA, gotB)
	}
}

// TestReceiveGivesBackWhatNobodySaw: messages that were received and not printed have had no
// attempt when a run ends.
func TestReceiveGivesBackWhatNobodySaw(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 20)...)
	p := &program{flags: flags{group: "g", attempts: 1}}
	first, err := p.receiveFor(t.Context(), s.Client, "t")
	if err != nil {
		t.Fatal(err)
	}
	for here := 0; here < 20; here = len(first.here) {
		all := first.here
		if err := first.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		first.here = append(all, first.here...)
	}
	m, _, _ := first.TryNext()
	first.took(&m)
	if err := errors.Join(first.flushed(), first.end()); err != nil {
		t.Fatal(err)
	}
	if got := s.Command("", "t", "-g", "g", "--receive", "-n", "19"); got.Exit != cli.ExitOK || got.Out != lines(0, 1, 20) {
		t.Errorf("%+v", got)
	}
}

func TestReceiveUsage(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	for _, args := range [][]string{{"t", "--receive"}, {"t", "-g", "g", "--fifo"}, {"t", "-g", "g", "--max-attempts", "3"}, {"t", "-g", "g", "--receive", "--bench"}} {
		if got := s.Command("", args...); got.Exit != cli.ExitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, time := range []string{"1ms", "0s", "13h"} {
		got := s.Command("", "t", "-g", "g", "-n", "0", "--receive", "--invisible", time)
		if got.Exit != cli.ExitUsage || !strings.Contains(got.Err, "--invisible must be 10ms to 12h, not ") {
			t.Errorf("%s: %+v", time, got)
		}
	}
}

// TestReceiveExec: a command per message of a work-queue group. Who fails is tried again,
// as the group's policy says, and everything is done once in the end.
func TestReceiveExec(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 6)...)
	fails := `echo "$MESSAGE_OFFSET $MESSAGE_ATTEMPT"; test "$MESSAGE_OFFSET" != 3 || test "$MESSAGE_ATTEMPT" -ge 2`
	got := s.Command("", "t", "-g", "g", "--receive", "-n", "7", "--exec", fails)
	if want := "0 1\n1 1\n2 1\n3 1\n4 1\n5 1\n3 2\n"; got.Exit != cli.ExitOK || got.Out != want {
		t.Errorf("%+v\nwant %s", got, want)
	}
	if !strings.Contains(got.Err, "t/0@3: attempt 1: the command failed: exit status 1") || s.at("g") != 6 {
		t.Errorf("%s, and the group is at %d", got.Err, s.at("g"))
	}
	s.publish("t", numbered(0, 20)[6:]...)
	all := s.Start("t", "-g", "g", "--receive", "--workers", "3", "--exec", `printf "%s\n" "$(cat)"`)
	for s.at("g") < 20 {
		runtime.Gosched()
	}
	all.Signals <- os.Interrupt
	out := all.Wait()
	done := strings.SplitAfter(out.Out, "\n")
	slices.Sort(done)
	want := strings.SplitAfter(lines(0, 6, 20), "\n")
	slices.Sort(want)
	if out.Exit != cli.ExitOK || !slices.Equal(done, want) {
		t.Errorf("exit %v\n%q\nwant %q\n%s", out.Exit, done, want, out.Err)
	}
	for _, args := range [][]string{{"--attempts", "3"}, {"--on-failure", "skip"}, {"-n", "3", "--workers", "2"}} {
		if got := s.Command("", append([]string{"t", "-g", "g", "--receive", "--exec", "true"}, args...)...); got.Exit != cli.ExitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
