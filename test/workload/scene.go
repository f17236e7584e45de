package workload

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// Recorder takes what clients see. It is safe for concurrent use.
type Recorder interface {
	// Now is ns on the history's clock.
	Now() int64
	Write(history.Operation) error
	// Problem notes what no client should see, whatever the judge says.
	Problem(format string, args ...any)
}

// Config is what all clients of a run share.
type Config struct {
	// Dial connects a new client.
	Dial func(context.Context) (*client.Client, error)
	// Recorder takes the history.
	Recorder Recorder
	// Note logs what is worth knowing when something else is wrong.
	Note func(format string, args ...any)
	// Lives is how long a life lasts, at least and at most.
	Lives [2]time.Duration
	// Strict: no client may see an error. Else those that tell of brokers that cannot be
	// reached in time are what is to be expected.
	Strict bool
	// Purges: old messages may be gone before they are read.
	Purges bool
}

// Scene is one run of clients. It is safe for concurrent use.
type Scene struct {
	Config
	mu struct {
		sync.Mutex
		wanted map[string]bool // values that have to be delivered to a group, and have not been
		seen   map[string]bool // values that have been
		counts map[string]int
		due    int64 // the latest delivery time of a message that may be stored
	}
}

// NewScene begins a run.
func NewScene(cfg Config) *Scene {
	s := &Scene{Config: cfg}
	s.mu.wanted, s.mu.seen, s.mu.counts = map[string]bool{}, map[string]bool{}, map[string]int{}
	return s
}

// Missing lists values that have to be delivered to a group and have not been, at most ten
// of them, and says how many there are.
func (s *Scene) Missing() (some []string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Sorted(maps.Keys(s.mu.wanted))
	return all[:min(10, len(all))], len(all)
}

// dueGrace is how long brokers that are well may take to deliver what is due.
const dueGrace = time.Second

// Waits says for how long delayed messages may still come, those of unknown outcome too:
// so long no copy is whole.
func (s *Scene) Waits() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.due == 0 {
		return 0
	}
	return max(0, time.Duration(s.mu.due-s.Recorder.Now())+dueGrace)
}

// Counts says how often things went well, by topic and what was done: "plain send",
// "delayed pull".
func (s *Scene) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.mu.counts)
}

func (s *Scene) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.counts[what]++
}

// operation is one of which nothing is known yet.
func (s *Scene) operation(kind history.Kind, who, topic string, queue int) history.Operation {
	return history.Operation{
		Op: kind, Client: who, Topic: topic, Queue: queue, Outcome: history.OK, Invoke: s.Recorder.Now(),
		Sequence: history.Unknown, Offset: history.Unknown, Index: history.Unknown, Term: history.Unknown,
	}
}

// record notes an operation that has ended.
func (s *Scene) record(o history.Operation) error {
	if o.Outcome == history.OK {
		s.count(o.Topic + " " + string(o.Op))
	}
	return s.Recorder.Write(o)
}

// write notes an operation, and what it means for what has to be delivered.
func (s *Scene) write(o history.Operation) error {
	s.mu.Lock()
	if o.Outcome != history.Fail {
		s.mu.due = max(s.mu.due, o.Due)
	}
	switch {
	case o.Op == history.Send && o.Outcome == history.OK && o.Transaction == "":
		s.wantLocked(o.Value)
	case o.Op == history.End && o.Outcome == history.OK && o.Commits:
		s.wantLocked(o.Transaction) // the name of a transaction is its only value
	case o.Op == history.Recall && o.Outcome != history.Fail:
		delete(s.mu.wanted, o.Value)
	case o.Op == history.Pull && o.Group != "":
		for _, m := range o.Messages {
			delete(s.mu.wanted, m.Value)
			s.mu.seen[m.Value] = true
		}
	}
	s.mu.Unlock()
	return s.record(o)
}

func (s *Scene) wantLocked(value string) {
	if !s.mu.seen[value] {
		s.mu.wanted[value] = true
	}
}

// fatal are errors that no client may ever see here: what they ask for exists.
var fatal = []client.Code{
	client.CodeSkipped, client.CodeCorruptBatch, client.CodeInvalidBatch, client.CodeOffsetTooLow, client.CodeOffsetTooHigh,
	client.CodeUnknownTopic, client.CodeUnknownQueue, client.CodeInternal, client.CodeOutOfOrder, client.CodeSequenceConflict,
	client.CodeUnknownTransaction, client.CodeTransactionEnded, client.CodeGroupMismatch, client.CodeInvalidHandle, client.CodeProducerFenced,
}

// failed says what is thought of an error that a client was told while it lived.
func (s *Scene) failed(who, doing string, err error) {
	switch code := client.CodeOf(err); {
	case code == client.CodeClosed: // by us
	case s.Strict || slices.Contains(fatal, code):
		s.Recorder.Problem("%s: %s: %v", who, doing, err)
	default:
		s.Note("%s: %s: %v", who, doing, err)
	}
}

// outcome of an error: Fail only if it certainly did nothing.
func outcome(err error) history.Outcome {
	var e *client.Error
	switch {
	case err == nil:
		return history.OK
	case errors.As(err, &e) && !e.Indefinite:
		return history.Fail
	}
	return history.Info
}

// work lives one life after the other until stop is done.
func (s *Scene) work(stop context.Context, who string, live func(c *client.Client) error) error {
	for stop.Err() == nil {
		c, err := s.Dial(stop)
		if err == nil {
			err = live(c)
			_ = c.Close()
		}
		if err != nil && stop.Err() == nil {
			s.failed(who, "live", err)
			pause(stop, 100*time.Millisecond)
		}
	}
	return nil
}

// life is a context that ends with stop, or sooner.
func (s *Scene) life(stop context.Context, rng *rand.Rand) (context.Context, context.CancelFunc) {
	return context.WithTimeout(stop, s.Lives[0]+time.Duration(rng.Int64N(int64(s.Lives[1]-s.Lives[0]+1))))
}

// pause waits, at most until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
