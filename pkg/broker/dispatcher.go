package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	delivery    *delivery
	work        *workQueues
	mayFlush    func() bool // there is room for it on the disk
	flushAsked  atomic.Bool // somebody needs the state on disk before a flush is due
	need        *stateNeed
	alone       bool       // no other member has a state to give
	without     EntryRange // what the operator gives up
	log         *slog.Logger

	joined    atomic.Bool // the state is known to be of the ledger's history
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
	if ok, err := d.join(ctx, applied); err != nil || !ok {
		return ended(ctx, "carry the state on", err)
	}
	for {
		committed, err := d.ledger.WaitCommitted(ctx, applied)
		if err != nil {
			return ended(ctx, "wait for committed entries", err)
		}
		for applied < committed {
			last, err := d.step(applied+1, committed)
			if damaged(err) {
				// The state waits for the repair; nobody but this disk is at fault.
				err = d.awaitEntry(ctx, applied+1)
				last = commitlog.Index(d.store.Applied())
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

// repairPatience is for how long the state waits for the repair of an entry before it
// looks for a state that is ahead of it. A repair takes less than a second.
const repairPatience = 5 * time.Second

// awaitEntry waits until an entry that is damaged here can be read. Where that takes
// long, or no peer has it, a state that has it applied is as good: with one this
// process ends, and goes on from there.
func (d *dispatcher) awaitEntry(ctx context.Context, i commitlog.Index) error {
	soon, cancel := context.WithTimeout(ctx, repairPatience)
	defer cancel()
	readable, err := d.ledger.AwaitRepair(soon, i)
	if readable || ctx.Err() != nil || err != nil && soon.Err() == nil {
		return err
	}
	need := d.need.raise(i, fmt.Sprintf("its state waits for entry %d, which is damaged here", i))
	defer d.need.end()
	if !d.without.covers(i) {
		return d.ledger.AwaitReadable(ctx, i)
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(need.nobody, stop)()
	if err = d.ledger.AwaitReadable(waiting, i); err != nil && need.nobody.Err() != nil && ctx.Err() == nil {
		return d.goWithout(i)
	}
	return err
}

// goWithout applies nothing in the place of an entry: no member has it, no member's
// state has applied it, and the operator has said that the group is to go on. What is
// applied is the same on whichever member does it; the others get this one's state.
func (d *dispatcher) goWithout(i commitlog.Index) error {
	term, err := d.ledger.TermAt(i)
	if err != nil || !d.ledger.Lost(i) {
		return err // not lost (any more): it is asked for again
	}
	d.log.Error("DATA LOSS accepted: the state goes on without this entry, as storage.go_on_without says", "entry", int64(i))
	d.entries = append(d.entries[:0], state.Entry{
		Index: state.Index(i), Term: state.Term(term), Type: state.EntryNoop, AppendTimeUnixNano: d.store.NewestStamp(),
	})
	return d.apply(i)
}

// join waits until the ledger has come to where the state stands, and finds out
// whether that is one history. If it is not, or something is missing in between, it
// waits for another state, until ctx is done: not ok.
func (d *dispatcher) join(ctx context.Context, applied commitlog.Index) (ok bool, err error) {
	if begin := d.ledger.Begin(); applied+1 < begin {
		d.need.raise(begin-1, "it has no state that its ledger could carry on")
		<-ctx.Done()
		return false, nil
	}
	if _, err := d.ledger.WaitCommitted(ctx, applied-1); err != nil {
		return false, err
	}
	err = d.joins(applied)
	if begin := d.ledger.Begin(); errors.Is(err, errOtherHistory) && !d.alone && begin > 0 {
		d.need.raise(begin-1, err.Error())
		<-ctx.Done()
		return false, nil
	}
	d.joined.Store(err == nil)
	return err == nil, err
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
	defer frame.Release() // of what is applied, nothing keeps the bytes
	if frame.First != first || frame.Last < first || frame.Last > last {
		return 0, fmt.Errorf("asked for entries %d to %d, the log gave %d to %d", first, last, frame.First, frame.Last)
	}
	if d.entries, err = entriesOf(frame, d.entries[:0]); err != nil {
		return 0, err
	}
	return frame.Last, d.apply(first)
}

// apply applies d.entries, the first of which is first.
func (d *dispatcher) apply(first commitlog.Index) error {
	outcomes, err := d.store.Apply(d.entries)
	if err != nil {
		return err
	}
	results := make([]any, len(outcomes))
	for i, out := range outcomes {
		results[i] = out
	}
	d.ledger.Applied(first, results)
	d.leaderships.entryApplied(member.Term(d.entries[len(d.entries)-1].Term))
	d.wake(outcomes)
	d.delivery.applied(outcomes)
	if d.store.FlushDue() {
		signal(d.flushDue)
	}
	return nil
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
		case out.AboutWaiting || out.Waits:
			queues = append(queues, out.Delivered...)
		case d.entries[i].Type == state.EntryBatch:
			if n := len(queues); n == 0 || queues[n-1] != out.Queue {
				queues = append(queues, out.Queue)
			}
		case out.TopicGone:
			d.hold.wakeAll()
			d.work.wakeAll()
		}
	}
	d.hold.wake(queues)
	d.work.arrived(queues)
}

// askFlush has the state brought to disk soon.
func (d *dispatcher) askFlush() {
	d.flushAsked.Store(true)
	signal(d.flushDue)
}

// flush writes the state out whenever enough has gathered or somebody has asked, so that a restart has
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
		if asked := d.flushAsked.Swap(false); !asked && !d.store.FlushDue() || !d.mayFlush() {
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
		return &otherHistoryError{applied: applied, state: tip.Term, ledger: term}
	}
	return nil
}

// otherHistoryError says that state and ledger are not of one history. A power cut in
// page-cache mode can leave it so: the state had been flushed, and what the group then
// agreed on is something else. The state is of no use, as one that is corrupt.
type otherHistoryError struct {
	applied commitlog.Index
	state   state.Term
	ledger  commitlog.Term
}

// errOtherHistory is what an otherHistoryError is.
var errOtherHistory = errors.New("state and ledger are not of one history")

// Error says where they part, and what to do if it is not done already.
func (e *otherHistoryError) Error() string {
	return fmt.Sprintf("its state ends with entry %d of term %d, where its ledger has one of term %d: they are not of one history. "+
		"Another state is needed: from the ledger at the next start if it goes back to entry 0, else from another member", e.applied, e.state, e.ledger)
}

// Is makes it a corrupt state too: the next start builds it anew.
func (e *otherHistoryError) Is(target error) bool {
	return target == errOtherHistory || target == state.ErrCorrupt
}

// replayable says whether the ledger can carry the state on. A state may be ahead
// in two ways: a seed puts it there, and a power cut may leave committed entries
// applied whose copy here was not on disk yet. A whole ledger yields it anew. One
// that begins later is waited for: nothing is applied until it has the entry at
// which the state stands, and dispatcher.joins has compared the two (ADR 0013).
// Where something is missing between the two, another member's state is waited for;
// alone it is an error.
func replayable(applied, begin, end commitlog.Index, dir string, alone bool) (anew bool, err error) {
	switch {
	case applied > end && begin == 0:
		return true, nil
	case applied+1 < begin && alone:
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
