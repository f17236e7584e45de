package state

import "sync"

// failure is the first error that the store cannot recover from.
type failure struct {
	mu struct {
		sync.Mutex
		err error
	}
	happened chan struct{} // closed with the first one
}

func newFailure() *failure { return &failure{happened: make(chan struct{})} }

func (f *failure) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.err == nil {
		f.mu.err = err
		close(f.happened)
	}
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.err
}

// gate counts who is inside Pebble, so that closing it waits for them.
type gate struct {
	mu struct {
		sync.Mutex
		inside int
		closed bool
	}
	left chan struct{} // closed when the gate is closed and nobody is inside
}

func newGate() *gate { return &gate{left: make(chan struct{})} }

// enter says whether the store is open; leave must follow if it is.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.closed {
		return false
	}
	g.mu.inside++
	return true
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.inside--
	if g.mu.closed && g.mu.inside == 0 {
		close(g.left)
	}
}

// close keeps everyone out from now on and waits for those inside; false if it
// was closed before.
func (g *gate) close() bool {
	if !g.shut() {
		return false
	}
	<-g.left
	return true
}

func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.closed {
		return false
	}
	g.mu.closed = true
	if g.mu.inside == 0 {
		close(g.left)
	}
	return true
}
