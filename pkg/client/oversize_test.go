package client

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// answered publishes a message and waits for its answer, which opens the stream's window.
func answered(t *testing.T, p *Producer) []*Result {
	t.Helper()
	results := publish(t, p, 0, 1)
	if _, err := results[0].Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	return results
}

// TestTooLargeTakesNothingDown: what is under way together with a message above
// gRPC's limit is stored, and that message certainly is not.
func TestTooLargeTakesNothingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.setScript(func(frame int) action {
			if frame == 2 {
				return hold
			}
			return store
		})
		p := newProducer(t, c, ProducerConfig{MaxInFlightBytes: 32 << 20, AckTimeout: time.Hour})
		results := answered(t, p)
		results = append(results, publish(t, p, 1, 1)...)
		<-c.held
		huge := p.Publish(t.Context(), Message{Value: make([]byte, 9<<20)})
		synctest.Wait()
		results = append(results, publish(t, p, 2, 1)...)
		synctest.Wait() // the huge one is under way behind the one that is held
		close(c.release)
		_, err := huge.Get(t.Context())
		if !errors.Is(err, ErrMessageTooLarge) || asError(err).Indefinite {
			t.Errorf("huge message: %v", err)
		}
		checkStored(t, c, p, results)
	})
}

// TestRefusalOvertakesAnswers: gRPC refuses a message above its limit as soon as it has
// read its length, and a broker that is still storing what came before cannot answer that
// any more. It is stored all the same, and must neither fail nor be stored again.
func TestRefusalOvertakesAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1)
		c.topic("t", 1)
		c.setScript(func(frame int) action {
			if frame == 2 {
				return mute
			}
			return store
		})
		p := newProducer(t, c, ProducerConfig{MaxInFlightBytes: 32 << 20, AckTimeout: time.Hour})
		results := answered(t, p)
		results = append(results, publish(t, p, 1, 1)...)
		synctest.Wait()
		huge := p.Publish(t.Context(), Message{Value: make([]byte, 9<<20)})
		results = append(results, publish(t, p, 2, 1)...)
		_, err := huge.Get(t.Context())
		if !errors.Is(err, ErrMessageTooLarge) || asError(err).Indefinite {
			t.Errorf("huge message: %v", err)
		}
		checkStored(t, c, p, results)
	})
}
