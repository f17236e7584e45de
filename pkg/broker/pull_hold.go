package broker

import (
	"sync"
	"sync/atomic"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// pullHold keeps the pulls that wait for messages of a queue (RocketMQ:
// PullRequestHoldService). The apply step wakes them; nothing polls.
type pullHold struct {
	limit int64
	held  atomic.Int64

	mu struct {
		sync.Mutex
		queues map[state.QueueID]chan struct{}
	}
}

func newPullHold(limit int) *pullHold {
	h := &pullHold{limit: int64(limit)}
	h.mu.queues = make(map[state.QueueID]chan struct{})
	return h
}

// enter takes one of the places of waiting pulls, or says that all are taken.
// Whoever got one calls leave.
func (h *pullHold) enter() bool {
	if h.held.Add(1) > h.limit {
		h.held.Add(-1)
		return false
	}
	return true
}

func (h *pullHold) leave() { h.held.Add(-1) }

// next returns a channel that is closed when something new is in the queue. A
// caller asks for it before it looks, so that nothing slips through between.
func (h *pullHold) next(q state.QueueID) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch, ok := h.mu.queues[q]
	if !ok {
		ch = make(chan struct{})
		h.mu.queues[q] = ch
	}
	return ch
}

// wake lets go of everyone who waits for one of the queues.
func (h *pullHold) wake(queues []state.QueueID) {
	for _, q := range queues {
		if ch := h.take(q); ch != nil {
			close(ch)
		}
	}
}

// wakeAll lets go of everyone.
func (h *pullHold) wakeAll() {
	for _, ch := range h.takeAll() {
		close(ch)
	}
}

func (h *pullHold) takeAll() map[state.QueueID]chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.mu.queues
	h.mu.queues = make(map[state.QueueID]chan struct{})
	return all
}

func (h *pullHold) take(q state.QueueID) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	ch := h.mu.queues[q]
	delete(h.mu.queues, q)
	return ch
}
