package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// Pauses between tries; a changed route ends one early.
const (
	minBackoff = 10 * time.Millisecond
	maxBackoff = 250 * time.Millisecond
	// attemptTimeout bounds one try of a request; brokers hold one for up to 5 s
	// while there is no leader.
	attemptTimeout = 6 * time.Second
)

// Client is a connection to a group of brokers. It is safe for concurrent use. It has a
// TCP connection to each broker, and one more to each that a Consumer has read from.
type Client struct {
	cfg    Config
	router *router
	codec  *batch.Codec
	ctx    context.Context // ends with Close
	cancel context.CancelCauseFunc
	tasks  *errgroup.Group
	mu     struct {
		sync.Mutex
		closed bool
	}
}

// Dial connects to a group and returns when one broker has answered. ctx bounds
// the dialling only. Errors are ErrUnavailable, telling what each seed said, an
// *Error with CodeInvalidConfig, or the context's own.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, codec: batch.NewCodec(), tasks: &errgroup.Group{}}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.router = newRouter(cfg, c.start)
	c.router.learn(slices.Values(cfg.Seeds))
	c.tasks.Go(func() error { return c.router.run(c.ctx) })
	if err := c.awaitFirst(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// awaitFirst waits until one broker has answered.
func (c *Client) awaitFirst(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.cfg.DialTimeout, ErrUnavailable)
	defer cancel()
	for {
		r := c.router.route()
		if r.answered {
			return nil
		}
		if r.refused() {
			return c.unreachable(r)
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			if context.Cause(ctx) == error(ErrUnavailable) {
				return c.unreachable(c.router.route())
			}
			return context.Cause(ctx)
		}
	}
}

// unreachable says what became of each seed.
func (c *Client) unreachable(r *route) error {
	var told []string
	for _, n := range r.nodes {
		if why := r.trouble[n.addr]; why != nil {
			text := strings.TrimPrefix(why.Message, `connection error: desc = "transport: Error while dialing: `)
			told = append(told, fmt.Sprintf("%s: %s", n.addr, strings.TrimSuffix(text, `"`)))
		} else {
			told = append(told, n.addr+": no answer")
		}
	}
	e := errorf(CodeUnavailable, "no broker reachable (%s)", strings.Join(told, "; "))
	for _, why := range r.trouble {
		if fatal(why.Code) {
			e.Code = why.Code
		}
	}
	return e
}

// Close ends every Producer and Consumer of the client at once and waits for
// their goroutines: close producers first to have their messages delivered.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.mu.closed
	c.mu.closed = true
	c.mu.Unlock()
	c.cancel(errClientClosed)
	err := c.tasks.Wait()
	if again {
		return nil
	}
	return errors.Join(err, c.router.closeConnections())
}

var errClientClosed = &Error{Code: CodeClosed, Message: "client is closed"}

// start runs a goroutine that Close waits for.
func (c *Client) start(run func(ctx context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed {
		return errClientClosed
	}
	c.tasks.Go(func() error { return run(c.ctx) })
	return nil
}

// Leader returns the client address of the leader as far as it is known, else "".
func (c *Client) Leader() string {
	if l := c.router.route().leader; l != nil {
		return l.addr
	}
	return ""
}

// repeat says whether carrying out a request twice is harmless.
type repeat bool

const (
	harmless repeat = true
	harmful  repeat = false
)

// invoke makes one request, at the leader if it is known, and tries again after
// errors that may pass until the context or RequestTimeout ends. What is harmful
// to repeat is tried again only after errors that certainly did nothing.
func (c *Client) invoke(ctx context.Context, again repeat, call func(context.Context, grpc.ClientConnInterface) error) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.RequestTimeout)
		defer cancel()
	}
	var last *Error
	maybe := false // some try may have done it
	wait := pacer{}
	for try := 0; ; try++ {
		if c.ctx.Err() != nil {
			return c.gaveUp(ctx, last, maybe)
		}
		r := c.router.route()
		err := c.attempt(ctx, r, r.pick(try), again, call)
		if err == nil {
			return nil
		}
		var e *Error
		if errors.As(err, &e) {
			maybe = maybe || e.Indefinite
			last = e.indefinite(maybe)
			if !transient(e.Code) || e.Indefinite && again == harmful {
				return last
			}
			c.router.hint(r, r.pick(try), e)
		} else {
			maybe = true // the context ended it under way
		}
		if !wait.pause(ctx, r, e) || c.ctx.Err() != nil {
			return c.gaveUp(ctx, last, maybe)
		}
	}
}

// attempt is one try; one that may be repeated ends early when the leader moves.
func (c *Client) attempt(ctx context.Context, r *route, n *node, again repeat, call func(context.Context, grpc.ClientConnInterface) error) error {
	actx, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errNoAnswer)
	defer cancel()
	mctx, moved := context.WithCancelCause(actx)
	defer moved(nil)
	if again == harmless {
		stop := context.AfterFunc(r.leading, func() { moved(errLeaderMoved) })
		defer stop()
	}
	stopClose := context.AfterFunc(c.ctx, func() { moved(errClientClosed) })
	defer stopClose()
	err := fromRPC(mctx, call(mctx, n.conn))
	var why *Error
	if mctx.Err() != nil && errors.As(err, &why) {
		return why.indefinite(true) // it was under way: whoever ended it knows of no answer
	}
	return err
}

var (
	errNoAnswer    = &Error{Code: CodeTimeout, Message: "no answer in time", Indefinite: true}
	errLeaderMoved = &Error{Code: CodeLeadershipLost, Message: "the leader changed meanwhile", Indefinite: true}
)

// gaveUp is the error of a request that ran out of time.
func (c *Client) gaveUp(ctx context.Context, last *Error, maybe bool) error {
	if c.ctx.Err() != nil {
		return errClientClosed.indefinite(maybe)
	}
	if last == nil || errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return last.indefinite(maybe)
}

// pacer paces tries: the pause doubles from minBackoff to maxBackoff.
type pacer struct{ next time.Duration }

// pause waits until it makes sense to try again: a while, or until the route
// changes. It returns false when ctx ended.
func (b *pacer) pause(ctx context.Context, r *route, e *Error) bool {
	b.next = min(max(2*b.next, minBackoff), maxBackoff)
	wait := b.next
	if e != nil && e.RetryAfter > 0 {
		wait = min(e.RetryAfter, maxBackoff)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-r.changed:
	case <-t.C:
	}
	return ctx.Err() == nil
}

// newRequestID makes a retry of a request recognisable.
func newRequestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
