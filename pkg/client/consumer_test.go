package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func newConsumer(t *testing.T, c *cluster, cfg ConsumerConfig) *Consumer {
	t.Helper()
	cfg.Topic = "t"
	cs, err := c.client().Consumer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cs
}

// expect reads the messages of queue 0 from number from up to but not including to.
func expect(t *testing.T, cs *Consumer, from, to int) {
	t.Helper()
	ctx := within(t, patience)
	for i := from; i < to; i++ {
		m, err := cs.Next(ctx)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if string(m.Value) != message(i) || m.Offset != int64(i) || *m.Queue != 0 || m.Tag != "tag" || m.Key[0] != byte(i) ||
			len(m.Headers) != 1 || string(m.Headers[0].Value) != message(i) || m.Timestamp.UnixMilli() != int64(i) ||
			m.Term == 0 || m.LedgerIndex == 0 || m.AppendTime.UnixMilli() != 5 || m.Topic != "t" {
			t.Fatalf("message %d: got %+v", i, m)
		}
	}
}

func TestConsumeInOrder(t *testing.T) {
	for _, compression := range []batch.Compression{batch.None, batch.S2, batch.Zstd} {
		c := newCluster(t, 3)
		c.topic("t", 1)
		c.fill("t", 0, 0, 1000, 7, compression)
		cs := newConsumer(t, c, ConsumerConfig{})
		expect(t, cs, 0, 1000)
		c.fill("t", 0, 1000, 10, 3, compression) // while it waits
		expect(t, cs, 1000, 1010)
		if _, ok, err := cs.TryNext(); ok || err != nil {
			t.Errorf("more than was published: %v, %v", ok, err)
		}
	}
}

// TestConsumeQueuesThatAreAdded from their beginning, wherever reading began, unless the
// consumer was told what to read.
func TestConsumeQueuesThatAreAdded(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("t", 1)
	c.fill("t", 0, 0, 10, 5, batch.None)
	cs := newConsumer(t, c, ConsumerConfig{From: Latest(), TopicRefresh: 100 * time.Millisecond})
	if told := newConsumer(t, c, ConsumerConfig{Queues: []int{0}}); told.grown != nil {
		t.Error("a consumer that was told its queues looks for others")
	}
	c.topic("t", 2) // two more
	c.fill("t", 2, 0, 4, 2, batch.None)
	ctx := within(t, patience)
	for i := range 4 {
		m, err := cs.Next(ctx)
		if err != nil || *m.Queue != 2 || m.Offset != int64(i) {
			t.Fatalf("message %d: %+v, %v", i, m, err)
		}
	}
	c.topic("t", 1) // and one more, for one that does not wait
	c.fill("t", 3, 0, 1, 1, batch.None)
	for {
		m, ok, err := cs.TryNext()
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		if ok && *m.Queue == 3 {
			break
		}
	}
	if diff := cmp.Diff([]int{0, 1, 2, 3}, cs.Queues()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := c.client().Consumer(t.Context(), ConsumerConfig{Topic: "t", TopicRefresh: time.Millisecond}); CodeOf(err) != CodeInvalidConfig {
		t.Error(err)
	}
}

func TestConsumeSurvives(t *testing.T) {
	for what := pullCut; what < pullActions; what++ {
		for at := 1; at <= 4; at++ {
			t.Run(fmt.Sprintf("action %d at answer %d", what, at), func(t *testing.T) {
				t.Parallel()
				c := newCluster(t, 3)
				c.topic("t", 1)
				c.fill("t", 0, 0, 100, 5, batch.None)
				c.mu.Lock()
				c.mu.pulls = func(answer int) pullAction {
					if answer == at {
						return what
					}
					return deliver
				}
				c.mu.Unlock()
				expect(t, newConsumer(t, c, ConsumerConfig{}), 0, 100)
			})
		}
	}
}

func TestConsumeUnderRandomFailures(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 2))
			c := newCluster(t, 3)
			c.topic("t", 1)
			c.fill("t", 0, 0, 500, 3, batch.None)
			c.mu.Lock()
			c.mu.pulls = func(int) pullAction { // called under the cluster's lock
				if rng.IntN(4) == 0 {
					return pullAction(rng.IntN(int(pullDamaged)))
				}
				return deliver
			}
			c.mu.Unlock()
			expect(t, newConsumer(t, c, ConsumerConfig{}), 0, 500)
		})
	}
}

func TestSkippedOffsetsAreAnError(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 100, 5, batch.None)
	c.mu.pulls = func(answer int) pullAction {
		if answer == 3 {
			return pullSkip
		}
		return deliver
	}
	cs := newConsumer(t, c, ConsumerConfig{})
	expect(t, cs, 0, 20)
	for range 2 { // the error stays
		if _, err := cs.Next(within(t, patience)); !errors.Is(err, ErrSkipped) {
			t.Fatalf("got %v", err)
		}
	}
	if err := cs.Seek(0, 20); err != nil {
		t.Fatal(err)
	}
	expect(t, cs, 20, 100)
}

func TestDamageThatStaysIsAnError(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 10, 5, batch.None)
	c.mu.pulls = func(int) pullAction { return pullDamaged }
	cs := newConsumer(t, c, ConsumerConfig{})
	expect(t, cs, 0, 5)
	if _, err := cs.Next(within(t, patience)); !errors.Is(err, ErrCorruptBatch) {
		t.Fatalf("got %v", err)
	}
}

func TestStartOffsets(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 100, 10, batch.None)
	expect(t, newConsumer(t, c, ConsumerConfig{From: Offset(37)}), 37, 100)
	latest := newConsumer(t, c, ConsumerConfig{From: Latest()})
	c.fill("t", 0, 100, 10, 10, batch.None)
	expect(t, latest, 100, 110)
	if _, err := newConsumer(t, c, ConsumerConfig{From: Offset(1000)}).Next(within(t, patience)); !errors.Is(err, ErrOffsetTooHigh) {
		t.Errorf("offset above the end: %v", err)
	}
	c.mu.Lock()
	c.mu.queues[c.mu.topics["t"][0]].first = 20
	c.mu.Unlock()
	if _, err := newConsumer(t, c, ConsumerConfig{From: Offset(3)}).Next(within(t, patience)); !errors.Is(err, ErrOffsetTooLow) {
		t.Errorf("offset below the first: %v", err)
	}
	expect(t, newConsumer(t, c, ConsumerConfig{}), 20, 110)
}

func TestSeekPauseResume(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 200, 10, batch.None)
	cs := newConsumer(t, c, ConsumerConfig{})
	expect(t, cs, 0, 33)
	if err := cs.Seek(0, 150); err != nil {
		t.Fatal(err)
	}
	expect(t, cs, 150, 200)
	if err := errors.Join(cs.Pause(0), cs.Seek(0, 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := cs.Next(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("paused queue gave %v", err)
	}
	if err := cs.Resume(0); err != nil {
		t.Fatal(err)
	}
	expect(t, cs, 5, 60)
	if at, err := cs.Position(0); at != 60 || err != nil {
		t.Errorf("position %d, %v", at, err)
	}
	ranges, err := cs.Ranges(t.Context())
	if err != nil || len(ranges) != 1 || ranges[0].End != 200 {
		t.Errorf("ranges %v, %v", ranges, err)
	}
	if err := cs.Seek(1, 0); !errors.Is(err, ErrUnknownQueue) {
		t.Errorf("seek in a queue that is not read: %v", err)
	}
}

// TestPrefetchIsBounded: a reader that does not read is not sent more than its credit.
func TestPrefetchIsBounded(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 20000, 100, batch.None)
	cs := newConsumer(t, c, ConsumerConfig{MaxBytes: minCredit})
	expect(t, cs, 0, 1)
	f := cs.fetchers[0]
	expect(t, cs, 1, 20000)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.unread > 2*minCredit {
		t.Errorf("%d bytes fetched ahead", f.mu.unread)
	}
}

func TestPollManyQueues(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 3)
	for q := range 3 {
		c.fill("t", q, 0, 100, 9, batch.None)
	}
	cs := newConsumer(t, c, ConsumerConfig{Queues: []int{2, 0}})
	next := map[int]int64{}
	for next[0] < 100 || next[2] < 100 {
		messages, err := cs.Poll(within(t, patience), 50)
		if err != nil || len(messages) == 0 || len(messages) > 50 {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		for _, m := range messages {
			if m.Offset != next[*m.Queue] {
				t.Fatalf("queue %d: offset %d after %d", *m.Queue, m.Offset, next[*m.Queue]-1)
			}
			next[*m.Queue]++
		}
	}
	if next[1] != 0 {
		t.Error("queue 1 was read")
	}
}

func TestConsumerCloseEndsNext(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	cs := newConsumer(t, c, ConsumerConfig{})
	c.tasks.Go(func() error { return cs.Close() })
	if _, err := cs.Next(within(t, patience)); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestConsumeFromDeletedTopic(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.fill("t", 0, 0, 10, 10, batch.None)
	cs := newConsumer(t, c, ConsumerConfig{})
	expect(t, cs, 0, 10)
	c.mu.Lock()
	delete(c.mu.topics, "t")
	c.mu.Unlock()
	if err := cs.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := cs.Next(within(t, patience)); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("got %v", err)
	}
}

// TestConsumerOfClosedClient: a client that is closed meanwhile is an error.
func TestConsumerOfClosedClient(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 3)
	cl := c.client()
	closed := func(yes bool) {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.mu.closed = yes
	}
	closed(true)
	t.Cleanup(func() { closed(false) }) // before the real Close
	done := make(chan error, 1)
	go func() {
		_, err := cl.Consumer(t.Context(), ConsumerConfig{Topic: "t"})
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	case <-within(t, patience).Done():
		t.Fatal("Consumer hangs")
	}
}

// TestErrorBelongsToItsQueue: only a Seek of the queue that failed clears it.
func TestErrorBelongsToItsQueue(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 2)
	c.fill("t", 0, 0, 10, 5, batch.None)
	cs := newConsumer(t, c, ConsumerConfig{})
	for range 10 {
		if _, err := cs.Next(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	seek := func(queue int, offset int64) {
		if err := cs.Seek(queue, offset); err != nil {
			t.Fatal(err)
		}
	}
	fails := func() {
		t.Helper()
		if _, err := cs.Next(within(t, patience)); !errors.Is(err, ErrOffsetTooHigh) {
			t.Fatalf("got %v", err)
		}
	}
	seek(0, 1000)
	fails()
	seek(1, 0)
	fails()
	seek(0, 3)
	expect(t, cs, 3, 10)
}

// TestTopicMadeAnewIsAnother: its offsets mean something else.
func TestTopicMadeAnewIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.fill("t", 0, 0, 10, 5, batch.None)
		cs := newConsumer(t, c, ConsumerConfig{})
		expect(t, cs, 0, 10)
		synctest.Wait() // the broker waits for message 10
		c.mu.Lock()
		delete(c.mu.topics, "t")
		c.mu.Unlock()
		c.topic("t", 1)
		c.fill("t", 0, 0, 20, 5, batch.None)
		if m, err := cs.Next(t.Context()); !errors.Is(err, ErrUnknownQueue) {
			t.Errorf("got message at offset %d, %v", m.Offset, err)
		}
	})
}

// TestFetchingGivesUp: how long a leader may answer with what should pass.
func TestFetchingGivesUp(t *testing.T) {
	const long = 2 * behindTimeout
	for name, tc := range map[string]struct {
		script func(time.Duration) pullAction // by the time since the start
		want   Code
	}{
		"internal for ever": {func(time.Duration) pullAction { return pullInternal }, CodeInternal},
		"internal for a while": {func(d time.Duration) pullAction {
			if d < internalTimeout/2 {
				return pullInternal
			}
			return deliver
		}, ""},
		"behind for ever": {func(time.Duration) pullAction { return pullBehind }, CodeOffsetTooHigh},
		"behind twice": {func(d time.Duration) pullAction {
			switch {
			case d < time.Second, d > long && d < long+behindTimeout/2:
				return pullBehind
			case d < long:
				return pullCut
			}
			return deliver
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, 1)
				c.topic("t", 1)
				c.fill("t", 0, 0, 10, 5, batch.None)
				began := time.Now()
				c.mu.pulls = func(int) pullAction { return tc.script(time.Since(began)) }
				cs := newConsumer(t, c, ConsumerConfig{})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				if _, err := cs.Next(ctx); CodeOf(err) != tc.want || err != nil && tc.want == "" {
					t.Errorf("got %v, want %q", err, tc.want)
				}
			})
		})
	}
}

// TestPullsHaveAConnectionOfTheirOwn: acknowledgements do not wait behind what is on its
// way to a consumer, and who does not consume has no connection for it.
func TestPullsHaveAConnectionOfTheirOwn(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	var dialed atomic.Int32
	cl, err := Dial(t.Context(), Config{Seeds: []string{"n1:1"}, Dialer: func(ctx context.Context, addr string) (net.Conn, error) {
		dialed.Add(1)
		return c.dial(ctx, addr)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cl.Close(); err != nil {
			t.Error(err)
		}
	}()
	p, err := cl.Producer(t.Context(), ProducerConfig{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	publish := func() {
		t.Helper()
		if _, err := p.Publish(t.Context(), Message{Value: []byte("v")}).Get(within(t, patience)); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	if n := dialed.Load(); n != 1 {
		t.Fatalf("a producer has %d connections", n)
	}
	for range 2 {
		cs, err := cl.Consumer(t.Context(), ConsumerConfig{Topic: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cs.Next(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		if err := cs.Close(); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	if n := dialed.Load(); n != 2 {
		t.Fatalf("a producer and two consumers have %d connections", n)
	}
}
