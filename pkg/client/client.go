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
			told = append(told, fmt.Sprintf("%s: %s", n.addr, why.Message))
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

// repeat says what it does to carry out a request twice.
type repeat int

const (
	harmful  repeat = iota
	harmless        // it changes something, and once only
	reading         // it changes nothing, so that its outcome is never in doubt
)

// harmlessOr is for a request that changes nothing when it is a dry run.
func harmlessOr(dryRun bool) repeat {
	if dryRun {
		return reading
	}
	return harmless
}

// invoke makes one request, at the leader if it is known, and tries again after
// errors that may pass until the context or RequestTimeout ends. What is harmful
// to repeat is tried again only after errors that certainly did nothing, and a try that never
// reached a broker did nothing.
func (c *Client) invoke(ctx context.Context, again repeat, call func(context.Context, grpc.ClientConnInterface) error) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.RequestTimeout)
		defer cancel()
	}
	var last *Error
	maybe := false // some try may have changed something
	wait := pacer{}
	for try := 0; ; try++ {
		if c.ctx.Err() != nil {
			return c.gaveUp(ctx, last, maybe)
		}
		r := c.router.route()
		sent, err := c.attempt(ctx, r, r.pick(try), again, call)
		if err == nil {
			return nil
		}
		var e *Error
		doubt := sent && again != reading
		if errors.As(err, &e) {
			doubt = doubt && e.Indefinite
			if !transient(e.Code) || doubt && again == harmful {
				return e.ofRequest(maybe || doubt)
			}
			last = moreTelling(last, e, over(ctx))
			c.router.hint(r, r.pick(try), e)
		}
		maybe = maybe || doubt // without a code the context ended it under way
		if !wait.pause(ctx, r, e) || c.ctx.Err() != nil {
			return c.gaveUp(ctx, last, maybe)
		}
	}
}

// attempt is one try; one that may be repeated ends early when the leader moves. It says
// whether the broker may have had the request.
func (c *Client) attempt(ctx context.Context, r *route, n *node, again repeat, call func(context.Context, grpc.ClientConnInterface) error) (sent bool, err error) {
	actx, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errNoAnswer)
	defer cancel()
	mctx, moved := context.WithCancelCause(actx)
	defer moved(nil)
	if again != harmful {
		stop := context.AfterFunc(r.leading, func() { moved(errLeaderMoved) })
		defer stop()
	}
	stopClose := context.AfterFunc(c.ctx, func() { moved(errClientClosed) })
	defer stopClose()
	conn := &watchedConn{ClientConnInterface: n.conn}
	err = fromRPC(mctx, call(mctx, conn))
	var why *Error
	if mctx.Err() != nil && errors.As(err, &why) {
		err = why.indefinite(true) // it was under way: whoever ended it knows of no answer
	}
	return conn.mayBeSent(), err
}

var (
	errNoAnswer    = &Error{Code: CodeTimeout, Message: "no answer in time", Indefinite: true}
	errLeaderMoved = &Error{Code: CodeLeadershipLost, Message: "the leader changed meanwhile", Indefinite: true}
)

// gaveUp is the error of a request that ran out of time.
func (c *Client) gaveUp(ctx context.Context, last *Error, maybe bool) error {
	switch {
	case c.ctx.Err() != nil:
		return errClientClosed.ofRequest(maybe)
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case (last == nil || unheard(last)) && c.router.route().leaderless():
		nobody := errorf(CodeNoLeader, "no broker knows a leader; a majority of them must be up: see `broker admin status`")
		if last == nil {
			nobody.cause = ctx.Err() // for those who look for it
		}
		last = nobody
	case last == nil:
		return ctx.Err()
	}
	return last.ofRequest(maybe)
}

// moreTelling is which of two errors, one after the other, says more of why a request fails.
// Where a broker said that nobody leads, another one that cannot be reached is but a part of
// it; and when the time is over, that the last try had no answer says nothing.
func moreTelling(last, e *Error, over bool) *Error {
	if last != nil && (last.Code == CodeNoLeader && unheard(e) || over && e.Code == CodeTimeout) {
		return last
	}
	return e
}

// over tells that a context's time is up, which gRPC may see before the context does.
func over(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return bounded && !time.Now().Before(end)
}

// unheard tells that an error is not a broker's word.
func unheard(e *Error) bool { return e.Code == CodeUnavailable || e.Code == CodeTimeout }

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
