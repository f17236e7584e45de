package client

import (
	"errors"
	"testing"
	"testing/synctest"
)

// TestForgottenProducerMayHaveStored: a batch that was sent and not answered may be
// stored under an identity that nobody knows any more. Sending it under a new one
// could store it twice, so its outcome is unknown.
func TestForgottenProducerMayHaveStored(t *testing.T) {
	c := newCluster(t, 1)
	c.topic("t", 1)
	c.setScript(func(frame int) action {
		switch frame {
		case 1:
			return breakAfter
		case 2:
			return unknownProducer
		}
		return store
	})
	p := newProducer(t, c, ProducerConfig{})
	_, err := publish(t, p, 0, 1)[0].Get(within(t, patience))
	if e := asError(err); err == nil || e.Code != CodeUnknownProducer || !e.Indefinite {
		t.Errorf("got %v", err)
	}
	if got := c.values("t", 0); len(got) != 1 {
		t.Errorf("%d messages stored, want 1", len(got))
	}
	if _, err := publish(t, p, 1, 1)[0].Get(within(t, patience)); err != nil {
		t.Errorf("the next message: %v", err)
	}
}

// TestDeletedTopicFailsFutures: messages for a queue that is gone certainly were not
// stored, and once that is known none is sent any more.
func TestDeletedTopicFailsFutures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		p := newProducer(t, c, ProducerConfig{})
		checkStored(t, c, p, publish(t, p, 0, 10))
		c.mu.Lock()
		clear(c.mu.queues)
		c.mu.Unlock()
		for _, r := range publish(t, p, 10, 10) {
			_, err := r.Get(within(t, patience))
			var e *Error
			if !errors.As(err, &e) || e.Code != CodeUnknownQueue || e.Indefinite {
				t.Fatalf("got %v", err)
			}
		}
		synctest.Wait() // frames that the ended stream still carried have arrived
		frames := c.frames()
		if _, err := publish(t, p, 20, 1)[0].Get(t.Context()); CodeOf(err) != CodeUnknownQueue {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if c.frames() != frames {
			t.Error("a message for a queue that is gone was sent")
		}
	})
}
