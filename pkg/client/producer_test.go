package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newProducer(t *testing.T, c *cluster, cfg ProducerConfig) *Producer {
	t.Helper()
	cfg.Topic = "t"
	p, err := c.client().Producer(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// publish sends n messages, spread over the queues in turn, and returns their futures.
func publish(t *testing.T, p *Producer, from, n int) []*Result {
	t.Helper()
	results := make([]*Result, 0, n)
	for i := from; i < from+n; i++ {
		q := i % p.Queues()
		results = append(results, p.Publish(t.Context(), Message{Queue: &q, Value: fmt.Appendf(nil, "m%06d", i)}))
	}
	return results
}

// checkStored checks that the messages 0 to n-1 are stored once, in order per
// queue, at the offsets that their receipts tell.
func checkStored(t *testing.T, c *cluster, p *Producer, results []*Result) {
	t.Helper()
	ctx := within(t, patience)
	queues := make([][]string, p.Queues())
	for i, r := range results {
		q := i % p.Queues()
		rec, err := r.Get(ctx)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if rec.Queue != q || rec.Offset != int64(len(queues[q])) {
			t.Fatalf("message %d: receipt %+v, want queue %d offset %d", i, rec, q, len(queues[q]))
		}
		queues[q] = append(queues[q], fmt.Sprintf("m%06d", i))
	}
	for q, want := range queues {
		if diff := cmp.Diff(want, c.values("t", q)); diff != "" {
			t.Fatalf("queue %d (-want +got):\n%s", q, diff)
		}
	}
}

// A message that was never sent has no sequence.
func TestSequenceOfRefused(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	p := newProducer(t, c, ProducerConfig{MaxMessageBytes: 10})
	r := p.Publish(t.Context(), Message{Value: make([]byte, 100)})
	if s, ok := r.Sequence(); ok {
		t.Errorf("%+v", s)
	}
}

func TestPublishStoresInOrder(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("t", 4)
	p := newProducer(t, c, ProducerConfig{MaxBatchBytes: 512})
	results := publish(t, p, 0, 5000)
	checkStored(t, c, p, results)
	first, ok := results[0].Sequence()
	for i, r := range results {
		s, told := r.Sequence()
		if want := (Sequence{first.ProducerID, first.Epoch, int64(i / 4)}); !ok || !told || s != want || s.ProducerID == 0 {
			t.Fatalf("message %d has %+v, want %+v", i, s, want)
		}
	}
	if s := p.Stats(); s.Acked != 5000 || s.Failed+s.Unknown+s.Duplicates+s.Retries != 0 || s.Buffered != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestPublishSurvives lets every kind of failure hit every one of the first frames.
func TestPublishSurvives(t *testing.T) {
	for what := breakBefore; what < actions; what++ {
		if what == hold {
			continue
		}
		for at := 1; at <= 7; at++ {
			t.Run(fmt.Sprintf("action %d at frame %d", what, at), func(t *testing.T) {
				t.Parallel()
				c := newCluster(t, 3)
				c.topic("t", 2)
				c.setScript(func(frame int) action {
					if frame == at {
						return what
					}
					return store
				})
				p := newProducer(t, c, ProducerConfig{MaxBatchBytes: 512, AckTimeout: 5 * time.Second})
				if what == unknownProducer && at > 1 {
					// Batches in flight may have been stored by a producer that nobody knows any more.
					publishUnknown(t, c, p)
					return
				}
				checkStored(t, c, p, publish(t, p, 0, 400))
			})
		}
	}
}

// publishUnknown: whatever is acknowledged is stored once and in order.
func publishUnknown(t *testing.T, c *cluster, p *Producer) {
	results := publish(t, p, 0, 400)
	checkHistory(t, c, p, results)
}

// checkHistory checks what holds under any failure: an acknowledged message is
// stored once, in the order of publishing; one that failed definitely is not
// stored; one that failed indefinitely is stored at most once.
func checkHistory(t *testing.T, c *cluster, p *Producer, results []*Result) {
	t.Helper()
	ctx := within(t, patience)
	outcomes := make([]error, len(results))
	for i, r := range results {
		_, outcomes[i] = r.Get(ctx)
	}
	times := map[string]int{}
	for q := range p.Queues() {
		last := ""
		for _, v := range c.values("t", q) {
			times[v]++
			if v < last {
				t.Errorf("queue %d: %s stands after %s", q, v, last)
			}
			last = v
		}
	}
	for i, err := range outcomes {
		v := fmt.Sprintf("m%06d", i)
		var e *Error
		switch errors.As(err, &e); {
		case err == nil && times[v] != 1:
			t.Errorf("%s is acknowledged and stored %d times", v, times[v])
		case e != nil && !e.Indefinite && times[v] != 0:
			t.Errorf("%s failed definitely (%v) and is stored", v, err)
		case times[v] > 1:
			t.Errorf("%s is stored %d times", v, times[v])
		case err != nil && e == nil:
			t.Errorf("%s: %v is not an *Error", v, err)
		}
	}
}

// TestPublishUnderRandomFailures is the same with failures all over.
func TestPublishUnderRandomFailures(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			c := newCluster(t, 3)
			c.topic("t", 3)
			c.setScript(func(int) action { // called under the cluster's lock
				if what := action(rng.IntN(int(actions))); rng.IntN(3) == 0 && what != hold && what != unknownProducer {
					return what
				}
				return store
			})
			p := newProducer(t, c, ProducerConfig{Name: nameOfOdd(seed), MaxBatchBytes: 400, AckTimeout: 5 * time.Second})
			checkStored(t, c, p, publish(t, p, 0, 1000))
		})
	}
}

// TestHistoryUnderRandomFailures adds messages that run out of time and some that
// are too large to them: then not all can be stored, but none twice.
func TestHistoryUnderRandomFailures(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 3))
				c := newCluster(t, 3)
				c.topic("t", 2)
				c.mu.maxBatch = 1000
				c.setScript(func(int) action { // called under the cluster's lock
					if what := action(rng.IntN(int(actions))); rng.IntN(2) == 0 && what != hold {
						return what
					}
					return store
				})
				p := newProducer(t, c, ProducerConfig{
					Name: nameOfOdd(seed), MaxBatchBytes: 400, AckTimeout: time.Second, DeliveryTimeout: 150 * time.Millisecond,
				})
				var results []*Result
				for i := range 60 {
					results = append(results, publish(t, p, 10*i, 10)...)
					if i%7 == 0 {
						q := i % 2
						p.Publish(t.Context(), Message{Queue: &q, Value: make([]byte, []int{1100, 9 << 20}[i%2])})
					}
					time.Sleep(10 * time.Millisecond)
				}
				checkHistory(t, c, p, results)
			})
		})
	}
}

// TestSilentLeaderIsLeft covers a leader that hangs without anybody noticing but us.
func TestSilentLeaderIsLeft(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("t", 1)
	c.setScript(func(frame int) action {
		if frame <= 2 {
			return hold
		}
		return store
	})
	p := newProducer(t, c, ProducerConfig{AckTimeout: 50 * time.Millisecond})
	checkStored(t, c, p, publish(t, p, 0, 100))
	if s := p.Stats(); s.Retries == 0 {
		t.Errorf("no retry: %+v", s)
	}
}

func TestKilledLeaderIsReplaced(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("t", 2)
	p := newProducer(t, c, ProducerConfig{})
	results := publish(t, p, 0, 500)
	c.kill("n1:1")
	results = append(results, publish(t, p, 500, 500)...)
	c.lead("n2:1")
	checkStored(t, c, p, results)
}

// TestNaturalBatching: while the limit of batches is under way, messages gather.
func TestNaturalBatching(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.setScript(func(frame int) action {
		if frame == 1 {
			return hold
		}
		return store
	})
	p := newProducer(t, c, ProducerConfig{MaxInFlightBatches: 1})
	results := publish(t, p, 0, 1)
	<-c.held // the first one flies alone
	results = append(results, publish(t, p, 1, 1000)...)
	close(c.release)
	checkStored(t, c, p, results)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.batches != 2 {
		t.Errorf("1,001 messages went in %d batches, want 2", c.mu.batches)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time in which it is filled is short
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.setScript(func(int) action { return hold })
		p := newProducer(t, c, ProducerConfig{MaxBufferedBytes: 4096})
		var results []*Result
		ctx := within(t, 100*time.Millisecond)
		for {
			r := p.Publish(ctx, Message{Value: []byte(fmt.Sprintf("m%06d", len(results)))})
			if ctx.Err() != nil {
				if _, err := r.Get(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("blocked Publish ended with %v", err)
				}
				break
			}
			results = append(results, r)
		}
		if n := len(results); n < 10 || n > 4096/7 {
			t.Errorf("%d messages fitted into 4096 bytes", n)
		}
		close(c.release)
		checkStored(t, c, p, results)
	})
}

func TestMessageTooLarge(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.mu.maxBatch = 1000
	p := newProducer(t, c, ProducerConfig{MaxBatchBytes: 900})
	big := p.Publish(t.Context(), Message{Value: make([]byte, 2000)})
	huge := p.Publish(t.Context(), Message{Value: make([]byte, 9<<20)}) // above gRPC's limit, too
	more := publish(t, p, 0, 100)
	for _, r := range []*Result{big, huge} {
		_, err := r.Get(within(t, patience))
		var e *Error
		if !errors.Is(err, ErrMessageTooLarge) || !errors.As(err, &e) || e.Indefinite {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := p.Publish(t.Context(), Message{Value: make([]byte, 17<<20)}).Get(t.Context()); !errors.Is(err, ErrMessageTooLarge) {
		t.Errorf("got %v", err)
	}
	ctx := within(t, patience)
	for i, r := range more {
		if _, err := r.Get(ctx); err != nil {
			t.Fatalf("message %d after a refused one: %v", i, err)
		}
	}
	_, err := p.Publish(t.Context(), Message{Value: make([]byte, 2000)}).Get(ctx)
	if !errors.Is(err, ErrMessageTooLarge) || !strings.Contains(err.Error(), "refused one of") {
		t.Errorf("second message that is too large: %v", err)
	}
	if got := c.values("t", 0); len(got) != 100 {
		t.Errorf("%d messages stored, want 100", len(got))
	}
}

func TestUnknownTopic(t *testing.T) {
	c := newCluster(t, 1)
	if _, err := c.client().Producer(t.Context(), ProducerConfig{Topic: "nope"}); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("got %v", err)
	}
}

// TestDeliveryTimeout: what was sent is in doubt, what was not is not.
func TestDeliveryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // what comes after has as little time
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.setScript(func(int) action { return hold })
		p := newProducer(t, c, ProducerConfig{MaxInFlightBatches: 1, AckTimeout: 100 * time.Millisecond, DeliveryTimeout: 300 * time.Millisecond})
		first := publish(t, p, 0, 1)
		_, err := first[0].Get(within(t, patience))
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeDeliveryTimeout || !e.Indefinite {
			t.Fatalf("sent message: %v", err)
		}
		close(c.release)
		later := publish(t, p, 1, 50)
		for _, r := range later {
			if _, err := r.Get(within(t, patience)); err != nil {
				t.Fatalf("message after the timeout: %v", err)
			}
		}
		checkHistory(t, c, p, append(first, later...))
	})
}

func TestUnsentMessageTimesOutDefinitely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the first message has as little time
		c := newCluster(t, 1)
		c.topic("t", 1)
		p := newProducer(t, c, ProducerConfig{DeliveryTimeout: 100 * time.Millisecond})
		checkStored(t, c, p, publish(t, p, 0, 1))
		c.kill("n1:1")
		_, err := publish(t, p, 1, 1)[0].Get(within(t, patience))
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeDeliveryTimeout {
			t.Fatalf("got %v", err)
		}
	})
}

func TestCloseFlushes(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 2)
	p := newProducer(t, c, ProducerConfig{Linger: time.Hour})
	results := publish(t, p, 0, 100)
	if err := p.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	checkStored(t, c, p, results)
	if _, err := p.Publish(t.Context(), Message{}).Get(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("publish after close: %v", err)
	}
}

func TestCloseGivesUp(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.setScript(func(int) action { return hold })
	p := newProducer(t, c, ProducerConfig{})
	r := publish(t, p, 0, 1)[0]
	<-c.held
	if err := p.Close(within(t, 50*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("close: %v", err)
	}
	_, err := r.Get(t.Context())
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeClosed || !e.Indefinite {
		t.Errorf("message in flight: %v", err)
	}
}

func TestFlushSendsWhatLingers(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	p := newProducer(t, c, ProducerConfig{Linger: time.Hour})
	results := publish(t, p, 0, 10)
	if err := p.Flush(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	checkStored(t, c, p, results)
}

func TestPartitioning(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 4)
	p := newProducer(t, c, ProducerConfig{})
	seen := map[int]bool{}
	for range 8 { // one batch each: in turn
		rec, err := p.Publish(t.Context(), Message{Value: []byte("x")}).Get(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		seen[rec.Queue] = true
	}
	if len(seen) != 4 {
		t.Errorf("messages without a key went to queues %v only", seen)
	}
	for key, want := range map[string]int{"": 1, "a": 0, "b": 1, "order-17": 0} {
		rec, err := p.Publish(t.Context(), Message{Key: []byte(key)}).Get(within(t, patience))
		if err != nil {
			t.Fatal(err)
		}
		if rec.Queue != want || QueueOfKey([]byte(key), 4) != want {
			t.Errorf("key %q went to queue %d, want %d for ever", key, rec.Queue, want)
		}
	}
	bad := 4
	if _, err := p.Publish(t.Context(), Message{Queue: &bad}).Get(t.Context()); !errors.Is(err, ErrUnknownQueue) {
		t.Errorf("queue 4 of 4: %v", err)
	}
}
