package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/cmd/internal/clitest"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// server is a broker in this process, and command lines of this program against it.
type server struct{ *clitest.Server }

func startServer(t *testing.T, topics map[string]int) *server {
	t.Helper()
	return &server{clitest.StartServer(t, run, topics)}
}

// publish stores messages and waits for their acknowledgement.
func (s *server) publish(topic string, messages ...client.Message) {
	s.T.Helper()
	p, err := s.Client.Producer(s.T.Context(), client.ProducerConfig{Topic: topic})
	if err != nil {
		s.T.Fatal(err)
	}
	for _, m := range messages {
		p.Publish(s.T.Context(), m)
	}
	if err := p.Close(s.T.Context()); err != nil || p.Stats().Acked != uint64(len(messages)) {
		s.T.Fatal(err, p.Stats())
	}
}

// numbered makes n messages for a queue.
func numbered(queue, n int) []client.Message {
	var messages []client.Message
	for i := range n {
		messages = append(messages, client.Message{Queue: &queue, Value: fmt.Appendf(nil, "q%d-%03d", queue, i)})
	}
	return messages
}

func lines(queue, from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "q%d-%03d\n", queue, i)
	}
	return b.String()
}

func TestValues(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1, "two": 2, "empty": 3})
	s.publish("t", numbered(0, 100)...)
	s.publish("two", append(numbered(0, 50), numbered(1, 50)...)...)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"t"}, lines(0, 0, 100)},
		{[]string{"t", "--from", "@37"}, lines(0, 37, 100)},
		{[]string{"t", "--from", "@100"}, ""},
		{[]string{"t", "--from", "latest"}, ""},
		{[]string{"t", "-n", "3"}, lines(0, 0, 3)},
		{[]string{"two", "--queue", "1"}, lines(1, 0, 50)},
		{[]string{"empty"}, ""},
		{[]string{"t", "--follow", "-n", "100"}, lines(0, 0, 100)},
	} {
		got := s.Command("", tc.args...)
		if got.Exit != cli.ExitOK || got.Err != "" {
			t.Errorf("%v: exit %d, %s", tc.args, got.Exit, got.Err)
		}
		if diff := cmp.Diff(tc.want, got.Out); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.args, diff)
		}
	}
	if got := s.Command("", "two"); strings.Count(got.Out, "\n") != 100 {
		t.Errorf("both queues: %+v", got)
	}
}

// TestJSONLinesAreExact is the first half of `consumer -o jsonl | producer -i jsonl`.
func TestJSONLinesAreExact(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	rng := rand.New(rand.NewPCG(3, 4))
	random := func() []byte {
		b := make([]byte, rng.IntN(30))
		for i := range b {
			b[i] = byte(rng.UintN(256))
		}
		return b
	}
	queue := 0
	var want []client.Message
	for i := range 300 {
		m := client.Message{Queue: &queue, Value: random(), Tag: strings.ToValidUTF8(string(random()), "?"), Timestamp: time.UnixMilli(int64(i))}
		if rng.IntN(2) == 0 {
			m.Key = random()
			m.Headers = []client.Header{{Key: "h", Value: random()}}
		}
		want = append(want, m)
	}
	s.publish("t", want...)
	out := s.Command("", "t", "-o", "jsonl")
	if out.Exit != cli.ExitOK {
		t.Fatal(out)
	}
	var got []client.Message
	for line := range strings.Lines(out.Out) {
		m, err := cli.FromJSON([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPretty(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	at := time.Date(2026, 11, 22, 11, 0, 0, 5e6, time.Local)
	s.publish(
		"t", client.Message{Key: []byte("k"), Value: []byte("héllo"), Tag: "a b", Timestamp: at, Headers: []client.Header{{Key: "h", Value: []byte("v")}}},
		client.Message{Value: []byte("bell\a\xff"), Timestamp: at},
	)
	got := s.Command("", "t", "-o", "pretty")
	want := "t/0@0  2026-11-22 11:00:00.005  tag=a b  key=k  h=v  héllo\nt/0@1  2026-11-22 11:00:00.005  \"bell\\a\\xff\"\n"
	if got.Out != want {
		t.Errorf("got %q, want %q", got.Out, want)
	}
}

func TestFollowUntilInterrupted(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	c := s.Start("t", "--follow")
	s.publish("t", numbered(0, 10)...)
	c.Await(10)
	s.publish("t", numbered(0, 10)...)
	c.Await(20)
	c.Signals <- os.Interrupt
	if got := c.Wait(); got.Exit != cli.ExitOK || got.Err != "read 20\n" || got.Out != lines(0, 0, 10)+lines(0, 0, 10) {
		t.Errorf("%+v", got)
	}
}

func TestInterruptedBeforeItsEnd(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	c := s.Start("t", "--follow", "-n", "5")
	s.publish("t", numbered(0, 2)...)
	c.Await(2)
	c.Signals <- os.Interrupt
	if got := c.Wait(); got.Exit != cli.ExitInterrupted || got.Err != "read 2\n" {
		t.Errorf("%+v", got)
	}
}

func TestReaderGoesAway(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 100)...)
	r, w := io.Pipe()
	_ = r.Close()
	var errs bytes.Buffer
	if exit := run(t.Context(), []string{"t", "--server", s.Addr}, cli.Streams{Out: w, Err: &errs}, nil); exit != cli.ExitOK || errs.Len() > 0 {
		t.Errorf("exit %d, %s", exit, errs.String())
	}
}

func TestBench(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	s.publish("t", numbered(0, 100)...)
	got := s.Command("", "t", "--bench", "-o", "json")
	var b benchJSON
	if err := json.Unmarshal([]byte(got.Out), &b); err != nil || b.Messages != 100 || b.Bytes != 600 || b.MsgsPerS <= 0 {
		t.Errorf("%+v: %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	s := startServer(t, map[string]int{"t": 2})
	for _, tc := range []struct {
		args []string
		exit cli.ExitCode
		err  string
	}{
		{[]string{"nope"}, cli.ExitNotFound, "topic create nope --queues 1 (exit 4, UNKNOWN_TOPIC)"},
		{nil, cli.ExitUsage, "give exactly one topic"},
		{[]string{"t", "--from", "yesterday"}, cli.ExitUsage, "want earliest, latest, @OFFSET"},
		{[]string{"t", "--from", "@-1"}, cli.ExitUsage, "want earliest, latest, @OFFSET"},
		{[]string{"t", "--from", "@7"}, cli.ExitNotFound, "OFFSET_TOO_HIGH"},
		{[]string{"t", "--queue", "2"}, cli.ExitNotFound, `topic "t" has queues 0 to 1, not 2`},
		{[]string{"t", "-o", "json"}, cli.ExitUsage, "-o json is for --bench"},
		{[]string{"t", "-g", "g", "--exit-at-end"}, cli.ExitUsage, "end it with -n or Ctrl-C"},
		{[]string{"t", "-g", "g", "--queue", "1"}, cli.ExitUsage, "--queue cannot be used with it"},
		{[]string{"t", "-g", "no good"}, cli.ExitUsage, "INVALID_GROUP_NAME"},
		{[]string{"t", "--workers", "3"}, cli.ExitUsage, "--workers does nothing without --exec"},
		{[]string{"t", "-g", "g", "--attempts", "3"}, cli.ExitUsage, "--attempts does nothing without --exec"},
		{[]string{"t", "-g", "g", "--on-failure", "skip"}, cli.ExitUsage, "--on-failure does nothing without --exec"},
		{[]string{"t", "--backoff", "3s"}, cli.ExitUsage, "--backoff does nothing without --exec"},
		{[]string{"t", "--exec-timeout", "3s"}, cli.ExitUsage, "--exec-timeout does nothing without --exec"},
		{[]string{"t", "-g", "g", "--invisible", "5s"}, cli.ExitUsage, "--invisible does nothing without --receive"},
		{[]string{"t", "--follow", "--exit-at-end"}, cli.ExitUsage, "exclude each other"},
	} {
		got := s.Command("", tc.args...)
		if got.Exit != tc.exit || !strings.Contains(got.Err, tc.err) {
			t.Errorf("%v: %+v, want exit %d, %s", tc.args, got, tc.exit, tc.err)
		}
	}
}

// TestFromTime: reading begins with the first message stored at a time or later.
func TestFromTime(t *testing.T) {
	s := startServer(t, map[string]int{"t": 2})
	s.publish("t", numbered(0, 10)...)
	c, err := s.Client.Consumer(t.Context(), client.ConsumerConfig{Topic: "t", From: client.Offset(0)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := m.AppendTime.UTC()
	for from, want := range map[string]string{
		first.Format(time.RFC3339Nano): lines(0, 0, 10),
		"1h":                           lines(0, 0, 10),
		time.Now().Add(time.Hour).Local().Format("2006-01-02T15:04"): "",
	} {
		if got := s.Command("", "t", "--from", from); got.Out != want || got.Exit != cli.ExitOK {
			t.Errorf("--from %s: %+v", from, got)
		}
	}
	if got := s.Command("", "t", "--from", "soon"); got.Exit != cli.ExitUsage || !strings.Contains(got.Err, "want earliest, latest, @OFFSET") {
		t.Errorf("%+v", got)
	}
	if err := c.SeekTime(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if at, err := c.Position(0); at != 10 || err != nil {
		t.Error(at, err)
	}
}

// TestFilters: only what is wanted is printed, and the end is found all the same.
func TestFilters(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	messages := numbered(0, 100)
	for i := range messages {
		messages[i].Tag = []string{"paid", "open"}[i%2]
		messages[i].Headers = []client.Header{{Key: "price", Value: fmt.Append(nil, i)}}
	}
	s.publish("t", messages...)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"t", "--filter", "price BETWEEN 10 AND 12"}, lines(0, 10, 13)},
		{[]string{"t", "--filter", "price = 0"}, lines(0, 0, 1)},
		{[]string{"t", "--filter", "price > 1000"}, ""},
		{[]string{"t", "--tag", "open", "-n", "1"}, lines(0, 1, 2)},
		{[]string{"t", "--tag", "gone || paid", "--from", "@97"}, lines(0, 98, 99)},
		{[]string{"t", "--tag", "*", "--from", "@98"}, lines(0, 98, 100)},
		{[]string{"t", "--tag", "open", "--from", "@100"}, ""},
	} {
		got := s.Command("", tc.args...)
		if got.Exit != cli.ExitOK || got.Err != "" {
			t.Errorf("%v: exit %d, %s", tc.args, got.Exit, got.Err)
		}
		if diff := cmp.Diff(tc.want, got.Out); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.args, diff)
		}
	}
	for text, args := range map[string][]string{
		"filter, column 9: the text has no end":         {"t", "--filter", "price = 'x"},
		"filter, column 5: a tag is missing between ||": {"t", "--tag", "a ||"},
		"--tag and --filter exclude each other":         {"t", "--tag", "a", "--filter", "TRUE"},
		"offset 101 of t/0 is above the end":            {"t", "--tag", "a", "--from", "@101"},
	} {
		if got := s.Command("", args...); got.Exit == cli.ExitOK || !strings.Contains(got.Err, text) {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
