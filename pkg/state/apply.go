package state

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Apply applies committed entries, the first of which follows Applied, and says
// what became of each. All of them reach the store together or, after a crash,
// not at all. One goroutine at a time.
//
// An *UnsupportedError says that the entry behind the returned outcomes is beyond
// this build; those before it are applied. Any other error is final.
func (s *Store) Apply(entries []Entry) ([]Outcome, error) {
	if !s.gate.enter() {
		return nil, ErrClosed
	}
	defer s.gate.leave()
	if err := s.check(entries); err != nil {
		return nil, err
	}
	began := s.cfg.Now()
	outcomes, unsupported, err := s.applyAll(entries)
	if err != nil {
		s.failed.set(err)
		return nil, err
	}
	s.publish()
	s.metrics.apply.Observe(s.cfg.Now().Sub(began).Seconds())
	return outcomes, unsupported
}

// check refuses entries that do not continue what is applied.
func (s *Store) check(entries []Entry) error {
	if err := s.failed.get(); err != nil {
		return fmt.Errorf("state: the store failed before: %w", err)
	}
	at, term := s.work.index, s.work.term
	for i := range entries {
		e := &entries[i]
		if e.Index != at+1 || e.Term < term {
			return fmt.Errorf("state: entry %d of term %d does not follow entry %d of term %d", e.Index, e.Term, at, term)
		}
		at, term = e.Index, e.Term
	}
	return nil
}

// applyAll judges the entries and commits what they change as one Pebble batch.
func (s *Store) applyAll(entries []Entry) (outcomes []Outcome, unsupported, err error) {
	out := s.db.NewBatch()
	defer func() { _ = out.Close() }()
	outcomes = make([]Outcome, len(entries))
	for i := range entries {
		if unsupported = s.applyEntry(out, &entries[i], &outcomes[i]); unsupported == nil {
			continue
		}
		if !errors.Is(unsupported, ErrUnsupported) {
			return nil, nil, unsupported
		}
		outcomes = outcomes[:i]
		break
	}
	if len(outcomes) == 0 {
		return outcomes, unsupported, nil
	}
	s.work.store(out)
	if err := out.Commit(pebble.NoSync); err != nil {
		return nil, nil, fmt.Errorf("state: apply entries %d to %d: %w", entries[0].Index, s.work.index, err)
	}
	return outcomes, unsupported, nil
}

// applyEntry applies one entry; its error is an UnsupportedError, and then
// nothing has changed, or one of the store, which is final.
func (s *Store) applyEntry(out *pebble.Batch, e *Entry, o *Outcome) error {
	s.work.now = max(s.work.stamp, e.AppendTimeUnixNano) / int64(time.Millisecond)
	switch e.Type {
	case EntryBatch:
		outcome, err := s.work.applyBatch(out, e)
		if err != nil {
			return err
		}
		*o = outcome
		if o.Duplicate {
			s.metrics.duplicates.Inc()
		}
	case EntryCommand:
		outcome, err := s.work.applyCommand(out, e)
		if err != nil {
			return err
		}
		*o = outcome
	case EntryNoop, EntryConfigChange, EntryCarried: // the ledger's business; a CarryForward says what copies are for
		*o = Outcome{BaseOffset: NoOffset}
	default:
		return &UnsupportedError{Index: e.Index, What: fmt.Sprintf("type %d", e.Type)}
	}
	w := &s.work
	w.hash = roll(w.hash, e, o)
	w.index, w.term, w.stamp = e.Index, e.Term, max(w.stamp, e.AppendTimeUnixNano)
	w.bytes += int64(len(e.Body))
	return nil
}

// store writes what a call changed and what has not been written on the way.
func (w *working) store(out *pebble.Batch) {
	for _, q := range w.queuesChanged {
		if !q.gone.Load() {
			w.storeBlock(out, q)
		}
	}
	for _, window := range w.windowsChanged {
		window.dirty = false
		if w.queues[window.queue] != nil && !window.gone {
			w.key = appendWindowKey(w.key[:0], window.queue, window.producer)
			w.value = window.append(w.value[:0])
			set(out, w.key, w.value)
		}
	}
	w.storeProgress(out)
	w.storeWork(out)
	w.value = w.applied.append(w.value[:0])
	set(out, appliedKey(), w.value)
}

func (w *working) storeBlock(out *pebble.Batch, q *queue) {
	w.key = appendBlockKey(w.key[:0], q.id, q.open.first)
	set(out, w.key, q.open.bytes)
}

// publish lets readers see what was applied, the tip last.
func (s *Store) publish() {
	w := &s.work
	for _, q := range w.queuesChanged {
		q.publish()
	}
	if w.catalogChanged {
		s.catalog.Store(w.snapshot())
	}
	s.waiting.Store(w.waiting())
	s.counts.publish(w)
	s.tip.Store(new(w.applied))
	s.flushing.pending.Add(w.bytes)
	s.updateGauges()
	clear(w.queuesChanged)
	clear(w.windowsChanged)
	w.queuesChanged, w.windowsChanged = w.queuesChanged[:0], w.windowsChanged[:0]
	w.catalogChanged, w.bytes = false, 0
}

// set, del and delRange change a batch that is in memory only: Pebble has no
// error to give but for a batch that is already committed, which is our bug.
func set(out *pebble.Batch, key, value []byte) { must(out.Set(key, value, nil)) }

func del(out *pebble.Batch, key []byte) { must(out.Delete(key, nil)) }

func delRange(out *pebble.Batch, from, to []byte) { must(out.DeleteRange(from, to, nil)) }

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("state: pebble batch: %v", err))
	}
}
