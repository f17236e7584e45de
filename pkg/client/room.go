package client

import "context"

// room is how many bytes of messages may still be buffered. Who finds too little
// waits in line. It is guarded by Producer.mu.
type room struct {
	free    int
	waiting []*roomWaiter // in the order in which they came
}

// roomWaiter waits for n bytes; granted is closed when it has got them.
type roomWaiter struct {
	n       int
	granted chan struct{}
}

// take takes n bytes if they are there and nobody waits.
func (r *room) take(n int) bool {
	if len(r.waiting) > 0 || r.free < n {
		return false
	}
	r.free -= n
	return true
}

// queue lets the caller wait for n bytes.
func (r *room) queue(n int) *roomWaiter {
	w := &roomWaiter{n: n, granted: make(chan struct{})}
	r.waiting = append(r.waiting, w)
	return w
}

// give makes room, for those who wait first of all.
func (r *room) give(n int) {
	r.free += n
	for len(r.waiting) > 0 && r.free >= r.waiting[0].n {
		w := r.waiting[0]
		r.free -= w.n
		close(w.granted)
		r.waiting = without(r.waiting, w)
	}
}

// leave ends the wait of w, whatever it has got.
func (r *room) leave(w *roomWaiter) {
	select {
	case <-w.granted:
		r.give(w.n)
	default:
		r.waiting = without(r.waiting, w)
		r.give(0) // it may have been in the way
	}
}

// awaitRoomLocked waits for n bytes of room, with Producer.mu unlocked meanwhile. The
// error is that of ctx.
func (p *Producer) awaitRoomLocked(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := p.mu.room.queue(n)
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.room.leave(w)
	return ctx.Err()
}
