package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// TestExecTellsAllOfAMessage: value, key, tag, headers and place reach the command.
func TestExecTellsAllOfAMessage(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", client.Message{
		Key: []byte("k 1"), Value: []byte("line\nline"), Tag: "paid", ID: "id-1", MessageGroup: "g-1",
		Headers: []client.Header{{Key: "trace-id", Value: []byte("x'y")}, {Key: "raw", Value: []byte{0, 1}}},
	}, client.Message{Key: []byte{0, 255}})
	script := `cat; echo "|$MESSAGE_TOPIC|$MESSAGE_QUEUE|$MESSAGE_OFFSET|$MESSAGE_ATTEMPT|$MESSAGE_KEY|$MESSAGE_KEY_BASE64|$MESSAGE_TAG|$MESSAGE_ID|$MESSAGE_GROUP|$MESSAGE_HEADER_TRACE_ID|$MESSAGE_HEADERS"`
	got := s.Command("", "t", "-g", "g", "-n", "2", "--exec", script)
	want := "line\nline|t|0|0|1|k 1||paid|id-1|g-1|x'y|" + `[{"key":"trace-id","value":"x'y"},{"key":"raw","value":"\u0000\u0001"}]` + "\n" +
		"|t|0|1|1||AP8=|||||\n"
	if got.Exit != cli.ExitOK || got.Out != want {
		t.Errorf("%+v\nwant %s", got, want)
	}
	if at := s.at("g"); at != 2 {
		t.Errorf("the group is at %d", at)
	}
}

// TestExecCommitsOnlyWhatIsDone: a message whose command fails comes again, in its order;
// after the last attempt it stops the consumer uncommitted, or is skipped.
func TestExecCommitsOnlyWhatIsDone(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 6)...)
	fails := `echo "$MESSAGE_OFFSET $MESSAGE_ATTEMPT"; test "$MESSAGE_OFFSET" != 3 || test "$MESSAGE_ATTEMPT" -ge 3`
	for _, tc := range []struct {
		group string
		args  []string
		exit  cli.ExitCode
		out   string
		at    int64
	}{
		{"again", nil, cli.ExitOK, "0 1\n1 1\n2 1\n3 1\n3 2\n3 3\n4 1\n5 1\n", 6},
		{"stop", []string{"--attempts", "2"}, cli.ExitFailed, "0 1\n1 1\n2 1\n3 1\n3 2\n", 3},
		{"skip", []string{"--attempts", "2", "--on-failure", "skip"}, cli.ExitOK, "0 1\n1 1\n2 1\n3 1\n3 2\n4 1\n5 1\n", 6},
	} {
		got := s.Command("", append([]string{"t", "-g", tc.group, "-n", "6", "--backoff", "1ms", "--exec", fails}, tc.args...)...)
		if got.Exit != tc.exit || got.Out != tc.out || !strings.Contains(got.Err, "t/0@3: attempt 1: the command failed: exit status 1") {
			t.Errorf("%s: %+v", tc.group, got)
		}
		if at := s.at(tc.group); at != tc.at {
			t.Errorf("%s: the group is at %d", tc.group, at)
		}
	}
	got := s.Command("", "t", "-g", "slow", "-n", "1", "--attempts", "1", "--exec-timeout", "20ms", "--exec", "sleep 1000")
	if got.Exit != cli.ExitFailed || !strings.Contains(got.Err, "it took longer than 20ms") {
		t.Errorf("%+v", got)
	}
}

// TestExecRunsQueuesBesideOneAnother: queue 0 can only go on when queue 1 has begun. Each
// queue keeps its order.
func TestExecRunsQueuesBesideOneAnother(t *testing.T) {
	s := startServer(t, map[string]int{"t": 2})
	const each = 2*lanePending + 5
	s.publish("t", append(numbered(0, each), numbered(1, each)...)...)
	dir := t.TempDir()
	script := fmt.Sprintf(`cd %s; if [ $MESSAGE_QUEUE = 0 ]; then until [ -e one ]; do sleep 0.01; done; else : > one; fi; echo $MESSAGE_QUEUE $MESSAGE_OFFSET`, dir)
	got := s.Command("", "t", "-g", "g", "-n", fmt.Sprint(2*each), "--workers", "2", "--exec", script)
	if got.Exit != cli.ExitOK {
		t.Fatalf("%+v", got)
	}
	next := map[string]int{}
	for line := range strings.Lines(got.Out) {
		queue, offset, _ := strings.Cut(strings.TrimSpace(line), " ")
		if offset != fmt.Sprint(next[queue]) {
			t.Fatalf("%s comes where %d is due:\n%s", line, next[queue], got.Out)
		}
		next[queue]++
	}
	if next["0"] != each || next["1"] != each {
		t.Errorf("got %v", next)
	}
}

// TestExecHandsQueuesOver: a second member takes half of the queues while commands run;
// each message is done once. Ctrl-C waits for the command that runs.
func TestExecHandsQueuesOver(t *testing.T) {
	s := startServer(t, map[string]int{"t": 2})
	each := 60
	s.publish("t", append(numbered(0, each), numbered(1, each)...)...)
	done := filepath.Join(t.TempDir(), "done")
	script := fmt.Sprintf(`sleep 0.01; echo $MESSAGE_QUEUE $MESSAGE_OFFSET | tee -a %s`, done)
	first := s.Start("t", "-g", "g", "--exec", script)
	first.Await(5)
	second := s.Start("t", "-g", "g", "--exec", script)
	for deadline := time.Now().Add(clitest.Patience); second.Out.String() == "" && time.Now().Before(deadline); each++ {
		s.publish("t", append(numbered(0, 1), numbered(1, 1)...)...) // there is something left to take
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-second.Out.Grown():
		case <-pause.C:
		}
		pause.Stop()
	}
	second.Await(1)
	first.Signals <- os.Interrupt
	if got := first.Wait(); got.Exit != cli.ExitOK || !strings.HasPrefix(got.Err, "read ") {
		t.Errorf("%+v", got)
	}
	second.Await(2*each - strings.Count(first.Out.String(), "\n"))
	second.Signals <- os.Interrupt
	if got := second.Wait(); got.Exit != cli.ExitOK {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(done)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Sorted(strings.Lines(string(text)))
	if distinct := slices.Compact(slices.Clone(lines)); len(lines) != 2*each || len(distinct) != 2*each {
		t.Errorf("%d commands for %d messages, %d of them different", len(lines), 2*each, len(distinct))
	}
	if lag := s.lag("g"); lag != 0 {
		t.Errorf("%d messages are not committed", lag)
	}
}

// lag is how many messages a group has before it.
func (s *server) lag(group string) int64 {
	s.T.Helper()
	d, err := s.Client.Admin().DescribeGroup(s.T.Context(), group)
	if err != nil {
		s.T.Fatal(err)
	}
	return d.Lag
}

func TestExecFlags(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	for _, args := range [][]string{
		{"t", "--exec", "true"},
		{"t", "-g", "g", "--exec", "true", "-o", "jsonl"},
		{"t", "-g", "g", "--exec", "true", "--workers", "0"},
		{"t", "-g", "g", "--exec", "true", "--attempts", "-1"},
		{"t", "-g", "g", "--exec", "true", "--on-failure", "retry"},
	} {
		if got := s.Command("", args...); got.Exit != cli.ExitUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
