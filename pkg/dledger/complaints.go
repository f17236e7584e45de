package dledger

import (
	"sync"
	"time"
)

// complaints remembers what was complained about, so that one wrong line in a
// configuration makes one line in the log per while and not ten per second.
type complaints struct {
	mu struct {
		sync.Mutex
		last map[string]time.Time
	}
}

const (
	complainEvery = 10 * time.Second
	maxComplaints = 256
)

// fresh says whether to complain about key now.
func (c *complaints) fresh(key string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.mu.last[key]; ok && now.Sub(at) < complainEvery {
		return false
	}
	if c.mu.last == nil || len(c.mu.last) >= maxComplaints {
		c.mu.last = make(map[string]time.Time)
	}
	c.mu.last[key] = now
	return true
}
