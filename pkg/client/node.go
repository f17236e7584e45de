package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

const (
	windowBytes      = 8 << 20
	writeBufferBytes = 256 << 10
	readBufferBytes  = 64 << 10
	// maxAnswerBytes bounds what a broker can make us hold for one answer: one batch
	// of the largest size and some that follow it.
	maxAnswerBytes = 32 << 20
)

// node is one broker as seen from here: its address and its connections.
type node struct {
	addr string
	conn *grpc.ClientConn // kept warm
	// pulls is for what consumers read, and made when one reads. On one connection an
	// acknowledgement would wait behind all that is on its way to them, which is megabytes
	// when they are behind.
	pulls *grpc.ClientConn
	life  context.Context // done when the broker is not asked any more
	stop  context.CancelFunc
	// patience is how long a request may take.
	patience time.Duration
	// closed is set when the connections are: those of a broker that is forgotten go
	// before those of the client.
	closed atomic.Bool
	mu     struct {
		sync.Mutex
		again context.CancelCauseFunc // ends the present watch stream
	}
}

func newNode(cfg Config, buffers *buffer.Pool, addr string) (*node, error) {
	creds := insecure.NewCredentials()
	if cfg.TLS != nil {
		creds = credentials.NewTLS(cfg.TLS)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithIdleTimeout(0),
		// A broker that was away may lead as soon as it is back. (gRPC 1.85 cannot be told
		// to try at once: its ResetConnectBackoff races with the connections it walks.)
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
		// A broker that is cut off without a word is noticed; it allows a ping per 5 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		grpc.WithStaticStreamWindowSize(windowBytes),
		grpc.WithStaticConnWindowSize(windowBytes),
		grpc.WithWriteBufferSize(writeBufferBytes),
		grpc.WithReadBufferSize(readBufferBytes),
		experimental.WithBufferPool(buffers),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswerBytes)),
		grpc.WithNoProxy(),
	}
	if dial := cfg.Dialer; dial != nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return dial(ctx, addr)
		}))
	}
	n := &node{addr: addr, patience: cfg.RequestTimeout}
	for _, conn := range []**grpc.ClientConn{&n.conn, &n.pulls} {
		var err error
		if *conn, err = grpc.NewClient("passthrough:///"+addr, options...); err != nil {
			return nil, errors.Join(errorf(CodeInvalidConfig, "broker %q: %v", addr, err), n.close())
		}
	}
	n.conn.Connect()
	n.life, n.stop = context.WithCancel(context.Background())
	return n, nil
}

// close ends the connections that there are, once.
func (n *node) close() error {
	if n.closed.Swap(true) {
		return nil
	}
	var errs []error
	for _, conn := range []*grpc.ClientConn{n.conn, n.pulls} {
		if conn != nil {
			errs = append(errs, conn.Close())
		}
	}
	return errors.Join(errs...)
}

// run watches until ctx is done or the broker is forgotten.
func (n *node) run(ctx context.Context, tell func(context.Context, report)) error {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	if err := n.watch(watching, tell); err != nil || n.life.Err() == nil {
		return err
	}
	// A request that was sent to it may still be answered. After that nobody asks it again,
	// and its connections, which gRPC would go on making, are of no use.
	last := time.NewTimer(2 * n.patience)
	defer last.Stop()
	select {
	case <-ctx.Done(): // the client closes what it has
		return nil
	case <-last.C:
		return n.close()
	}
}

// watch keeps a WatchLeader stream to the broker and hands on what it says.
func (n *node) watch(ctx context.Context, tell func(context.Context, report)) error {
	wait := minBackoff
	for ctx.Err() == nil {
		heard, err := n.watchOnce(ctx, tell)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errAskAgain) {
			continue
		}
		tell(ctx, report{from: n, err: fromStatus(err)})
		n.conn.Connect()
		wait = min(2*wait, maxBackoff)
		if heard {
			wait = minBackoff
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

func (n *node) watchOnce(ctx context.Context, tell func(context.Context, report)) (heard bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n.mu.Lock()
	n.mu.again = cancel
	n.mu.Unlock()
	stream, err := brokerv1.NewMessagingServiceClient(n.conn).WatchLeader(ctx, &brokerv1.WatchLeaderRequest{})
	if err != nil {
		return false, fromRPC(ctx, err)
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return heard, fromRPC(ctx, err)
		}
		heard = true
		tell(ctx, report{from: n, says: resp})
	}
}

// errAskAgain ends a watch stream to begin another.
var errAskAgain = errors.New("who leads is asked again")

// askAgain has the broker say anew who leads.
func (n *node) askAgain() {
	n.mu.Lock()
	again := n.mu.again
	n.mu.Unlock()
	if again != nil {
		again(errAskAgain)
	}
}
