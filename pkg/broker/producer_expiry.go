package broker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// ProducersConfig says what becomes of producers that are not used.
type ProducersConfig struct {
	// ExpireAfter is for how long a producer must not have been used to be forgotten: 1 h
	// to 8784 h, default 168 h. What it sends again later is refused with
	// UNKNOWN_PRODUCER and never stored twice; a client whose message may be stored by
	// then cannot learn whether it is. So it should be longer than messages are retried.
	ExpireAfter time.Duration `yaml:"expire_after"`
}

func (c ProducersConfig) withDefaults() ProducersConfig {
	fill(&c.ExpireAfter, 7*24*time.Hour)
	return c
}

func (c ProducersConfig) validate() error {
	return within("producers.expire_after", c.ExpireAfter, time.Hour, 366*24*time.Hour)
}

const (
	// expiryCheck is the longest time between two looks at idle producers. The first
	// look of a leadership comes as late, too: members of an older build do not know
	// the command, and should have been upgraded by then.
	expiryCheck = 10 * time.Minute
	// expiryPause is between two looks that somebody asked for, and after a failed one.
	expiryPause = time.Second
	// expiryChunk is how many one command expires.
	expiryChunk = 1024
	// pressedIdle is for how long a producer without a name must have been idle to go
	// when there are nearly as many producers as may be: far longer than clients retry
	// by default. One that goes by mistake registers anew without its caller's knowing.
	pressedIdle = time.Hour
)

// producerExpiry has producers forgotten that were not used for long, while this broker
// leads. When they were is in the state, the same on all members; the leader alone
// looks at a clock. One goroutine, which sleeps while another member leads.
type producerExpiry struct {
	cfg         ProducersConfig
	room        *producerRoom
	store       *state.Store
	proposer    *proposer
	leaderships *leaderships
	mayWrite    func() bool // the disk takes commands
	log         *slog.Logger
	expired     prometheus.Counter
	clock       commitlog.ClockGuard
	began       time.Time
	ahead       atomic.Int64 // nanoseconds that its clock is ahead; for tests
}

func newProducerExpiry(b *Broker) *producerExpiry {
	e := &producerExpiry{
		cfg: b.cfg.Producers, store: b.store, leaderships: b.leaderships, log: b.log, began: time.Now(),
		proposer: &proposer{ledger: b.ledger, timeout: b.cfg.Limits.AckTimeout, now: time.Now},
		mayWrite: func() bool { return b.disk.refusal() == nil },
		clock:    commitlog.ClockGuard{Settles: clockSettles},
		room: &producerRoom{
			store: b.store, producers: b.cfg.Limits.MaxProducers, windows: b.cfg.Limits.MaxProducerQueues, short: make(chan struct{}, 1),
		},
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "broker_producers_expired_total", Help: "Producers that this leader has had forgotten because they were not used for long.",
		}),
	}
	b.metrics.registry.MustRegister(e.expired)
	return e
}

// run waits for leaderships and serves each until it ends.
func (e *producerExpiry) run(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, _, _, changed := e.leaderships.now()
		if lead == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := e.lead(ctx, lead); err != nil {
			return ended(ctx, "look for idle producers", err)
		}
	}
	return nil
}

// lead looks now and then, and soon when room is short, until the leadership is over.
func (e *producerExpiry) lead(ctx context.Context, lead *leadership) error {
	timer := time.NewTimer(expiryCheck)
	defer timer.Stop()
	looked := time.Time{}
	for {
		short := e.room.short
		if time.Since(looked) < expiryPause {
			short = nil
		}
		select {
		case <-lead.done:
			return nil
		case <-ctx.Done():
			return nil
		case <-short:
		case <-timer.C:
		}
		wait, err := e.look(ctx)
		if err != nil {
			return err
		}
		looked = time.Now()
		timer.Reset(wait)
	}
}

// look has some of the idle producers forgotten and says when to look again. Its error
// is about the store, and the end of the process.
func (e *producerExpiry) look(ctx context.Context) (time.Duration, error) {
	wall := e.proposer.now()
	steady, _ := e.clock.Look(wall.Round(0), time.Since(e.began))
	if !steady || !e.mayWrite() {
		return expiryCheck, nil
	}
	now := wall.Add(time.Duration(e.ahead.Load()))
	before := now.Add(-e.cfg.ExpireAfter - state.TouchEvery).UnixMilli()
	ids, err := e.store.IdleProducers(before, false, expiryChunk)
	if err != nil {
		return 0, err
	}
	if len(ids) == 0 && e.room.isShort() {
		before = now.Add(-pressedIdle - state.TouchEvery).UnixMilli()
		if ids, err = e.store.IdleProducers(before, true, expiryChunk); err != nil {
			return 0, err
		}
	}
	if producers, _ := e.store.ProducerCounts(); len(ids) == 0 && (e.store.NotesUses() || producers == 0) {
		return expiryCheck, nil
	}
	out, err := e.proposer.command(ctx, &recordv1.Command{
		Kind: &recordv1.Command_ExpireProducers{ExpireProducers: &recordv1.ExpireProducers{Ids: ids, UnusedSinceUnixMs: before}},
	})
	if err != nil {
		e.log.Debug("idle producers could not be expired and are looked at again", "error", err)
		return expiryPause, nil
	}
	if out.Count > 0 {
		e.expired.Add(float64(out.Count))
		e.log.Info("idle producers have expired", "number", out.Count, "unused_since", time.UnixMilli(before).UTC())
	}
	return expiryPause, nil
}
