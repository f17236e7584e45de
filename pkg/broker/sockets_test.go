package broker

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// watchedListener calls closing before it closes.
type watchedListener struct {
	net.Listener
	closing func()
}

func (l *watchedListener) Close() error {
	l.closing()
	return l.Listener.Close()
}

// A broker that is killed says nothing more: no listener closes, which ends its Run and
// lets the ledger answer what is pending, before all connections are cut.
func TestKillCutsConnectionsFirst(t *testing.T) {
	b, closed := &Broker{}, 0
	var taken []*socket
	for _, into := range []**sockets{&b.sockets.client, &b.sockets.peer, &b.sockets.http} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s := newSockets(&watchedListener{l, func() {
			closed++
			for _, c := range taken {
				_, err := c.Write([]byte("x"))
				require.ErrorIs(t, err, net.ErrClosed)
			}
		}}, 9)
		*into = s
		dialed, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = dialed.Close() })
		c, err := s.Accept()
		require.NoError(t, err)
		taken = append(taken, c.(*socket))
	}
	b.cutSockets()
	require.Equal(t, 3, closed)
}

// A connection that comes while the others are being cut is cut as well, and ends
// nothing before the listener is closed.
func TestConnectionDuringTheCut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := newSockets(l, 9)
	s.cut()
	dialed, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	accepted := make(chan error, 1)
	go func() {
		_, err := s.Accept()
		accepted <- err
	}()
	_, err = dialed.Read(make([]byte, 1))
	require.Error(t, err)
	select {
	case <-accepted:
		t.Fatal("the listener is open")
	default:
	}
	require.NoError(t, s.Close())
	require.ErrorIs(t, <-accepted, net.ErrClosed)
	require.NoError(t, dialed.Close())
}
