package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// dispatchBytes is how much of the ledger one step of the dispatcher takes.
const dispatchBytes = int(mebibyte)

// flushCheck is how often the flusher looks whether a flush is due when nothing
// is applied that would tell it.
const flushCheck = 10 * time.Second

// dispatcher carries committed entries from the ledger into the state (RocketMQ:
// ReputMessageService), tells the ledger what became of them, and wakes the
// pulls that wait for them. One goroutine; after a restart it begins where the
// state ends.
type dispatcher struct {
	ledger      *dledger.Server
	store       *state.Store
	hold        *pullHold
	leaderships *leaderships
	flushDue    chan struct{} // capacity 1: to the flusher
	mayFlush    func() bool   // there is room for it on the disk

	applied   atomic.Int64
	stepBegan atomic.Pointer[time.Time] // nil: waits
	entries   []state.Entry             // reused from step to step
	replay    replayLog
}

// run applies what is committed until ctx is done. Any other error is the end of
// this process: its state can no longer follow the ledger.
func (d *dispatcher) run(ctx context.Context) error {
	applied := commitlog.Index(d.store.Applied())
	d.ledger.Applied(applied+1, nil) // where the state stands from before
	for first := true; ; first = false {
		committed, err := d.ledger.WaitCommitted(ctx, applied)
		if err != nil {
			return ended(ctx, "wait for committed entries", err)
		}
		if first {
			if err := d.joins(applied); err != nil {
				return ended(ctx, "carry the state on", err)
			}
		}
		for applied < committed {
			last, err := d.step(applied+1, committed)
			if damaged(err) {
				// The state waits for the repair; nobody but this disk is at fault.
				err = d.ledger.AwaitReadable(ctx, applied+1)
				last = applied
			}
			if err != nil {
				return ended(ctx, fmt.Sprintf("apply from entry %d on", applied+1), err)
			}
			applied = last
			d.applied.Store(int64(applied))
			d.replay.note(applied, committed, time.Now())
		}
	}
}

// ended is nil once ctx is done or the ledger ends: then errors are what stopping looks
// like. Why the ledger ends, its own Run returns, and no other error may come first.
func ended(ctx context.Context, doing string, err error) error {
	var ledger *dledger.Error
	if ctx.Err() != nil || errors.As(err, &ledger) && ledger.Code == dledger.CodeShuttingDown {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// step applies some of the entries first to last and returns the index of the
// last one that it did.
func (d *dispatcher) step(first, last commitlog.Index) (commitlog.Index, error) {
	began := time.Now()
	d.stepBegan.Store(&began)
	defer d.stepBegan.Store(nil)
	frame, err := d.ledger.Read(first, last, dispatchBytes)
	if err != nil {
		return 0, err
	}
	if frame.First != first || frame.Last < first || frame.Last > last {
		return 0, fmt.Errorf("asked for entries %d to %d, the log gave %d to %d", first, last, frame.First, frame.Last)
	}
	if d.entries, err = entriesOf(frame, d.entries[:0]); err != nil {
		return 0, err
	}
	outcomes, err := d.store.Apply(d.entries)
	if err != nil {
		return 0, err
	}
	results := make([]any, len(outcomes))
	for i, out := range outcomes {
		results[i] = out
	}
	d.ledger.Applied(first, results)
	d.leaderships.entryApplied(member.Term(d.entries[len(d.entries)-1].Term))
	d.wake(outcomes)
	if d.store.FlushDue() {
		signal(d.flushDue)
	}
	return frame.Last, nil
}

// entriesOf cuts a frame into entries.
func entriesOf(frame commitlog.Frame, into []state.Entry) ([]state.Entry, error) {
	for rest := frame.Bytes; len(rest) > 0; {
		header, body, next, err := commitlog.NextEntry(rest)
		if err != nil {
			return nil, err
		}
		into = append(into, state.Entry{
			Index: state.Index(header.Index), Term: state.Term(header.Term), Type: uint8(header.Type),
			AppendTimeUnixNano: header.AppendTime, Body: body,
		})
		rest = next
	}
	return into, nil
}

// wake lets go of the pulls for which something changed: there are new messages,
// or their queue is gone. Which queues a deleted topic had is not known here any
// more; that is rare enough to wake everyone.
func (d *dispatcher) wake(outcomes []state.Outcome) {
	var queues []state.QueueID
	for i, out := range outcomes {
		switch {
		case out.Code != state.CodeOK || out.Duplicate:
		case d.entries[i].Type == state.EntryBatch:
			if n := len(queues); n == 0 || queues[n-1] != out.Queue {
				queues = append(queues, out.Queue)
			}
		case d.entries[i].Type == state.EntryCommand && out.Topic == nil && out.ProducerID == 0:
			d.hold.wakeAll()
			return
		}
	}
	d.hold.wake(queues)
}

// flush writes the state out whenever enough has gathered, so that a restart has
// little to replay and the ledger something to purge. Not while the disk is full:
// what is applied then is in the ledger, or not even on this disk yet, and the state
// must not be ahead of that.
func (d *dispatcher) flush(ctx context.Context) error {
	tick := time.NewTicker(flushCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.flushDue:
		case <-tick.C:
		}
		if !d.store.FlushDue() || !d.mayFlush() {
			continue
		}
		if err := d.store.Flush(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("flush the state: %w", err)
		}
	}
}

// joins makes sure that the entry at which the state stands is the one that the
// ledger has there, now that the ledger has come that far: the same index and term
// are the same history.
func (d *dispatcher) joins(applied commitlog.Index) error {
	if applied == commitlog.NoIndex {
		return nil
	}
	term, err := d.ledger.TermAt(applied)
	if err != nil {
		return err
	}
	if tip := d.store.Tip(); int64(term) != int64(tip.Term) {
		return fmt.Errorf("the state ends with entry %d of term %d, the ledger has there one of term %d: they are not of the same group and moment; "+
			"remove the data directory, and this member is seeded anew", applied, tip.Term, term)
	}
	return nil
}

// replayable says whether the ledger can carry the state on. A state may be ahead
// in two ways: a seed puts it there, and a power cut may leave committed entries
// applied whose copy here was not on disk yet. A whole ledger yields it anew. One
// that begins later is waited for: nothing is applied until it has the entry at
// which the state stands, and dispatcher.joins has compared the two (ADR 0013).
func replayable(applied, begin, end commitlog.Index, dir string) (anew bool, err error) {
	switch {
	case applied > end && begin == 0:
		return true, nil
	case applied+1 < begin:
		return false, dirErrorf("data dir %s: the state has entries up to %d applied, but the ledger begins at %d: what lies between is missing. "+
			"Put back both from one copy, or seed this member anew from the others. Nothing was changed.", dir, applied, begin)
	}
	return false, nil
}

// appliedTerm returns the term of the newest applied entry, NoTerm if there is none.
func appliedTerm(ledger *dledger.Server, applied commitlog.Index) (member.Term, error) {
	if applied == commitlog.NoIndex {
		return member.NoTerm, nil
	}
	term, err := ledger.TermAt(applied)
	if errors.Is(err, commitlog.ErrPurged) || errors.Is(err, commitlog.ErrBeyondEnd) {
		return member.NoTerm, nil
	}
	if err != nil {
		return member.NoTerm, fmt.Errorf("term of the newest applied entry, %d: %w", applied, err)
	}
	return member.Term(term), nil
}

// damaged says whether an entry could not be read because this disk has lost it.
func damaged(err error) bool {
	var refused *dledger.Error
	return errors.As(err, &refused) && (refused.Code == dledger.CodeDataDamaged || refused.Code == dledger.CodeDataLost)
}
