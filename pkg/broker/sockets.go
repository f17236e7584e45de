package broker

import (
	"errors"
	"net"
	"sync"
)

// sockets is a listener that bounds its connections and can cut all of them.
type sockets struct {
	net.Listener
	slots chan struct{}
	gate  *memoryGate // nil: connections are always read
	done  chan struct{}

	mu struct {
		sync.Mutex
		closed bool
		sealed bool // takes no more connections
		open   map[*socket]struct{}
	}
}

type socket struct {
	net.Conn
	of   *sockets
	once sync.Once
	over chan struct{} // closed with the connection
	slow trickle
}

// Read reads when there is memory for what it brings, and a little when there is not.
func (c *socket) Read(p []byte) (int, error) {
	g := c.of.gate
	if g == nil {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p[:c.slow.room(g, len(p), c.over)])
	c.slow.taken += n
	g.took(n)
	return n, err
}

func newSockets(l net.Listener, limit int) *sockets {
	s := &sockets{Listener: l, slots: make(chan struct{}, limit), done: make(chan struct{})}
	s.mu.open = make(map[*socket]struct{})
	return s
}

// Accept waits for a free slot and then for a connection.
func (s *sockets) Accept() (net.Conn, error) {
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return nil, net.ErrClosed
	}
	conn, err := s.Listener.Accept()
	if err != nil {
		<-s.slots
		return nil, err
	}
	c := &socket{Conn: conn, of: s, over: make(chan struct{})}
	if !s.add(c) {
		err := c.Close()
		<-s.done
		return nil, errors.Join(net.ErrClosed, err)
	}
	return c, nil
}

func (s *sockets) add(c *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed || s.mu.sealed {
		return false
	}
	s.mu.open[c] = struct{}{}
	return true
}

// Close closes the connection and gives its slot back.
func (c *socket) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		close(c.over)
		c.of.remove(c)
		<-c.of.slots
	})
	return err
}

func (s *sockets) remove(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mu.open, c)
}

// Close stops listening; open connections stay.
func (s *sockets) Close() error {
	if s.close() {
		close(s.done)
	}
	return s.Listener.Close()
}

// close returns true the first time.
func (s *sockets) close() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.mu.closed
	s.mu.closed = true
	return first
}

// cut closes every connection, without a word to anyone, and takes no more. Close must
// follow.
func (s *sockets) cut() {
	s.seal()
	for _, c := range s.all() {
		_ = c.Close()
	}
}

func (s *sockets) seal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.sealed = true
}

func (s *sockets) all() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := make([]*socket, 0, len(s.mu.open))
	for c := range s.mu.open {
		open = append(open, c)
	}
	return open
}
