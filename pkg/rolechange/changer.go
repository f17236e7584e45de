package rolechange

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Handler starts and stops what depends on the broker role. Its methods are
// never called at the same time. They must return soon after ctx is done, which
// happens when a newer change has arrived or the broker stops; what they return
// then is ignored. Any other error ends Changer.Run: a broker that cannot do what
// its role asks must not keep the role.
type Handler interface {
	// BecomeMaster begins the mastership of term.
	BecomeMaster(ctx context.Context, term member.Term) error
	// BecomeSlave ends whatever mastership there was.
	BecomeSlave(ctx context.Context, term member.Term) error
}

// Config is what a Changer is told once.
type Config struct {
	// Logger receives one line per change. Default: slog.Default.
	Logger *slog.Logger
	// Registerer receives the metrics. Nil: none are exported.
	Registerer prometheus.Registerer
}

// Changer hands changes of role to the handlers.
type Changer struct {
	log      *slog.Logger
	metrics  *metrics
	handlers []Handler
	wake     chan struct{} // capacity 1

	mu struct {
		sync.Mutex
		latest Change             // the newest change that was notified
		fresh  bool               // latest has not been handed out
		cancel context.CancelFunc // ends the handlers that run now; nil: none
	}
}

// New returns a Changer without handlers.
func New(cfg Config) *Changer {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Changer{
		log:     cfg.Logger,
		metrics: newMetrics(cfg.Registerer),
		wake:    make(chan struct{}, 1),
	}
}

// AddHandler adds a handler. BecomeMaster is called in the order in which
// handlers were added, BecomeSlave in the opposite one. Not after Run has begun.
func (c *Changer) AddHandler(h Handler) {
	c.handlers = append(c.handlers, h)
}

// Notify notes a change and returns at once. Changes of an older term than the
// newest one, and repetitions, are dropped.
func (c *Changer) Notify(change Change) {
	cancel, noted := c.note(change)
	if !noted {
		return
	}
	if cancel != nil {
		cancel()
	}
	select {
	case c.wake <- struct{}{}:
	default: // Run has yet to see the previous signal and will find this change
	}
}

func (c *Changer) note(change Change) (cancel context.CancelFunc, noted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if change.Term < c.mu.latest.Term {
		c.metrics.dropped.Inc()
		return nil, false
	}
	if change == c.mu.latest {
		return nil, false
	}
	c.mu.latest, c.mu.fresh = change, true
	return c.mu.cancel, true
}

// Run hands changes to the handlers until ctx is done; then it returns nil. It
// returns an error when a handler failed at a change that still held.
func (c *Changer) Run(ctx context.Context) error {
	var current Change
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		for {
			runCtx, cancel := context.WithCancel(ctx)
			change, ok := c.begin(cancel)
			if !ok {
				cancel()
				break
			}
			err := c.change(runCtx, current, change)
			superseded := runCtx.Err() != nil
			c.end()
			cancel()
			if err != nil && !superseded {
				return fmt.Errorf("become %v in term %d: %w", change.Role, change.Term, err)
			}
			current = change
			if superseded {
				current = Change{} // some handlers may not have run: the next change must
			}
		}
	}
}

// begin takes the newest change, if there is one, and notes how to end its handlers.
func (c *Changer) begin(cancel context.CancelFunc) (Change, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.mu.fresh {
		return Change{}, false
	}
	c.mu.fresh, c.mu.cancel = false, cancel
	return c.mu.latest, true
}

func (c *Changer) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.cancel = nil
}

// change runs the handlers. A SLAVE that hears of a newer term stays what it is.
func (c *Changer) change(ctx context.Context, from, to Change) error {
	if from.Role == Slave && to.Role == Slave {
		return nil
	}
	start := time.Now()
	err := c.runHandlers(ctx, to)
	c.metrics.seconds.WithLabelValues(to.Role.String()).Observe(time.Since(start).Seconds())
	c.metrics.changes.WithLabelValues(to.Role.String(), outcome(ctx, err)).Inc()
	c.log.Info("broker role", "role", to.Role.String(), "term", int64(to.Term),
		"took", time.Since(start), "outcome", outcome(ctx, err))
	return err
}

func (c *Changer) runHandlers(ctx context.Context, to Change) error {
	for i := range c.handlers {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var err error
		if to.Role == Master {
			err = c.handlers[i].BecomeMaster(ctx, to.Term)
		} else {
			err = c.handlers[len(c.handlers)-1-i].BecomeSlave(ctx, to.Term)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func outcome(ctx context.Context, err error) string {
	switch {
	case ctx.Err() != nil:
		return "superseded"
	case err != nil:
		return "failed"
	}
	return "done"
}
