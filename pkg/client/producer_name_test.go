package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// nameOfOdd lets every other seed of a test try a producer with a name.
func nameOfOdd(seed uint64) string {
	if seed%2 == 1 {
		return "till 7"
	}
	return ""
}

// failure waits for the error of a future.
func failure(t *testing.T, r *Result) *Error {
	t.Helper()
	_, err := r.Get(within(t, patience))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	return e
}

// TestNamedProducerFencesTheOlder: once the younger of two is there, nothing of the older
// is stored; its caller is told so, as definite for what was never on its way and as
// indefinite for what may be stored; and it does not take its name back.
func TestNamedProducerFencesTheOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.topic("t", 2)
		c.setScript(func(frame int) action {
			if frame == 2 {
				return hold
			}
			return store
		})
		older := newProducer(t, c, ProducerConfig{Name: "till 7", AckTimeout: time.Hour})
		checkStored(t, c, older, publish(t, older, 0, 2))
		doubtful := publish(t, older, 2, 1)[0]
		synctest.Wait() // it is on its way
		younger := newProducer(t, c, ProducerConfig{Name: "till 7"})
		c.kill("n1:1") // before it has stored what it holds
		c.lead("n2:1")
		if e := failure(t, doubtful); e.Code != CodeProducerFenced || !e.Indefinite {
			t.Errorf("under way: %v", e)
		}
		for range 2 {
			if e := failure(t, publish(t, older, 4, 1)[0]); !errors.Is(e, ErrProducerFenced) || e.Indefinite {
				t.Errorf("afterwards: %v", e)
			}
		}
		for i, r := range publish(t, younger, 6, 2) {
			if rec, err := r.Get(within(t, time.Minute)); err != nil || rec.Offset != 1 || rec.Queue != i {
				t.Errorf("the younger: %+v, %v", rec, err)
			}
		}
		if got := strings.Join(append(c.values("t", 0), c.values("t", 1)...), " "); got != "m000000 m000006 m000001 m000007" {
			t.Errorf("stored: %s", got)
		}
	})
}

// TestNamedProducerRenewsWhatIsDecided: a queue that needs a new identity waits until
// nothing is in doubt in the others, for with one name they have one identity.
func TestNamedProducerRenewsWhatIsDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3)
		c.topic("t", 2)
		c.mu.maxBatch = 1000
		c.setScript(func(frame int) action {
			if frame == 2 {
				return silenceStored
			}
			return store
		})
		p := newProducer(t, c, ProducerConfig{Name: "till 7", MaxBatchBytes: 400, AckTimeout: time.Second})
		results := publish(t, p, 0, 2)
		checkStored(t, c, p, results)
		zero := 0
		results = append(results, publish(t, p, 3, 1)...)
		synctest.Wait() // m000003 is stored in queue 1, and nobody knows
		large := p.Publish(t.Context(), Message{Queue: &zero, Value: make([]byte, 2000)})
		results = append(results, publish(t, p, 4, 20)...)
		if e := failure(t, large); e.Code != CodeMessageTooLarge || e.Indefinite {
			t.Errorf("too large: %v", e)
		}
		for i, r := range results {
			if _, err := r.Get(within(t, time.Minute)); err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if s := p.Stats(); s.Acked != 23 || s.Failed != 1 || s.Unknown != 0 || s.Duplicates == 0 {
			t.Errorf("%+v", s)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if got := c.mu.producers[c.mu.names["t/till 7"]].epoch; got != 1 {
			t.Errorf("epoch %d, want 1", got)
		}
	})
}

// TestNamedProducerAsksAgain: a registration whose answer was lost is not another one.
func TestNamedProducerAsksAgain(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	p := newProducer(t, c, ProducerConfig{Name: "till 7"})
	p.mu.Lock()
	p.wish = nil
	p.mu.Unlock()
	wish := p.newWish()
	n := c.mu.nodes["n1:1"]
	first, err := n.RegisterProducer(t.Context(), wish) // of which the producer hears nothing
	if err != nil || first.GetEpoch() != 1 {
		t.Fatalf("%v, %v", first, err)
	}
	if _, err := n.RegisterProducer(t.Context(), p.newWish()); err == nil {
		t.Error("another request would be taken for that of another process")
	}
	p.wish = wish
	if err := p.register(t.Context()); err != nil || p.mu.who.epoch != 1 {
		t.Errorf("%v, %+v", err, p.mu.who)
	}
}

func TestNameIsBounded(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	for _, name := range []string{strings.Repeat("x", 128), "\xff"} {
		if _, err := c.client().Producer(t.Context(), ProducerConfig{Topic: "t", Name: name}); !errors.Is(err, &Error{Code: CodeInvalidConfig}) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
