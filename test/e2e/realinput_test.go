package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/test/cluster"
)

// How large the real input is and how fast it goes in, so that it is still
// going in while leaders fail.
type size struct{ lines, bytes, perSecond int }

func inputSize() size {
	if testing.Short() {
		return size{100_000, 3_000_000, 12_500}
	}
	return size{1_000_000, 50_000_000, 50_000}
}

// TestOneQueueKeepsEveryByte pipes a file through a topic with one queue while
// the leader is killed and the next one is paused: what comes out is the file.
func TestOneQueueKeepsEveryByte(t *testing.T) {
	want := inputSize()
	in := realInput(t, want.lines, want.bytes, false)
	c := cluster.Start(t, cluster.Config{})
	publishThroughFailures(t, c, "lines", 1, in)

	got := consume(t, c, "lines")
	sent, err := os.ReadFile(in.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("sha256 sent     %x", sha256.Sum256(sent))
	t.Logf("sha256 consumed %x", sha256.Sum256(got))
	if !bytes.Equal(got, sent) {
		t.Errorf("consumed %d bytes that differ from the %d sent", len(got), len(sent))
	}
}

// TestFourQueuesKeepEveryLine does the same with four queues: every line comes
// out once, and the lines of each queue in the order in which they went in.
func TestFourQueuesKeepEveryLine(t *testing.T) {
	want := inputSize()
	in := realInput(t, want.lines, want.bytes, true)
	c := cluster.Start(t, cluster.Config{})
	publishThroughFailures(t, c, "lines", 4, in)

	seen := make([]bool, len(in.lines))
	for q := range 4 {
		lines := bytes.Split(bytes.TrimSuffix(consume(t, c, "lines", "--queue", strconv.Itoa(q)), []byte("\n")), []byte("\n"))
		t.Logf("queue %d: %d lines", q, len(lines))
		last := -1
		for _, line := range lines {
			number, _, _ := bytes.Cut(line, []byte("\t"))
			n, err := strconv.Atoi(string(number))
			switch {
			case err != nil || n >= len(in.lines) || !bytes.Equal(line, in.lines[n]):
				t.Fatalf("queue %d holds a line that was not sent: %.80q", q, line)
			case seen[n]:
				t.Fatalf("line %d came out twice", n)
			case n < last:
				t.Fatalf("queue %d: line %d after line %d", q, n, last)
			}
			seen[n], last = true, n
		}
	}
	if missing := slices.Index(seen, false); missing >= 0 {
		t.Errorf("line %d and perhaps others are lost", missing)
	}
}

// publishThroughFailures publishes the file with one `producer` and meanwhile
// kills the leader, restarts it, and stops the next leader for five seconds.
func publishThroughFailures(t *testing.T, c *cluster.Cluster, topic string, queues int, in input) {
	t.Helper()
	c.Admin("topic", "create", topic, "--queues", strconv.Itoa(queues))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	producer := cluster.Program(ctx, "producer", topic, in.path, "--server", c.Servers(),
		"--rate", strconv.Itoa(inputSize().perSecond), "--progress", "plain")
	var told bytes.Buffer
	producer.Stdout, producer.Stderr = &told, &told
	start := time.Now()
	if err := producer.Start(); err != nil {
		t.Fatal(err)
	}

	waitForOffset(t, c, topic, int64(len(in.lines)/10))
	first := c.Leader()
	first.Kill9()
	killed := time.Now()
	second := c.LeaderOtherThan(first)
	t.Logf("killed %s; %s serves after %v", first.ID, second.ID, time.Since(killed).Round(time.Millisecond))
	first.Start()
	waitForOffset(t, c, topic, int64(len(in.lines)/3))
	second.Pause()
	paused := time.Now()
	third := c.LeaderOtherThan(second)
	t.Logf("stopped %s; %s serves after %v", second.ID, third.ID, time.Since(paused).Round(time.Millisecond))
	pause(t, 5*time.Second-time.Since(paused))
	second.Resume()

	if err := producer.Wait(); err != nil {
		t.Fatalf("producer: %v\n%s", err, told.Bytes())
	}
	t.Logf("producer took %v and said: %s", time.Since(start).Round(time.Millisecond), lastLine(told.String()))
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// consume reads a topic from its beginning to its end.
func consume(t *testing.T, c *cluster.Cluster, topic string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	args = append([]string{topic, "--server", c.Servers(), "--from", "earliest", "--exit-at-end", "-o", "value"}, args...)
	cmd := cluster.Program(ctx, "consumer", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("consumer %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return got
}

// described is what these tests read of `broker admin topic describe -o json`.
type described struct {
	Queues []struct {
		End int64 `json:"end_offset"`
	} `json:"queues"`
}

// waitForOffset waits until a topic holds so many messages, for as long as it gets more.
func waitForOffset(t *testing.T, c *cluster.Cluster, topic string, messages int64) {
	t.Helper()
	for before, sum := int64(-1), int64(0); sum < messages; before = sum {
		c.Eventually(fmt.Sprintf("%d messages in %s, which holds %d", messages, topic, sum), func(ctx context.Context) bool {
			out, err := cluster.Program(ctx, "broker", "admin", "--server", c.Servers(), "topic", "describe", topic, "-o", "json").Output()
			var d described
			if err != nil || json.Unmarshal(out, &d) != nil {
				return false
			}
			sum = 0
			for _, q := range d.Queues {
				sum += q.End
			}
			return sum > before
		})
	}
}
