package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// clockSettles is for how long the wall clock must have run steadily before ages
// are believed.
const clockSettles = 10 * time.Minute

// retention deletes old segments of this member's ledger. One goroutine. What it
// never deletes: what the newest durable state does not cover, what is not
// committed, what a running seed of another member reads, the active segment.
type retention struct {
	cfg     RetentionConfig
	ledger  *dledger.Server
	store   *state.Store
	log     *slog.Logger
	metrics *retentionMetrics
	allow   func(before int64, pressed bool) int64 // what running seeds leave to purge
	pressed func() bool                            // the disk is full
	flush   func()                                 // asks for the state to be brought to disk; returns at once
	carry   func(before state.Index)               // has what waits before an entry copied to the ledger's end; returns at once
	trim    func()                                 // has key indexes trimmed to what is kept; returns at once
	purged  func(begin state.Index)                // takes note of where the ledger begins now; returns at once
	joined  func() bool                            // the state is known to be of the ledger's history
	wall    func() time.Time
	mono    func() time.Duration
	clock   commitlog.ClockGuard
	failing bool
}

func (b *Broker) newRetention() *retention {
	began := time.Now()
	return &retention{
		cfg: b.cfg.Retention, ledger: b.ledger, store: b.store, log: b.log,
		metrics: newRetentionMetrics(b.metrics.registry),
		allow:   b.seeds.Allow,
		pressed: func() bool { _, full := b.disk.readOnly(); return full },
		flush:   b.dispatcher.askFlush,
		carry:   b.delivery.askCarry,
		trim:    b.trimKeyIndexes,
		purged:  b.delivery.notePurged,
		joined:  b.dispatcher.joined.Load,
		wall:    func() time.Time { return time.Now().Round(0) }, // without the monotonic reading
		mono:    func() time.Duration { return time.Since(began) },
		clock:   commitlog.ClockGuard{Settles: clockSettles},
	}
}

// run looks at the ledger now and then. Its error ends the process: the log could
// not delete a file, or the state cannot be read.
func (r *retention) run(ctx context.Context) error {
	tick := time.NewTicker(r.cfg.CheckInterval)
	defer tick.Stop()
	for {
		if err := r.check(); err != nil {
			return ended(ctx, "retention", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// check looks at the clock and at the ledger and purges what may go.
func (r *retention) check() error {
	now := r.wall()
	steady := r.clockIsSteady(now)
	segments, err := r.ledger.Segments()
	if err != nil {
		return err
	}
	if r.cfg.Age != 0 || r.cfg.Size != 0 {
		before, unknown := r.decide(segments, now, steady)
		if err := r.purge(segments, before); err != nil {
			return err
		}
		if unknown != nil {
			return r.note(unknown)
		}
	}
	r.trim()
	return r.note(r.measure())
}

// clockIsSteady says whether ages can be believed, and raises the alarm.
func (r *retention) clockIsSteady(now time.Time) bool {
	steady, jumped := r.clock.Look(now, r.mono())
	if jumped > 0 {
		r.metrics.clockJumps.Inc()
		r.metrics.paused.Set(1)
		r.log.Error("the wall clock has jumped ahead: nothing is purged by age until it has been steady for a while; set it right",
			"by", jumped, "wait", r.clock.Settles)
	}
	if steady {
		r.metrics.paused.Set(0)
	}
	return steady
}

// decide returns the entry before which everything may go. Sizes need no clock. What
// only waits for the state to be on disk is a reason to bring it there: the state flushes
// itself for the sake of restarts, which may be long after a small ledger is full.
func (r *retention) decide(segments []commitlog.SegmentInfo, now time.Time, steady bool) (before commitlog.Index, err error) {
	limit := r.limit()
	var size int64
	for _, s := range segments {
		size += s.Bytes
	}
	for _, s := range segments[:len(segments)-1] {
		if s.Last >= limit {
			if r.cfg.Size != 0 && size-s.Bytes >= int64(r.cfg.Size) && s.Last <= r.ledger.Status().Commit {
				r.flush()
			}
			break
		}
		goes := r.cfg.Size != 0 && size-s.Bytes >= int64(r.cfg.Size)
		if !goes && r.cfg.Age != 0 && steady && s.Last >= s.First {
			newest, err := r.ledger.AppendTime(s.Last)
			if err != nil { // it is damaged: times never fall, so the next one errs on the safe side
				newest, err = r.ledger.AppendTime(s.Last + 1)
			}
			if err != nil {
				return before, fmt.Errorf("when was entry %d appended: %w", s.Last, err)
			}
			goes = now.Sub(newest) > r.cfg.Age
		}
		if !goes {
			break
		}
		before, size = s.Last+1, size-s.Bytes
	}
	return before, nil
}

// limit is the first entry that must stay.
func (r *retention) limit() commitlog.Index {
	if !r.joined() {
		return 0 // the state may be of another history: what it covers is not known
	}
	limit := commitlog.Index(r.store.DurableApplied()) + 1
	return min(limit, r.ledger.Status().Commit+1)
}

// purge moves the queues' first offsets and then deletes: a pull is told that its
// offset is too low before the entries are gone.
func (r *retention) purge(segments []commitlog.SegmentInfo, before commitlog.Index) error {
	if before > segments[0].First {
		before = commitlog.Index(r.allow(int64(before), r.pressed()))
	}
	if before <= segments[0].First {
		return nil
	}
	if err := r.store.Retain(state.Index(before)); err != nil {
		return err
	}
	// What waits for its delivery stays, and so does what has waited, for as long as
	// what was published when it was delivered.
	floor, err := r.store.Floor(state.Index(before))
	if err != nil {
		return err
	}
	if commitlog.Index(floor) < before {
		r.carry(state.Index(before))
		r.log.Debug("old segments hold messages that wait or have waited for their delivery", "begin", int64(before), "held_from", int64(floor))
	}
	if err := r.ledger.PurgeBefore(commitlog.Index(floor)); err != nil {
		return err
	}
	begin := r.ledger.Begin()
	if begin == segments[0].First {
		return nil
	}
	for _, s := range segments {
		if s.Last < begin && s.First < begin {
			r.metrics.segments.Inc()
			r.metrics.bytes.Add(float64(s.Bytes))
		}
	}
	r.purged(state.Index(begin))
	r.log.Info("old messages purged", "begin", int64(begin))
	return nil
}

// measure tells how far back the ledger reaches.
func (r *retention) measure() error {
	oldest, err := r.ledger.AppendTime(r.ledger.Begin())
	switch {
	case err == nil:
		r.metrics.oldest.Set(float64(oldest.UnixMilli()) / 1e3)
	case errors.Is(err, commitlog.ErrBeyondEnd):
		r.metrics.oldest.Set(0) // an empty ledger
	default:
		return err
	}
	return nil
}

// note counts a look that failed because an entry could not be read: that is for
// recovery and scrubbing to deal with, and no reason to stop. It stays in the log
// once, until a look succeeds.
func (r *retention) note(err error) error {
	if errors.Is(err, commitlog.ErrClosed) || errors.Is(err, commitlog.ErrFailed) {
		return err
	}
	if err != nil {
		r.metrics.failed.Inc()
		if !r.failing {
			r.log.Error("retention cannot read the ledger: nothing is purged", "error", err)
		}
	}
	r.failing = err != nil
	return nil
}
