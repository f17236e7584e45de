package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
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

// consume returns all messages of a topic, per queue.
func (s *server) consume(topic string) [][]client.Message {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), clitest.Patience)
	defer cancel()
	cs, err := s.Client.Consumer(ctx, client.ConsumerConfig{Topic: topic})
	if err != nil {
		s.T.Fatal(err)
	}
	defer cs.Close()
	ranges, err := cs.Ranges(ctx)
	if err != nil {
		s.T.Fatal(err)
	}
	queues, left := make([][]client.Message, len(ranges)), int64(0)
	for _, r := range ranges {
		left += r.End - r.First
	}
	for ; left > 0; left-- {
		m, err := cs.Next(ctx)
		if err != nil {
			s.T.Fatal(err)
		}
		queues[*m.Queue] = append(queues[*m.Queue], m)
	}
	return queues
}

func texts(messages []client.Message) []string {
	var out []string
	for _, m := range messages {
		out = append(out, string(m.Value))
	}
	return out
}

func TestLinesAreExact(t *testing.T) {
	s := startServer(t, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1})
	file := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(file, []byte("from\r\na file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		stdin string
		args  []string
		want  []string
	}{
		{"one\n\ntwo \r\n\xff\x00\nlast", []string{"a"}, []string{"one", "", "two \r", "\xff\x00", "last"}},
		{"x\x00y\nz\x00", []string{"b", "--delimiter", `\0`, "--compress", "s2"}, []string{"x", "y\nz"}},
		{"all\nof\nit\n", []string{"c", "-i", "raw", "--compress", "zstd"}, []string{"all\nof\nit\n"}},
		{"stdin\n", []string{"d", file, "-", file}, []string{"from\r", "a file", "stdin", "from\r", "a file"}},
		{"", []string{"e"}, nil},
	} {
		got := s.Command(tc.stdin, tc.args...)
		if got.Exit != cli.ExitOK || got.Out != "" || got.Err != "" {
			t.Errorf("%v: %+v", tc.args, got)
		}
		if diff := cmp.Diff(tc.want, texts(s.consume(tc.args[0])[0])); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.args, diff)
		}
	}
}

func TestKeysAndQueues(t *testing.T) {
	s := startServer(t, map[string]int{"keys": 4, "queue": 4})
	if got := s.Command("k=v=w\nno key\n=empty key\n", "keys", "--key-delimiter", "="); got.Exit != cli.ExitOK {
		t.Fatal(got)
	}
	found := map[string]string{}
	for q, messages := range s.consume("keys") {
		for _, m := range messages {
			found[string(m.Value)] = fmt.Sprintf("%q %t", m.Key, m.Key == nil)
			if m.Key != nil && q != client.QueueOfKey(m.Key, 4) {
				t.Errorf("key %q is in queue %d", m.Key, q)
			}
		}
	}
	want := map[string]string{"v=w": `"k" false`, "no key": `"" true`, "empty key": `"" false`}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	if got := s.Command("a\nb\n", "queue", "--queue", "2"); got.Exit != cli.ExitOK {
		t.Fatal(got)
	}
	if diff := cmp.Diff([]string{"a", "b"}, texts(s.consume("queue")[2])); diff != "" {
		t.Error(diff)
	}
	if got := s.Command("a\n", "queue", "--queue", "4"); got.Exit != cli.ExitNotFound || !strings.Contains(got.Err, "UNKNOWN_QUEUE") {
		t.Errorf("queue 4 of 4: %+v", got)
	}
}

// TestJSONLinesAreExact is the second half of `consumer -o jsonl | producer -i jsonl`.
func TestJSONLinesAreExact(t *testing.T) {
	s := startServer(t, map[string]int{"t": 3})
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() []byte {
		b := make([]byte, rng.IntN(40))
		for i := range b {
			b[i] = byte(rng.UintN(256))
		}
		return b
	}
	var input strings.Builder
	want := make([][]client.Message, 3)
	for range 500 {
		q := rng.IntN(3)
		m := client.Message{Queue: &q, Value: random(), Tag: strings.ToValidUTF8(string(random()), "�"), Timestamp: time.UnixMilli(rng.Int64N(1 << 40))}
		if rng.IntN(2) == 0 {
			m.Key = random()
		}
		for range rng.IntN(3) {
			m.Headers = append(m.Headers, client.Header{Key: strings.ToValidUTF8(string(random()), "?"), Value: random()})
		}
		want[q] = append(want[q], m)
		line, err := json.Marshal(cli.ToJSON(&m))
		if err != nil {
			t.Fatal(err)
		}
		input.Write(append(line, '\n'))
	}
	if got := s.Command(input.String(), "t", "-i", "jsonl"); got.Exit != cli.ExitOK {
		t.Fatal(got)
	}
	got := s.consume("t")
	for _, messages := range got {
		for i := range messages {
			messages[i] = client.Message{
				Queue: messages[i].Queue, Key: messages[i].Key, Value: messages[i].Value, Tag: messages[i].Tag,
				Headers: messages[i].Headers, Timestamp: messages[i].Timestamp,
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// receiptOfFirst is the receipt of the first message of a topic, in whatever term.
var receiptOfFirst = regexp.MustCompile(`t/0@0 term=[1-9]\d* index=\d`)

func TestReceipts(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	if got := s.Command("a\nb\n", "t", "-o", "text"); !receiptOfFirst.MatchString(got.Out) || strings.Count(got.Out, "\n") != 2 {
		t.Errorf("%+v", got)
	}
	got := s.Command("c\n", "t", "-o", "jsonl")
	var r receiptJSON
	if err := json.Unmarshal([]byte(got.Out), &r); err != nil || r.Offset != 2 || r.Topic != "t" || r.LedgerIndex == 0 {
		t.Errorf("%+v: %+v, %v", got, r, err)
	}
	if got := s.Command("", "version"); got.Exit != cli.ExitUsage { // --server belongs to publishing
		t.Errorf("%+v", got)
	}
}

func TestBench(t *testing.T) {
	s := startServer(t, map[string]int{"t": 2})
	got := s.Command("", "t", "--bench", "-n", "2k", "--size", "100", "--rate", "20k/s", "-o", "json")
	var b benchJSON
	if err := json.Unmarshal([]byte(got.Out), &b); err != nil || got.Exit != cli.ExitOK {
		t.Fatalf("%+v: %v", got, err)
	}
	if b.Acked != 2000 || b.Failed+b.Unknown != 0 || b.MsgsPerS <= 0 || b.MsgsPerS > 25000 || b.AckP50MS <= 0 || b.AckP999MS < b.AckP99MS {
		t.Errorf("%+v", b)
	}
	if got := s.Command("", "t", "--bench", "-n", "10"); !strings.Contains(got.Out, "acked 10  unknown 0  failed 0") {
		t.Errorf("%+v", got)
	}
}

func TestInterruptFlushes(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	c := s.Start("t", "-o", "text")
	if _, err := c.Stdin.Write([]byte(strings.Repeat("x\n", 100))); err != nil {
		t.Fatal(err)
	}
	c.Await(100)
	c.Signals <- os.Interrupt
	if got := c.Wait(); got.Exit != cli.ExitInterrupted || got.Err != "acked 100, unknown 0\n" {
		t.Errorf("%+v", got)
	}
}

func TestSecondInterruptLeaves(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	c := s.Start("t", "-o", "text")
	if _, err := c.Stdin.Write([]byte("stored\n")); err != nil {
		t.Fatal(err)
	}
	c.Await(1)
	s.Broker.Kill()
	for range 2 { // the second write returns when the first line was taken
		if _, err := c.Stdin.Write([]byte(strings.Repeat("not stored\n", 10000))); err != nil {
			t.Fatal(err)
		}
	}
	c.Signals <- os.Interrupt
	c.Signals <- os.Interrupt
	got := c.Wait()
	var unknown, failed int
	if n, _ := fmt.Sscanf(got.Err, "acked 1, unknown %d, failed %d", &unknown, &failed); got.Exit != cli.ExitInterrupted || n == 0 || unknown+failed == 0 {
		t.Errorf("%+v", got)
	}
}

func TestErrors(t *testing.T) {
	s := startServer(t, map[string]int{"t": 1})
	for _, tc := range []struct {
		stdin string
		args  []string
		exit  cli.ExitCode
		err   string
	}{
		{"x", []string{"nope"}, cli.ExitNotFound, "broker admin --server " + s.Addr + " topic create nope --queues 1 (exit 4, UNKNOWN_TOPIC)"},
		{"x", nil, cli.ExitUsage, "no topic given; see 'producer --help' (exit 2, USAGE)"},
		{"x", []string{"t", "--sped"}, cli.ExitUsage, "unknown flag: --sped"},
		{"x", []string{"t", "-o", "xml"}, cli.ExitUsage, "want one of none, text, jsonl, json"},
		{"x", []string{"t", "-o", "json"}, cli.ExitUsage, "-o json is for --bench"},
		{"x", []string{"t", "-n", "5"}, cli.ExitUsage, "--count does nothing without --bench"},
		{"x", []string{"t", "--size", "5"}, cli.ExitUsage, "--size does nothing without --bench"},
		{"x", []string{"t", "--rate", "fast"}, cli.ExitUsage, "messages per second"},
		{"x", []string{"t", "--delimiter", ""}, cli.ExitUsage, "--delimiter is empty"},
		{"x", []string{"t", "--tls-cert", "c"}, cli.ExitUsage, "belong together"},
		{"x", []string{"t", "no such file"}, cli.ExitUsage, "no such file or directory"},
		{"{\"value\":\"a\"}\n{\"valu\":\"b\"}\n", []string{"t", "-i", "jsonl"}, cli.ExitPartial, "-:2: json: unknown field \"valu\""},
		{strings.Repeat("x", 5<<20), []string{"t"}, cli.ExitFailed, "MESSAGE_TOO_LARGE"},
		{strings.Repeat("x", 17<<20), []string{"t"}, cli.ExitFailed, "message 1 is longer than 16777216 bytes"},
	} {
		got := s.Command(tc.stdin, tc.args...)
		if got.Exit != tc.exit || !strings.Contains(got.Err, tc.err) {
			t.Errorf("%.40v: exit %d, %s\nwant exit %d, %s", tc.args, got.Exit, got.Err, tc.exit, tc.err)
		}
	}
	if diff := cmp.Diff([]string{"a"}, texts(s.consume("t")[0])); diff != "" {
		t.Error(diff)
	}
}

// TestDelay: the receipt has a handle; the message comes at its time.
func TestDelay(t *testing.T) {
	s := startServer(t, map[string]int{"orders": 1})
	began := time.Now()
	o := s.Command("later\n", "orders", "--delay", "150ms", "-o", "text")
	if o.Exit != 0 || !strings.Contains(o.Out, "orders/0 waits, handle=d-1-") {
		t.Fatalf("exit %d: %s%s", o.Exit, o.Out, o.Err)
	}
	consumer, err := s.Client.Consumer(t.Context(), client.ConsumerConfig{Topic: "orders", From: client.Earliest()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), clitest.Patience)
	defer cancel()
	m, err := consumer.Next(ctx)
	if err != nil || string(m.Value) != "later" {
		t.Fatal(m.Value, err)
	}
	if early := time.Until(m.DeliverAt); early > 0 || time.Since(began) < 149*time.Millisecond { // times of delivery are whole milliseconds
		t.Fatalf("%v too early", early)
	}
	for _, args := range [][]string{
		{"orders", "--delay", "-1s"},
		{"orders", "--delay", "1s", "--at", "2027-01-31T08:00:00Z"},
		{"orders", "--at", "tomorrow"},
	} {
		if o := s.Command("x\n", args...); o.Exit != cli.ExitUsage {
			t.Errorf("%v: exit %d: %s", args, o.Exit, o.Err)
		}
	}
	if o := s.Command("x\n", "orders", "--at", "2999-01-31T08:00:00Z"); o.Exit != cli.ExitUsage || !strings.Contains(o.Err, "DELIVERY_TIME_TOO_FAR") {
		t.Errorf("exit %d: %s", o.Exit, o.Err)
	}
}

// TestTransaction: all of the input or nothing.
func TestTransaction(t *testing.T) {
	s := startServer(t, map[string]int{"orders": 1})
	o := s.Command("{\"value\":\"a\"}\nno JSON\n", "orders", "-i", "jsonl", "--transaction")
	if o.Exit == 0 || !strings.Contains(o.Err, "nothing is delivered") {
		t.Fatalf("exit %d: %s", o.Exit, o.Err)
	}
	o = s.Command("one\ntwo\n", "orders", "--transaction", "-o", "text")
	if o.Exit != 0 || !strings.HasPrefix(o.Out, "orders/0@0 ") || strings.Count(o.Out, "\n") != 2 {
		t.Fatalf("exit %d: %s%s", o.Exit, o.Out, o.Err)
	}
	c := s.Start("orders", "--transaction")
	if _, err := io.WriteString(c.Stdin, "three\n"); err != nil {
		t.Fatal(err)
	}
	c.Signals <- os.Interrupt // the input is still open
	if o := c.Wait(); o.Exit != cli.ExitInterrupted {
		t.Fatalf("exit %d: %s", o.Exit, o.Err)
	}
	topic, err := s.Client.Admin().DescribeTopic(t.Context(), "orders")
	if err != nil || topic.Queues[0].End != 2 {
		t.Fatal(topic, err)
	}
	if o := s.Command("x\n", "orders", "--transaction", "--delay", "1s"); o.Exit != cli.ExitUsage {
		t.Errorf("exit %d: %s", o.Exit, o.Err)
	}
}
