package state

import (
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Store is the applied state of one member.
type Store struct {
	cfg     Config
	db      *pebble.DB
	metrics *metrics
	failed  *failure
	gate    *gate

	work working // owned by Apply

	// What readers see, published by Apply in this order.
	catalog atomic.Pointer[catalog]
	waiting atomic.Pointer[Waiting]
	counts  producerCounts
	tip     atomic.Pointer[applied]

	flushing flushing
}

// Open opens the store in cfg.Dir, making one if there is none. It reads topics,
// producers and the newest block of each queue into memory.
// A store that cannot be trusted is a *CorruptionError.
func Open(cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, fmt.Errorf("state: metrics: %w", err)
	}
	s := &Store{cfg: cfg, metrics: metrics, failed: newFailure(), gate: newGate()}
	if s.db, err = openPebble(&cfg, s.failed, metrics); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		_ = s.db.Close() // the error that counts is the first
		return nil, err
	}
	s.flushing.durable.Store(int64(s.work.index)) // read from disk just now
	s.flushing.since.Store(cfg.Now().UnixNano())
	s.catalog.Store(s.work.snapshot())
	s.waiting.Store(s.work.waiting())
	s.counts.publish(&s.work)
	s.tip.Store(new(s.work.applied))
	s.updateGauges()
	return s, nil
}

func openPebble(cfg *Config, failed *failure, m *metrics) (*pebble.DB, error) {
	options := pebbleOptions(cfg, failed)
	m.watch(options.EventListener)
	db, err := pebble.Open(cfg.Dir, options)
	switch {
	case err == nil:
		return db, nil
	case pebble.IsCorruptionError(err):
		return nil, &CorruptionError{Dir: cfg.Dir, What: "pebble cannot open it", Err: err}
	}
	return nil, fmt.Errorf("state: open store %s: %w", cfg.Dir, err)
}

// Applied is the index of the last entry that was applied, NoIndex if none.
func (s *Store) Applied() Index { return s.tip.Load().index }

// NewestStamp is the newest append time of the applied entries, in Unix nanoseconds;
// 0: none is known. A ledger that goes on from this state stamps none before it.
func (s *Store) NewestStamp() int64 { return s.tip.Load().stamp }

// Close flushes and closes the store. Apply must have returned for good.
func (s *Store) Close() error {
	if !s.gate.close() {
		return ErrClosed
	}
	err := s.flush()
	if closeErr := s.db.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("state: close: %w", closeErr)
	}
	return err
}

// Abandon drops the store as kill -9 would: what is not flushed is lost. Apply
// must have returned for good.
func (s *Store) Abandon() {
	if s.gate.close() {
		_ = s.db.Close() // with the WAL off this writes no memtable
	}
}

func (s *Store) updateGauges() {
	s.metrics.topics.Set(float64(len(s.work.topics)))
	s.metrics.deleted.Set(float64(s.work.deleted))
	s.metrics.queues.Set(float64(len(s.work.queues)))
	s.metrics.producers.Set(float64(len(s.work.producers)))
	s.metrics.windows.Set(float64(s.work.windows))
	groups, records := s.GroupCounts()
	s.metrics.groups.Set(float64(groups))
	s.metrics.progress.Set(float64(records))
}

// corrupt builds a CorruptionError about this store.
func (s *Store) corrupt(err error, format string, args ...any) error {
	return &CorruptionError{Dir: s.cfg.Dir, What: fmt.Sprintf(format, args...), Err: err}
}
