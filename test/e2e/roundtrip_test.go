package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// anyMessage makes up a message with any properties.
func anyMessage(r *rand.Rand, n int) client.Message {
	text := func(most int) []byte {
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = byte(r.Uint32() >> (r.Uint32() % 2)) // text, or anything
		}
		return b
	}
	queue := r.IntN(2)
	m := client.Message{Queue: &queue, ID: fmt.Sprint("id-", n), Value: text(200), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(n))}
	if r.IntN(2) == 0 {
		m.Key = text(20) // empty, at times
	}
	if r.IntN(2) == 0 {
		m.Tag = fmt.Sprint("tag ö\n", n)
	}
	if r.IntN(3) == 0 {
		m.MessageGroup = fmt.Sprint("group-", n%7)
	}
	for i := range r.IntN(4) {
		m.Headers = append(m.Headers, client.Header{Key: fmt.Sprint("header ", i%3), Value: text(30)})
	}
	if r.IntN(5) == 0 {
		m.DeliverAt = time.UnixMilli(time.Now().UnixMilli() + r.Int64N(300))
	}
	return m
}

// sent is what the sender said of a message, for a comparison.
func sent(m client.Message) string {
	return fmt.Sprintf("queue %d key %t %q value %q tag %q id %q group %q headers %q at %d due %d", *m.Queue, m.Key != nil, m.Key, m.Value, m.Tag, m.ID,
		m.MessageGroup, m.Headers, m.Timestamp.UnixMilli(), m.DeliverAt.UnixMilli())
}

// TestMessagesKeepAllOnTheirWay pipes messages with all kinds of properties from
// `consumer -o jsonl` into `producer -i jsonl`, while the leader is killed: what is in the
// second topic is what is in the first.
func TestMessagesKeepAllOnTheirWay(t *testing.T) {
	const count = 2_000
	c := cluster.Start(t, cluster.Config{})
	cl, err := client.Dial(t.Context(), client.Config{Seeds: strings.Split(c.Servers(), ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	c.Admin("topic", "create", "from", "--queues", "2")
	c.Admin("topic", "create", "to", "--queues", "2")
	p, err := cl.Producer(t.Context(), client.ProducerConfig{Topic: "from"})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range count {
		p.Publish(t.Context(), anyMessage(r, n))
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitForOffset(t, c, "from", count)
	lines := consume(t, c, "from", "-o", "jsonl")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	producer := cluster.Program(ctx, "producer", "to", "-i", "jsonl", "--server", c.Servers(), "--rate", "2000")
	var told bytes.Buffer
	producer.Stdin, producer.Stderr = bytes.NewReader(lines), &told
	if err := producer.Start(); err != nil {
		t.Fatal(err)
	}
	waitForOffset(t, c, "to", count/10)
	c.Leader().Kill9()
	if err := producer.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, told.String())
	}
	waitForOffset(t, c, "to", count)
	want, got := readAll(t, cl, "from", count), readAll(t, cl, "to", count)
	for id, m := range want {
		if got[id] != m {
			t.Fatalf("got  %s\nwant %s", got[id], m)
		}
	}
	if len(want) != count || len(got) != count {
		t.Errorf("%d messages of %d, %d came through", len(want), count, len(got))
	}
}

// readAll reads so many messages, by id.
func readAll(t *testing.T, cl *client.Client, topic string, count int) map[string]string {
	t.Helper()
	cs, err := cl.Consumer(t.Context(), client.ConsumerConfig{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer cs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	all := map[string]string{}
	for range count {
		m, err := cs.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all[m.ID] = sent(m)
	}
	return all
}

// TestExecGoesOnOverAFailover: the leader is killed while a consumer gives messages to a
// command. Each message is done, in order; what comes twice was done since the last commit.
func TestExecGoesOnOverAFailover(t *testing.T) {
	const count = 300
	c := cluster.Start(t, cluster.Config{})
	c.Admin("topic", "create", "t", "--queues", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	producer := cluster.Program(ctx, "producer", "t", "--server", c.Servers())
	var in strings.Builder
	for n := range count {
		fmt.Fprintln(&in, n)
	}
	if producer.Stdin = strings.NewReader(in.String()); producer.Run() != nil {
		t.Fatal("the messages were not published")
	}
	consumer := cluster.Program(ctx, "consumer", "t", "-g", "g", "-n", fmt.Sprint(count), "--server", c.Servers(), "--exec", "cat; echo; sleep 0.005")
	out, errs := new(bytes.Buffer), new(bytes.Buffer)
	consumer.Stdout, consumer.Stderr = out, errs
	if err := consumer.Start(); err != nil {
		t.Fatal(err)
	}
	waitForProgress(t, c, 1)
	c.Leader().Kill9()
	if err := consumer.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	next, twice := 0, 0
	for _, line := range strings.Fields(out.String()) {
		var n int
		if _, err := fmt.Sscan(line, &n); err != nil || n > next {
			t.Fatalf("%q came where %d was due", line, next)
		}
		twice += min(1, next-n)
		next = max(next, n+1)
	}
	t.Logf("%d of %d messages came twice", twice, count)
	if next != count {
		t.Errorf("%d of %d messages were done", next, count)
	}
	waitForProgress(t, c, count)
}

// waitForProgress waits until the group g is at an offset of the queue, or beyond.
func waitForProgress(t *testing.T, c *cluster.Cluster, offset int64) {
	t.Helper()
	c.Eventually(fmt.Sprintf("the group is at %d", offset), func(ctx context.Context) bool {
		out, err := cluster.Program(ctx, "broker", "admin", "--server", c.Servers(), "group", "describe", "g", "-o", "json").Output()
		var d struct {
			Queues []struct {
				Offset int64 `json:"offset"`
			} `json:"queue_list"`
		}
		return err == nil && json.Unmarshal(out, &d) == nil && len(d.Queues) == 1 && d.Queues[0].Offset >= offset
	})
}
