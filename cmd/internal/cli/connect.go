package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// dialTimeout is how long a program waits for a first broker to answer.
const dialTimeout = 5 * time.Second

// Wait is how a program waits for what it needs before it can begin.
type Wait struct {
	// Limit is for how long; 0: as the client does.
	Limit time.Duration
	// Tell is told once, in a line, that it takes long, and why; nil: nobody is.
	Tell io.Writer
}

// Connect connects to the cluster that the flags name and has look find there what the
// program needs. If that fails the connection is closed again.
func (f *ServerFlags) Connect(ctx context.Context, wait Wait, look func(context.Context, *client.Client) error) (*client.Client, error) {
	began := time.Now()
	cfg, err := f.config(wait.Limit)
	if err != nil {
		return nil, err
	}
	var known atomic.Pointer[client.Client]
	defer wait.tell(&known)()
	cl, err := client.Dial(ctx, cfg)
	if err != nil {
		return nil, err
	}
	known.Store(cl)
	if wait.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, began.Add(wait.Limit))
		defer cancel()
	}
	if err := look(ctx, cl); err != nil {
		return nil, errors.Join(err, cl.Close())
	}
	return cl, nil
}

// slowAfter is how long nothing is said of waiting.
const slowAfter = 2 * time.Second

// tell says after a while what is waited for, unless the waiting is over before.
func (w Wait) tell(known *atomic.Pointer[client.Client]) (over func()) {
	if w.Tell == nil {
		return func() {}
	}
	done := make(chan struct{})
	var telling errgroup.Group
	telling.Go(func() error {
		t := time.NewTimer(slowAfter)
		defer t.Stop()
		select {
		case <-done:
		case <-t.C:
			_, _ = fmt.Fprintln(w.Tell, missing(known.Load())+": waiting")
		}
		return nil
	})
	return func() {
		close(done)
		_ = telling.Wait()
	}
}

// missing is what a program waits for, whose connection this is.
func missing(cl *client.Client) string {
	if cl == nil {
		return "no broker answers yet"
	}
	if leader := cl.Leader(); leader != "" {
		return "no answer from the leader yet (" + leader + ")"
	}
	return "no leader yet"
}

func (f *ServerFlags) config(limit time.Duration) (cfg client.Config, err error) {
	cfg.DialTimeout = dialTimeout
	if limit > 0 {
		cfg.DialTimeout = min(cfg.DialTimeout, limit)
	}
	if cfg.Seeds, err = f.Seeds(); err == nil {
		cfg.TLS, err = f.TLS.Config()
	}
	return cfg, err
}

// TopicHint adds to an UNKNOWN_TOPIC error how to create the topic.
func (f *ServerFlags) TopicHint(err error, topic string) error {
	if !errors.Is(err, client.ErrUnknownTopic) {
		return err
	}
	where := ""
	if seeds, e := f.Seeds(); e == nil {
		where = " --server " + strings.Join(seeds, ",")
	}
	return fmt.Errorf("%w\n  topics are not created by use: broker admin%s topic create %s --queues 1", err, where, topic)
}
