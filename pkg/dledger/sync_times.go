package dledger

import (
	"slices"
	"sync"
	"time"
)

// syncTimes remembers how long the newest syncs took, to say what is slow.
type syncTimes struct {
	mu struct {
		sync.Mutex
		took []time.Duration // a ring
		next int
	}
}

const syncsRemembered = 128

func (t *syncTimes) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.mu.took) < syncsRemembered {
		t.mu.took = append(t.mu.took, d)
		return
	}
	t.mu.took[t.mu.next] = d
	t.mu.next = (t.mu.next + 1) % syncsRemembered
}

// p99 is the time that 99 of 100 of them did not exceed; 0 if there were none.
func (t *syncTimes) p99() time.Duration {
	t.mu.Lock()
	took := slices.Clone(t.mu.took)
	t.mu.Unlock()
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[(len(took)*99+99)/100-1]
}
