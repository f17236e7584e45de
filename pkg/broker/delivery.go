package broker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/state"
)

const (
	// deliverChunk is how many batches one command delivers: it is applied within a
	// few milliseconds, so that publishes between two of them hardly notice.
	deliverChunk = 512
	// carryChunk and carryBytes bound what is carried forward at once.
	carryChunk = 256
	carryBytes = int(mebibyte)
	// deliveryPause follows a command that failed.
	deliveryPause = 20 * time.Millisecond
	// clockCheck is how long a timer runs at most before the wall clock is looked at
	// again: it may have been set.
	clockCheck = time.Second
)

// delivery is the leader's clock for messages that wait (RocketMQ:
// TimerMessageStore). What waits is in the state, the same on all members; the
// leader alone looks at a clock and says in a command what is due. One goroutine,
// which sleeps while another member leads.
type delivery struct {
	store       *state.Store
	ledger      *dledger.Server
	proposer    *proposer
	leaderships *leaderships
	log         *slog.Logger
	metrics     *deliveryMetrics
	wake        chan struct{} // capacity 1: something else is due first, or has to be carried
	nextDue     int64         // the dispatcher's
	ahead       atomic.Int64  // nanoseconds that its clock is ahead; for tests
	carry       atomic.Int64  // what waits before this entry has to be carried; 0: nothing
	purged      atomic.Int64  // entries before this one were purged here lately; 0: nothing new
}

func newDelivery(b *Broker) *delivery {
	d := &delivery{
		store: b.store, ledger: b.ledger, leaderships: b.leaderships, log: b.log, wake: make(chan struct{}, 1),
		proposer: &proposer{ledger: b.ledger, timeout: b.cfg.Limits.AckTimeout, now: time.Now},
	}
	d.metrics = newDeliveryMetrics(b.metrics.registry, b.store)
	return d
}

// applied is told what became of entries, by the dispatcher.
func (d *delivery) applied(outcomes []state.Outcome) {
	for i := range outcomes {
		if n := outcomes[i].DeliveredRecords; n > 0 {
			d.metrics.delivered.Add(float64(n))
		}
		if n := outcomes[i].GivenUp; n > 0 {
			d.metrics.lost.Add(float64(n))
		}
	}
	if next := d.store.Waiting().NextDue; next != d.nextDue {
		d.nextDue = next
		signal(d.wake)
	}
}

// askCarry has what waits before an entry carried forward, if this broker leads:
// retention would like to purge up to there.
func (d *delivery) askCarry(before state.Index) {
	d.carry.Store(int64(before))
	signal(d.wake)
}

// notePurged says that this member's ledger begins at an entry now.
func (d *delivery) notePurged(begin state.Index) {
	d.purged.Store(int64(begin))
	signal(d.wake)
}

// run waits for leaderships and serves each until it ends.
func (d *delivery) run(ctx context.Context) error {
	for ctx.Err() == nil {
		lead, _, _, changed := d.leaderships.now()
		if lead == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		d.lead(ctx, lead)
	}
	return nil
}

// lead proposes what is due until the leadership is over.
func (d *delivery) lead(ctx context.Context, lead *leadership) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-lead.done:
			return
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-timer.C:
		}
		timer.Reset(d.step(ctx))
	}
}

// step does one piece of work and says how long nothing else has to be done; 0:
// there is more.
func (d *delivery) step(ctx context.Context) time.Duration {
	waiting := d.store.Waiting()
	now := d.proposer.now().Add(time.Duration(d.ahead.Load())).UnixMilli()
	if waiting.NextDue != 0 && waiting.NextDue <= now {
		return d.deliver(ctx, now)
	}
	if before := d.carry.Load(); before != 0 {
		return d.carryForward(ctx, state.Index(before))
	}
	if begin := d.purged.Swap(0); begin != 0 {
		d.forgetLate(ctx, state.Index(begin))
	}
	wait := clockCheck
	if waiting.NextDue != 0 {
		wait = min(wait, time.Duration(waiting.NextDue-now)*time.Millisecond)
	}
	return wait
}

func (d *delivery) deliver(ctx context.Context, now int64) time.Duration {
	_, err := d.proposer.command(ctx, &recordv1.Command{
		Kind: &recordv1.Command_DeliverDue{DeliverDue: &recordv1.DeliverDue{UpToUnixMs: now, Limit: deliverChunk}},
	})
	return d.pause(err, "deliver what is due")
}

// pause is the time to wait after a command: none, if it did what it should.
func (d *delivery) pause(err error, doing string) time.Duration {
	if err == nil {
		return 0
	}
	d.log.Debug("messages that wait: a command failed and is tried again", "doing", doing, "error", err)
	return deliveryPause
}

// carryForward copies some of what waits before an entry to the end of the ledger
// and then says so. Copies of which nobody says so any more, because the leadership
// ended in between, do no harm.
func (d *delivery) carryForward(ctx context.Context, before state.Index) time.Duration {
	held, err := d.store.HeldBefore(before, carryChunk)
	if err != nil || len(held) == 0 {
		d.carry.CompareAndSwap(int64(before), 0)
		return d.pause(err, "look for what has to be carried forward")
	}
	bodies, held, lost := d.bodies(held)
	if len(lost) > 0 {
		return d.giveUp(ctx, lost)
	}
	if len(bodies) == 0 { // all are damaged here and may be repaired: retention will ask again
		d.carry.CompareAndSwap(int64(before), 0)
		return deliveryPause
	}
	res, err := d.proposer.propose(ctx, bodies)
	if err != nil {
		return d.pause(err, "copy what has to be carried forward")
	}
	move := &recordv1.CarryForward{}
	for i := range bodies {
		move.Ids = append(move.Ids, int64(held[i].ID))
		move.From = append(move.From, int64(held[i].Place))
		move.To = append(move.To, int64(res.First)+int64(i))
	}
	out, err := d.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_CarryForward{CarryForward: move}})
	d.metrics.carried.Add(float64(out.Count))
	return d.pause(err, "carry forward")
}

// giveUp drops a batch that waits and is lost on every disk: nobody can deliver it, and
// while it waits its segment, and all that follow, must stay. One at a time: it should
// never happen, and must be told.
func (d *delivery) giveUp(ctx context.Context, lost []state.Held) time.Duration {
	h := lost[0]
	_, err := d.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_GiveUpWaiting{
		GiveUpWaiting: &recordv1.GiveUpWaiting{Ids: []int64{int64(h.ID)}, Places: []int64{int64(h.Place)}},
	}})
	if err == nil {
		d.log.Error("DATA LOSS: a message that waited for its delivery, or for the end of its transaction, is damaged on every disk and is given up",
			"entry", int64(h.Place), "brought_by", int64(h.ID))
	}
	return d.pause(err, "give up what is lost")
}

// bodies reads copies of what is held, as many as may be carried at once, and says of
// which they are. What is damaged on this disk is left where it is, or is lost.
func (d *delivery) bodies(held []state.Held) (bodies []commitlog.Body, read, lost []state.Held) {
	size := 0
	for _, h := range held {
		body, err := d.body(commitlog.Index(h.Place))
		switch {
		case err == nil:
		case damaged(err) && d.ledger.Lost(commitlog.Index(h.Place)):
			lost = append(lost, h)
			continue
		default:
			d.log.Debug("a message that waits cannot be read and carried forward", "entry", int64(h.Place), "error", err)
			continue
		}
		bodies, read, size = append(bodies, commitlog.Body{Type: commitlog.TypeCarried, Bytes: body}), append(read, h), size+len(body)
		if size >= carryBytes {
			break
		}
	}
	return bodies, read, lost
}

// body is a copy of an entry's body.
func (d *delivery) body(at commitlog.Index) ([]byte, error) {
	frame, err := d.ledger.Read(at, at, 0)
	if err != nil {
		return nil, err
	}
	defer frame.Release()
	_, body, _, err := commitlog.NextEntry(frame.Bytes)
	return append([]byte(nil), body...), err
}

// forgetLate has the state forget what it remembers for retention about entries that are
// purged here. Where they are not yet, they soon are; if it fails, the next purge has it tried
// again.
func (d *delivery) forgetLate(ctx context.Context, begin state.Index) {
	remembers, err := d.store.RemembersLate(begin)
	if err == nil && remembers {
		_, err = d.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_ForgetLate{ForgetLate: &recordv1.ForgetLate{Before: int64(begin)}}})
	}
	if err != nil {
		d.log.Debug("what is remembered of late deliveries was not forgotten", "before", int64(begin), "error", err)
	}
}
