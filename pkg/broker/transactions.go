package broker

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxWatchers bounds the producers that wait for questions about transactions, and
// watcherRoom the questions that one of them has: one that it looks into, and one on its way.
const (
	maxWatchers = 10_000
	watcherRoom = 2
)

// lookAtOnce bounds what one look takes in, and what it deals with.
const lookAtOnce = 10_000

// transactions asks producers how open transactions end, while this broker leads
// (RocketMQ: TransactionalMessageCheckService). What is open is in the state; when
// whom was asked is this leader's memory, and begins anew with the next one. One
// goroutine; the handlers of the producers' requests tell it what they hear.
type transactions struct {
	cfg         TransactionConfig
	store       *state.Store
	proposer    *proposer
	leaderships *leaderships
	log         *slog.Logger
	ended       *prometheus.CounterVec
	wake        chan struct{} // capacity 1: a producer has room for a question
	seen        state.Index   // half messages up to this entry are taken in
	moved       int64         // as the state counts, when they were

	mu struct {
		sync.Mutex
		watchers map[uint32][]*watcher // by transaction group
		count    int
		turn     int
		open     openTransactions
	}
}

// watcher is a producer that can be asked.
type watcher struct {
	group  uint32
	checks chan transactionCheck
	has    map[*openTransaction]bool // questions that it has not answered
}

// transactionCheck is a question: how does this transaction end?
type transactionCheck struct {
	state.Transaction
	times int
}

func newTransactions(b *Broker) *transactions {
	t := &transactions{
		cfg: b.cfg.Transactions, store: b.store, leaderships: b.leaderships, log: b.log, wake: make(chan struct{}, 1), seen: state.NoIndex,
		proposer: &proposer{ledger: b.ledger, timeout: b.cfg.Limits.AckTimeout, now: time.Now},
		ended:    counterVec("broker_transactions_ended_total", "Transactions that this leader has ended, by outcome (commit, rollback, expired).", "outcome"),
	}
	t.mu.watchers = make(map[uint32][]*watcher)
	b.metrics.registry.MustRegister(t.ended, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "broker_transactions_open", Help: "Half messages whose transaction has neither been committed nor rolled back.",
	}, func() float64 { return float64(b.store.Waiting().Transactions) }))
	return t
}

// run looks at what is due now and then, in each leadership of this broker.
func (t *transactions) run(ctx context.Context) error {
	tick := time.NewTicker(max(10*time.Millisecond, min(time.Second, t.cfg.CheckAfter/4, t.cfg.CheckInterval/4, t.cfg.ExpireAfter/4)))
	defer tick.Stop()
	var lead *leadership
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-tick.C:
		}
		now := t.leaderships.serving()
		if now != lead {
			lead = now
			t.forget()
		}
		if lead == nil {
			continue
		}
		if err := t.look(ctx); err != nil {
			return ended(ctx, "look at open transactions", err)
		}
	}
}

// forget begins anew.
func (t *transactions) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen, t.mu.open = state.NoIndex, openTransactions{}
	for _, all := range t.mu.watchers {
		for _, w := range all {
			clear(w.has) // their streams end with the leadership
		}
	}
}

// look takes in what is new, asks about what is due and rolls back what is too old.
func (t *transactions) look(ctx context.Context) error {
	waiting := t.store.Waiting()
	if waiting.Moved != t.moved {
		t.moved, t.seen = waiting.Moved, state.NoIndex // to an entry that may be passed already
	}
	for waiting.Transactions > 0 {
		fresh, err := t.store.OpenTransactions(t.seen, lookAtOnce)
		if err != nil {
			return err
		}
		t.takeIn(fresh)
		if len(fresh) < lookAtOnce {
			break
		}
	}
	now := t.proposer.now()
	if err := t.expireAll(ctx, now); err != nil {
		return err
	}
	return t.askAll(now)
}

// expireAll rolls back what is too old. What is due to be asked about is ready then.
func (t *transactions) expireAll(ctx context.Context, now time.Time) error {
	for range lookAtOnce {
		o := t.nextExpired(now)
		if o == nil {
			return nil
		}
		open, err := t.store.OpenTransaction(o.Place)
		switch {
		case err != nil:
			return err
		case open:
			t.expire(ctx, o, now)
		default:
			t.over(o.ID)
		}
	}
	return nil
}

// askAll asks as many questions as there are producers to answer them.
func (t *transactions) askAll(now time.Time) error {
	for _, group := range t.groups() {
		for {
			o := t.nextReady(group)
			if o == nil {
				break
			}
			open, err := t.store.OpenTransaction(o.Place)
			switch {
			case err != nil:
				return err
			case open:
				t.ask(o, now)
			default:
				t.over(o.ID)
			}
		}
	}
	return nil
}

func (t *transactions) takeIn(fresh []state.Transaction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tx := range fresh {
		t.seen = tx.Place
		t.mu.open.take(tx, time.UnixMilli(tx.UnixMs).Add(min(t.cfg.CheckAfter, t.cfg.ExpireAfter)))
	}
}

// nextExpired is what must be rolled back, nil if nothing must.
func (t *transactions) nextExpired(now time.Time) *openTransaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	for o := t.mu.open.first(now); o != nil; o = t.mu.open.first(now) {
		e := t.expiry(o)
		if !e.After(now) || o.by == nil && o.times >= t.cfg.MaxChecks {
			return o
		}
		if o.by == nil {
			t.mu.open.makeReady(o)
		}
		t.mu.open.put(o, e)
	}
	return nil
}

// groups are those of which something may be asked now.
func (t *transactions) groups() (groups []uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for group := range t.mu.open.ready {
		if t.freeLocked(group) != nil {
			groups = append(groups, group)
		}
	}
	return groups
}

// nextReady is a transaction of a group about which somebody can be asked, nil if there is none.
func (t *transactions) nextReady(group uint32) *openTransaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.freeLocked(group) == nil {
		return nil
	}
	for o := range t.mu.open.ready[group] {
		return o
	}
	return nil
}

// expiry is when a transaction is rolled back in any case.
func (t *transactions) expiry(o *openTransaction) time.Time {
	return time.UnixMilli(o.UnixMs).Add(t.cfg.ExpireAfter)
}

// againLocked has a transaction looked at again at a time, or at its expiry.
func (t *transactions) againLocked(o *openTransaction, at time.Time) {
	if e := t.expiry(o); e.Before(at) {
		at = e
	}
	t.mu.open.put(o, at)
}

// freeLocked is a producer of a group that has room for a question.
func (t *transactions) freeLocked(group uint32) *watcher {
	all := t.mu.watchers[group]
	for i := range all {
		if w := all[(t.mu.turn+i)%len(all)]; len(w.has) < watcherRoom {
			return w
		}
	}
	return nil
}

// ask gives the question to one of the group's producers. It counts when that has answered:
// a transaction is not rolled back because nobody came to look at it.
func (t *transactions) ask(o *openTransaction, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.freeLocked(o.Group)
	if w == nil || t.mu.open.byID[o.ID] != o {
		return // gone meanwhile
	}
	t.mu.turn = (t.mu.turn + 1) % math.MaxInt32
	t.mu.open.notReady(o)
	select {
	case w.checks <- transactionCheck{o.Transaction, o.times + 1}:
		o.by, w.has[o] = w, true
	default: // its stream is on its way out
		t.againLocked(o, now.Add(t.cfg.CheckInterval))
	}
}

// expire rolls a transaction back; if that fails, a later look tries again.
func (t *transactions) expire(ctx context.Context, o *openTransaction, now time.Time) {
	_, err := t.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_EndTransaction{EndTransaction: &recordv1.EndTransaction{
		Id: int64(o.ID), Queue: uint32(o.Queue), Expired: true,
	}}})
	if err != nil {
		t.log.Debug("a transaction that is too old could not be rolled back", "entry", int64(o.ID), "error", err)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.mu.open.put(o, now.Add(t.cfg.CheckInterval/4))
		return
	}
	t.over(o.ID)
	t.ended.WithLabelValues("expired").Inc()
	t.log.Warn("a transaction was rolled back because no producer said how it ends", "entry", int64(o.ID),
		"age", now.Sub(time.UnixMilli(o.UnixMs)), "asked", o.times)
}

// over notes that a transaction has ended.
func (t *transactions) over(id state.Index) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if o := t.mu.open.byID[id]; o != nil {
		t.releaseLocked(o)
		t.mu.open.drop(o)
	}
}

// putOff notes that a producer has answered, and does not know yet; with failed it was not
// able to look, which does not count.
func (t *transactions) putOff(id state.Index, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.mu.open.byID[id]
	if o == nil || o.by == nil {
		return
	}
	t.releaseLocked(o)
	if !failed {
		o.times++
	}
	t.againLocked(o, t.proposer.now().Add(t.cfg.CheckInterval))
}

// releaseLocked takes a question back from whoever has it, and has the next one asked.
func (t *transactions) releaseLocked(o *openTransaction) {
	if o.by != nil {
		delete(o.by.has, o)
		o.by = nil
		signal(t.wake)
	}
}

// watch enters a producer, or says that there are too many; leave must follow.
func (t *transactions) watch(group uint32) (*watcher, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.count >= maxWatchers {
		return nil, errorf(CodeLimitExceeded, "%d producers wait for questions about transactions, the limit", maxWatchers)
	}
	w := &watcher{group: group, checks: make(chan transactionCheck, watcherRoom), has: make(map[*openTransaction]bool)}
	t.mu.watchers[group] = append(t.mu.watchers[group], w)
	t.mu.count++
	signal(t.wake)
	return w, nil
}

// leave takes a producer out. What it has not answered others are asked at once.
func (t *transactions) leave(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.proposer.now()
	for o := range w.has {
		t.releaseLocked(o)
		t.mu.open.put(o, now)
	}
	all := t.mu.watchers[w.group]
	for i := range all {
		if all[i] == w {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	t.mu.watchers[w.group] = all
	if len(all) == 0 {
		delete(t.mu.watchers, w.group)
	}
	t.mu.count--
}
