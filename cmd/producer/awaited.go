package main

import (
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// maxAwaited bounds the messages that wait for the collector.
const maxAwaited = 16 << 10

// pending is a message whose acknowledgement is awaited.
type pending struct {
	result *client.Result
	due    time.Duration // when it was published, or with --rate was to be; from the beginning
}

// awaited carries messages from the one who publishes to the one who collects their
// outcomes, in their order and many at a time: a channel would cost more than all
// else that is done for a small message.
type awaited struct {
	filled  chan struct{} // capacity 1: the list is not empty any more
	emptied chan struct{} // capacity 1: it was taken

	mu struct {
		sync.Mutex
		list []pending
	}
}

func newAwaited() *awaited {
	return &awaited{filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
}

// put appends p; false: there was no room until over was closed.
func (a *awaited) put(p pending, over <-chan struct{}) bool {
	for {
		n := a.tryPut(p)
		if n == 1 {
			wake(a.filled)
		}
		if n > 0 {
			return true
		}
		select {
		case <-a.emptied:
		case <-over:
			return false
		}
	}
}

// tryPut returns how many there are with p, 0 if there is no room for it.
func (a *awaited) tryPut(p pending) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.mu.list) >= maxAwaited {
		return 0
	}
	a.mu.list = append(a.mu.list, p)
	return len(a.mu.list)
}

// take returns all there are, and lets the next ones go into the memory of used.
func (a *awaited) take(used []pending) []pending {
	clear(used)
	a.mu.Lock()
	taken := a.mu.list
	a.mu.list = used[:0]
	a.mu.Unlock()
	if len(taken) > 0 {
		wake(a.emptied)
	}
	return taken
}

// wake makes sure that a channel of capacity 1 holds a signal.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
