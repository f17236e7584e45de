package client

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func workCluster(t *testing.T, messages int) (*cluster, *WorkConsumer) {
	t.Helper()
	c := newCluster(t, 3)
	c.topic("t", 2)
	cl := c.client()
	p, err := cl.Producer(t.Context(), ProducerConfig{Topic: "t"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		if _, err := p.Publish(t.Context(), Message{Value: fmt.Append(nil, i), MessageGroup: "g"}).Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w, err := cl.WorkConsumer(t.Context(), WorkConfig{Group: "g", Topic: "t", Invisible: 60 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return c, w
}

// TestWorkIsReceived: messages come with all that they have, and are of one queue if they
// are of one message group.
func TestWorkIsReceived(t *testing.T) {
	c, w := workCluster(t, 5)
	got, err := w.Receive(t.Context(), 3)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for i, d := range got {
		if d.MessageGroup != "g" || d.Offset != int64(i) || *d.Queue != QueueOfKey([]byte("g"), 2) || d.Attempt != 1 || d.Topic != "t" {
			t.Errorf("message %d: %+v", i, d.Message)
		}
	}
	if err := got[0].Extend(t.Context(), time.Second); err != nil || c.work.mu.extended[got[0].Receipt] != 1 {
		t.Errorf("extend: %v", err)
	}
	if err := got[1].Nack(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if err := got[1].Ack(t.Context()); !errors.Is(err, ErrReceiptExpired) {
		t.Errorf("ack after nack: %v", err)
	}
	if err := got[0].Ack(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAcknowledgementsGather: what comes while a request is on its way goes with the next.
func TestAcknowledgementsGather(t *testing.T) {
	c, w := workCluster(t, 100)
	got, err := w.Receive(t.Context(), 100)
	if err != nil || len(got) != 100 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	release := make(chan struct{})
	c.work.mu.Lock()
	c.work.mu.holdAcks = release
	c.work.mu.Unlock()
	var all sync.WaitGroup
	all.Go(func() {
		if err := got[0].Ack(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for sent := 0; sent < 1; runtime.Gosched() {
		c.work.mu.Lock()
		sent = c.work.mu.acks
		c.work.mu.Unlock()
	}
	for _, d := range got[1:] {
		all.Go(func() {
			if err := d.Ack(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < 99; runtime.Gosched() {
		w.acks.mu.Lock()
		waiting = len(w.acks.mu.waiting)
		w.acks.mu.Unlock()
	}
	close(release)
	all.Wait()
	if n := c.work.mu.acks; n != 2 {
		t.Errorf("%d requests for 100 acknowledgements", n)
	}
}

// TestWorkerSeesNoErrors while there is no leader, and what is final ends receiving.
func TestWorkerSeesNoErrors(t *testing.T) {
	c, w := workCluster(t, 3)
	var mu sync.Mutex
	calls := map[string]int{}
	c.work.mu.Lock()
	c.work.mu.script = func(call string) error {
		mu.Lock()
		defer mu.Unlock()
		if calls[call]++; calls[call] <= 2 {
			return codeError(codes.Unavailable, CodeNoLeader, map[string]string{"outcome": "definite"})
		}
		return nil
	}
	c.work.mu.Unlock()
	got, err := w.Receive(t.Context(), 3)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for _, d := range got {
		if err := d.Ack(t.Context()); err != nil {
			t.Error(err)
		}
	}
	c.work.mu.Lock()
	c.work.mu.script = func(string) error {
		return codeError(codes.NotFound, CodeUnknownGroup, map[string]string{"outcome": "definite"})
	}
	c.work.mu.Unlock()
	if _, err := w.Receive(t.Context(), 1); !errors.Is(err, ErrUnknownGroup) {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := got[0].Ack(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("ack after Close: %v", err)
	}
	if _, err := w.Receive(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("receive after Close: %v", err)
	}
}

// TestHandlerIsExtendedAndTriedAgain: a long piece of work keeps its lease, an error brings
// the message again, and never more than so many run at once.
func TestHandlerIsExtendedAndTriedAgain(t *testing.T) {
	c, w := workCluster(t, 20)
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	running, most, done, failed := 0, 0, 0, 0
	err := w.Handle(ctx, 4, func(_ context.Context, d *Delivery) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		if d.Offset == 0 && d.Attempt == 1 { // until it was extended twice
			for extended := 0; extended < 2; runtime.Gosched() {
				c.work.mu.Lock()
				extended = c.work.mu.extended[d.Receipt]
				c.work.mu.Unlock()
			}
		}
		mu.Lock()
		defer mu.Unlock()
		running--
		if d.Attempt == 1 && d.Offset%5 == 3 {
			failed++
			return RetryIn(time.Millisecond, errors.New("not now"))
		}
		if done++; done == 20 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || most > 4 || failed != 4 {
		t.Errorf("error %v, %d at once, %d failed", err, most, failed)
	}
	if n := len(c.work.mu.done); n != 20 {
		t.Errorf("%d are done", n)
	}
}

// TestOffsetGroupIsRefused: a group that commits offsets is none to receive for.
func TestOffsetGroupIsRefused(t *testing.T) {
	c, w := workCluster(t, 0)
	c.groups.mu.Lock()
	c.groups.mu.groups["g"].Work = nil
	c.groups.mu.Unlock()
	if _, err := w.c.WorkConsumer(t.Context(), WorkConfig{Group: "g", Topic: "t"}); !errors.Is(err, ErrGroupMismatch) {
		t.Error(err)
	}
	for _, cfg := range []WorkConfig{{Topic: "t"}, {Group: "g"}, {Group: "g", Topic: "t", Invisible: time.Millisecond}, {Group: "g", Topic: "t", Policy: WorkPolicy{BackoffMin: -1}}} {
		if _, err := w.c.WorkConsumer(t.Context(), cfg); CodeOf(err) != CodeInvalidConfig {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestFullBrokerIsAskedAgain: a limit that is reached for a moment ends no consumer, one that
// the request itself is above does.
func TestFullBrokerIsAskedAgain(t *testing.T) {
	for retry, want := range map[string]int{"200": 3, "0": 1} {
		c, w := workCluster(t, 3)
		calls := 0
		c.work.mu.Lock()
		c.work.mu.script = func(call string) error {
			if call != "receive" {
				return nil
			}
			if calls++; calls == 2 {
				return codeError(codes.ResourceExhausted, CodeLimitExceeded, map[string]string{"outcome": "definite", "retry_after_ms": retry})
			}
			return nil
		}
		c.work.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		handled := 0
		err := w.Handle(ctx, 1, func(context.Context, *Delivery) error {
			if handled++; handled == 3 {
				cancel()
			}
			return nil
		})
		cancel()
		if handled != want || want < 3 && CodeOf(err) != CodeLimitExceeded {
			t.Errorf("retry after %s ms: Handle ended with %v after %d messages, want %d", retry, err, handled, want)
		}
	}
}
