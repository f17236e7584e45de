package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// relayMark marks the relays' own packets, so that they are not sent back to a relay.
const relayMark = 0x1ed6

// mischief is what a relay does to the messages of one direction of a link.
type mischief struct {
	lose   float64       // share of answers that get lost after the request has arrived
	replay float64       // share of single requests that arrive again later
	delay  time.Duration // each message arrives up to so much later, in order
	reset  time.Duration // all connections are reset every so often; 0: never
}

// relay stands between whoever dials it and one broker, and passes gRPC's messages on
// without understanding them, but for the mischief.
type relay struct {
	mischief
	server *grpc.Server
	conn   *grpc.ClientConn // to the broker
	port   int
	run    errgroup.Group
	over   chan struct{}
	stats  *relayStats
	mu     struct {
		sync.Mutex
		conns map[net.Conn]struct{} // taken in
	}
}

// relayStats counts what all relays of a fault did.
type relayStats struct{ lost, replayed, resets atomic.Int64 }

// newRelay begins to relay to an address.
func newRelay(target string, m mischief, stats *relayStats) (*relay, error) {
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, relayMark) }), err)
		}}
		return d.DialContext(ctx, "tcp", addr)
	}
	conn, err := grpc.NewClient("passthrough:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dial),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20)))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(clientIP, "0"))
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	r := &relay{mischief: m, conn: conn, port: listener.Addr().(*net.TCPAddr).Port, over: make(chan struct{}), stats: stats}
	r.mu.conns = map[net.Conn]struct{}{}
	r.server = grpc.NewServer(grpc.WaitForHandlers(true), grpc.UnknownServiceHandler(r.handle), grpc.ForceServerCodec(raw{}), grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Millisecond, PermitWithoutStream: true}))
	r.run.Go(func() error { return r.server.Serve(&tracked{listener, r}) })
	if m.reset > 0 {
		r.run.Go(r.resetOften)
	}
	return r, nil
}

// stop ends the relay with everything that it has under way.
func (r *relay) stop() error {
	close(r.over)
	r.resetAll()
	r.server.Stop()
	return errors.Join(r.conn.Close(), r.run.Wait())
}

func (r *relay) resetOften() error {
	tick := time.NewTicker(r.reset)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.stats.resets.Add(1)
			r.resetAll()
		case <-r.over:
			return nil
		}
	}
}

// resetAll lets everyone who is connected see a reset.
func (r *relay) resetAll() {
	r.mu.Lock()
	conns := r.mu.conns
	r.mu.conns = map[net.Conn]struct{}{}
	r.mu.Unlock()
	for c := range conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
}

// tracked is a listener that remembers what it has taken in.
type tracked struct {
	net.Listener
	relay *relay
}

// Accept waits for the next connection.
func (t *tracked) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err == nil {
		t.relay.mu.Lock()
		t.relay.mu.conns[c] = struct{}{}
		t.relay.mu.Unlock()
	}
	return c, err
}

// raw is a codec that leaves messages as they are.
type raw struct{}

// Marshal returns the bytes that it is given.
func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }

// Unmarshal copies: gRPC uses the buffer again.
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}

// Name is what goes where nothing else was asked for.
func (raw) Name() string { return "proto" }

// handle relays one RPC.
func (r *relay) handle(_ any, in grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(in)
	md, _ := metadata.FromIncomingContext(in.Context())
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(in.Context(), md))
	defer cancel()
	open := func(ctx context.Context) (grpc.ClientStream, error) {
		return r.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.CallContentSubtype(subtypeOf(md)))
	}
	out, err := open(ctx)
	if err != nil {
		return err
	}
	both := errgroup.Group{}
	both.Go(func() error {
		only, n := r.upward(ctx, in, out)
		if n == 1 && rand.Float64() < r.replay {
			r.again(context.WithoutCancel(ctx), only, open)
		}
		return nil
	})
	err = r.downward(ctx, in, out)
	cancel()
	_ = both.Wait()
	return err
}

func subtypeOf(md metadata.MD) string {
	for _, kind := range md.Get("content-type") {
		if _, subtype, ok := strings.Cut(kind, "+"); ok {
			return subtype
		}
	}
	return ""
}

// upward passes requests on, and returns the last one and how many they were.
func (r *relay) upward(ctx context.Context, in grpc.ServerStream, out grpc.ClientStream) (last []byte, n int) {
	messages := r.line(ctx, func(m *[]byte) error { return in.RecvMsg(m) })
	for m := range messages {
		if out.SendMsg(&m) != nil {
			return nil, 0 // downward learns why
		}
		last = m
		n++
	}
	_ = out.CloseSend()
	return last, n
}

// downward passes answers on until one gets lost; then the RPC ends without it, at once
// or after a silence.
func (r *relay) downward(ctx context.Context, in grpc.ServerStream, out grpc.ClientStream) error {
	headers, end := false, make(chan error, 1)
	messages := r.line(ctx, func(m *[]byte) error {
		err := out.RecvMsg(m)
		if err != nil {
			end <- err
		}
		return err
	})
	for m := range messages {
		if rand.Float64() < r.lose {
			r.stats.lost.Add(1)
			r.silence(ctx)
			return status.Error(codes.Unavailable, "chaos: the answer got lost")
		}
		if !headers {
			md, _ := out.Header()
			_, headers = in.SetHeader(md), true
		}
		if err := in.SendMsg(&m); err != nil {
			return err
		}
	}
	select {
	case err := <-end:
		in.SetTrailer(out.Trailer())
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	default:
		return ctx.Err()
	}
}

// line receives messages and hands them out when their time has come, in order. The
// channel is closed when there are no more, or ctx has ended.
func (r *relay) line(ctx context.Context, receive func(*[]byte) error) <-chan []byte {
	type late struct {
		message []byte
		due     time.Time
	}
	waiting, messages := make(chan late, 64), make(chan []byte)
	r.run.Go(func() error {
		defer close(waiting)
		for {
			var m []byte
			if receive(&m) != nil {
				return nil
			}
			due := time.Now()
			if r.delay > 0 {
				due = due.Add(rand.N(r.delay))
			}
			select {
			case waiting <- late{m, due}:
			case <-ctx.Done():
				return nil
			}
		}
	})
	r.run.Go(func() error {
		defer close(messages)
		for {
			select {
			case w, ok := <-waiting:
				if !ok {
					return nil
				}
				pause(time.Until(w.due))
				select {
				case messages <- w.message:
				case <-ctx.Done():
					return nil
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	return messages
}

// silence is a time in which nothing comes back, none in half of the cases.
func (r *relay) silence(ctx context.Context) {
	if rand.IntN(2) == 0 {
		return
	}
	timer := time.NewTimer(rand.N(2 * time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-r.over:
	}
}

// again lets a request arrive once more, a little later; nobody waits for its answer.
func (r *relay) again(ctx context.Context, request []byte, open func(context.Context) (grpc.ClientStream, error)) {
	r.run.Go(func() error {
		timer := time.NewTimer(rand.N(time.Second))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.over:
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if out, err := open(ctx); err == nil && out.SendMsg(&request) == nil && out.CloseSend() == nil {
			r.stats.replayed.Add(1)
			var answer []byte
			_ = out.RecvMsg(&answer)
		}
		return nil
	})
}

// redirection is the rule that sends connections to a relay instead.
func (r *relay) redirection(ip string, port int) string {
	return fmt.Sprintf("ip daddr %s tcp dport %d meta mark != %#x dnat to %s:%d", ip, port, relayMark, clientIP, r.port)
}
