package state

import (
	"fmt"
	"sync/atomic"
	"time"
)

// flushing is what is known about the distance between memory and disk.
type flushing struct {
	durable atomic.Int64 // Index
	pending atomic.Int64 // bytes applied since the last flush began
	since   atomic.Int64 // Unix ns of the newest of: open, begin of the last flush
}

// DurableApplied is an applied index that is surely on disk, NoIndex if none:
// after any crash Applied is at least that. It rises when Flush returns.
func (s *Store) DurableApplied() Index { return Index(s.flushing.durable.Load()) }

// FlushDue says that so much was applied, or so long ago, that Flush should be called.
func (s *Store) FlushDue() bool {
	if s.Applied() <= s.DurableApplied() {
		return false
	}
	since := time.Unix(0, s.flushing.since.Load())
	return s.flushing.pending.Load() >= s.cfg.FlushBytes || s.cfg.Now().Sub(since) >= s.cfg.FlushInterval
}

// Flush brings all that is applied to disk and waits for it. Apply goes on
// meanwhile. Any goroutine may call it. An error is final for the store.
func (s *Store) Flush() error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	return s.flush()
}

// flush is Flush for those who are inside the gate, or have closed it.
func (s *Store) flush() error {
	if err := s.failed.get(); err != nil {
		return err
	}
	// What the tip names is in Pebble already: it is published after that.
	upTo := s.tip.Load().index
	if upTo <= s.DurableApplied() {
		return nil
	}
	s.flushing.pending.Store(0)
	s.flushing.since.Store(s.cfg.Now().UnixNano())
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("state: flush: %w", err)
	}
	select {
	case <-flushed:
	case <-s.failed.happened:
		return fmt.Errorf("state: flush: %w", s.failed.get())
	}
	for {
		durable := s.flushing.durable.Load()
		if durable >= int64(upTo) || s.flushing.durable.CompareAndSwap(durable, int64(upTo)) {
			return nil
		}
	}
}
