package seed

import (
	"context"
	"sync"
	"time"
)

// pacer lets so many bytes a second pass, over all who ask.
type pacer struct {
	rate int64 // bytes per second; 0: as many as come

	mu struct {
		sync.Mutex
		free time.Time // when the bytes that were let through have had their time
	}
}

// wait waits until n more bytes may pass.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return nil
	}
	pause := p.reserve(time.Now(), n)
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the time that n bytes need and returns how far away it begins.
func (p *pacer) reserve(now time.Time, n int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.free.Before(now) {
		p.mu.free = now
	}
	pause := p.mu.free.Sub(now)
	p.mu.free = p.mu.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return pause
}
