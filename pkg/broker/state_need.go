package broker

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// stateNeed says that this member's ledger cannot carry its state on, so that it
// needs another member's state to go on from (ADR 0015). The dispatcher raises it;
// the seeder looks for such a state; fitness leaves the leadership to others.
type stateNeed struct {
	now    atomic.Pointer[neededState] // nil: there is no need
	raised chan struct{}               // capacity 1: to the seeder
	log    *slog.Logger
}

// neededState is what is needed.
type neededState struct {
	covers commitlog.Index // the state must have applied this entry
	why    string          // in words that do not change
	nobody context.Context // done when every other member has said that it has none
	refuse context.CancelFunc
}

func newStateNeed(log *slog.Logger) *stateNeed {
	return &stateNeed{raised: make(chan struct{}, 1), log: log}
}

func (n *stateNeed) raise(covers commitlog.Index, why string) *neededState {
	need := &neededState{covers: covers, why: why}
	need.nobody, need.refuse = context.WithCancel(context.Background())
	n.log.Warn("this member's state cannot be carried on: looking for another member's", "why", why, "covers", int64(covers))
	n.now.Store(need)
	signal(n.raised)
	return need
}

func (n *stateNeed) end() {
	if need := n.now.Swap(nil); need != nil {
		need.refuse()
	}
}
