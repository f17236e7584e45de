package dledger

import (
	"context"
	"net"
	"sync"
	"time"
)

// The waits between two attempts to connect to a peer. An attempt that comes
// later than redialQuiet after the one before it does not wait.
const (
	redialBaseDelay = 50 * time.Millisecond
	redialMaxDelay  = time.Second
	redialQuiet     = 2 * time.Second
)

// redialer spaces the attempts of one connection out. gRPC's own back-off is set
// to next to nothing, because it cannot be cut short when the peer shows that it
// lives: its ResetConnectBackoff walks a map that others write to (1.85).
type redialer struct {
	dialTo func(ctx context.Context, addr string) (net.Conn, error)
	wake   chan struct{} // capacity 1: try at once

	mu struct {
		sync.Mutex
		delay time.Duration
		last  time.Time // when the last attempt ended
	}
}

func newRedialer(dialTo func(context.Context, string) (net.Conn, error)) *redialer {
	return &redialer{dialTo: dialTo, wake: make(chan struct{}, 1)}
}

// dial waits its turn and connects.
func (r *redialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	if delay := r.next(time.Now()); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.wake:
			r.reset()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := r.dialTo(ctx, addr)
	r.ended(time.Now())
	return conn, err
}

// next is how long to wait before the attempt that is wanted now.
func (r *redialer) next(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.mu.last) > redialQuiet {
		r.mu.delay = 0
		return 0
	}
	r.mu.delay = min(max(2*r.mu.delay, redialBaseDelay), redialMaxDelay)
	return r.mu.delay
}

func (r *redialer) ended(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.last = at
}

func (r *redialer) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.delay = 0
}

// soon ends a wait.
func (r *redialer) soon() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}
