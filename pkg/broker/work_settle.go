package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/lease"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// pinned is a message of which something is on its way through the ledger: it is done, or
// was tried in vain.
type pinned struct {
	q        *workQueue
	offset   state.Offset
	attempts int // 0: it is done
	visible  time.Time
}

// pinLocked keeps a message from being given out until settle says what came of it.
func (w *workQueues) pinLocked(q *workQueue, o state.Offset) {
	w.touchLocked(q, func() { q.table.Pin(lease.Offset(o)) })
	w.unholdLocked(q, o)
}

// settle stores what became of pinned messages; then is told of each, in order, what came
// of that. It does not wait.
func (w *workQueues) settle(lead *leadership, all []pinned, then func([]error)) {
	order := make([]int, len(all)) // places in all, so that neighbours stand together
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := &all[a], &all[b]
		return cmp.Or(cmp.Compare(x.q.workKey.group, y.q.workKey.group), cmp.Compare(x.q.queue, y.q.queue),
			cmp.Compare(x.attempts, y.attempts), cmp.Compare(x.offset, y.offset))
	})
	items, of := w.items(all, order)
	done := func(res gathered) {
		errs := make([]error, len(all))
		for i := range all {
			if errs[i] = res.err; res.err == nil {
				errs[i] = settleError(&all[i], res.results[of[i]])
			}
		}
		w.settled(lead, all, errs)
		then(errs)
	}
	if err := w.gatherer.submit(items, done); err != nil {
		done(gathered{err: err})
	}
}

// items are what goes into the ledger, and which of them each pinned message is in.
func (w *workQueues) items(all []pinned, order []int) (items []*recordv1.WorkItem, of []int) {
	of = make([]int, len(all))
	var before *pinned
	for _, n := range order {
		p := &all[n]
		joins := before != nil && before.q == p.q && before.attempts == 0 && p.attempts == 0
		switch {
		case joins && p.offset == before.offset:
		case joins && p.offset == before.offset+1:
			items[len(items)-1].Count++
		default:
			first, _, _ := w.store.QueueRange(p.q.queue)
			item := &recordv1.WorkItem{
				GroupId: p.q.workKey.group, QueueId: uint32(p.q.queue), Epoch: p.q.epoch, Low: int64(first), Offset: int64(p.offset),
			}
			if p.attempts == 0 {
				item.Count = 1
			} else {
				item.Attempts, item.VisibleAtUnixMs = uint32(p.attempts), p.visible.UnixMilli()
			}
			items = append(items, item)
		}
		of[n] = len(items) - 1
		before = p
	}
	return items, of
}

// settleError is what a refusal means to a consumer.
func settleError(p *pinned, r state.CommitResult) error {
	switch r.Code {
	case state.CodeOK:
		return nil
	case state.CodeStaleGeneration:
		return receiptExpired(p.offset, p.q.topic, p.q.number, "its group was reset")
	}
	return errorf(Code(r.Code), "offset %d of %s/%d was not settled for the consumer group %q, which is at %d", p.offset, p.q.topic, p.q.number, p.q.group.Name, r.Offset)
}

func receiptExpired(o state.Offset, topic string, number uint32, why string) *Error {
	return errorf(CodeReceiptExpired, "the receipt of offset %d of %s/%d is not valid any more: %s", o, topic, number, why)
}

// settled enters what came of pinned messages.
func (w *workQueues) settled(lead *leadership, all []pinned, errs []error) {
	var warns *workQueue
	var why error
	_ = w.with(lead, func() { // a leadership that is over has no leases
		now := w.now()
		for i, p := range all {
			w.touchLocked(p.q, func() {
				switch o := lease.Offset(p.offset); {
				case errs[i] != nil && p.attempts > 0 && p.q.table.Free(o):
					p.q.table.Delay(now, o, 0, p.visible) // it waits, though the attempt is not counted
					if p.q.warnLocked(now) {
						warns, why = p.q, errs[i]
					}
				case errs[i] != nil:
				case p.attempts == 0:
					p.q.table.Done(now, o)
				default:
					p.q.table.Delay(now, o, p.attempts, p.visible)
				}
				p.q.table.Unpin(now, lease.Offset(p.offset))
			})
			w.lookLocked(p.q)
		}
	})
	if warns != nil {
		w.log.Warn("attempts in vain are not counted now; the messages come again as if they had been", "group", warns.group.Name, "topic", warns.topic, "queue", warns.number, "error", why)
	}
}

// lookLocked has somebody look at a queue of which something has changed.
func (w *workQueues) lookLocked(q *workQueue) {
	if q.dropped {
		return
	}
	if q.table.Ready() > 0 || w.mu.stuck[q.workKey.group] {
		delete(w.mu.stuck, q.workKey.group)
		w.wakeLocked(q.workKey.group)
	}
	if q.table.HasDead() {
		w.soonLocked(q.buryAt)
	}
	w.soonLocked(q.table.Next())
}

// verdict is what a consumer says of messages.
type verdict struct {
	ack   bool
	delay time.Duration // of a Nack; negative: as the back-off says
}

// judge stores what a consumer says of messages, by their receipts. The errors are each
// one's own; err is about all of them.
func (w *workQueues) judge(ctx context.Context, lead *leadership, receipts []string, v verdict) (errs []error, err error) {
	errs = make([]error, len(receipts))
	var all []pinned
	var whose []int
	for i, text := range receipts {
		p, pins, err := w.pinReceipt(lead, text, v)
		if errs[i] = err; pins {
			all, whose = append(all, p), append(whose, i)
		}
	}
	if len(all) == 0 {
		return errs, nil
	}
	outcome := make(chan []error, 1)
	w.settle(lead, all, func(errs []error) { outcome <- errs })
	timeout := time.NewTimer(w.gatherer.timeout)
	defer timeout.Stop()
	select {
	case results := <-outcome:
		for i, e := range results {
			if e != nil && ownCode(e) {
				errs[whose[i]] = e
			} else if e != nil {
				return nil, e
			}
		}
		return errs, nil
	case <-timeout.C:
		return nil, errorf(CodeQuorumAckTimeout, "no majority acknowledged within %v", w.gatherer.timeout)
	case <-ctx.Done():
		return nil, errorf(CodeQuorumAckTimeout, "the request ended before a majority acknowledged: %v", ctx.Err())
	}
}

// ownCode says that an error is about one message, and not about the way to the ledger.
func ownCode(err error) bool {
	own := ownError(err)
	if own == nil {
		return false
	}
	switch own.Code {
	case CodeReceiptExpired, CodeUnknownGroup, CodeUnknownQueue, CodeGroupMismatch, CodeOffsetTooHigh, CodeLimitExceeded:
		return true
	default:
		return false
	}
}

// pinReceipt pins the message of a receipt, if that is valid. Without a pin and an error
// there is nothing to do: it is done already.
func (w *workQueues) pinReceipt(lead *leadership, text string, v verdict) (p pinned, pins bool, err error) {
	r, err := parseReceipt(text)
	if err != nil {
		return p, false, err
	}
	g, view, err := w.receiptQueue(r)
	if err != nil {
		return p, false, err
	}
	standing := w.store.Work(r.group, r.queue, r.offset, 1)
	if len(standing) > 0 && standing[0].Done {
		if v.ack {
			return p, false, nil
		}
		return p, false, receiptExpired(r.offset, view.topic, view.number, "the message is done")
	}
	over := w.with(lead, func() {
		q := w.queueLocked(g, view)
		holds := q != nil && r.term == int64(lead.term) && q.table.Holds(lease.Offset(r.offset), r.seq)
		if q == nil || !holds && !q.table.Free(lease.Offset(r.offset)) {
			err = receiptExpired(r.offset, view.topic, view.number, "the message was given out again")
			return
		}
		w.pinLocked(q, r.offset)
		p, pins = pinned{q: q, offset: r.offset}, true
		if !v.ack {
			p.attempts, p.visible = int(r.attempt), w.now().Add(v.delay)
			if v.delay < 0 {
				p.visible = w.now().Add(w.backoff(g, p.attempts))
			}
		}
	})
	if over != nil {
		return p, false, over
	}
	return p, pins, err
}

// receiptQueue finds the group and the queue of a receipt, as they stand.
func (w *workQueues) receiptQueue(r receipt) (*state.Group, workView, error) {
	g, ok := w.store.GroupByID(r.group)
	if !ok || g.Work == nil {
		return nil, workView{}, errorf(CodeUnknownGroup, "the consumer group of the receipt was deleted")
	}
	view, ok := w.view(r.group, r.queue)
	if !ok || r.offset >= view.end {
		return nil, workView{}, errorf(CodeUnknownQueue, "the queue of the receipt was deleted")
	}
	if view.progress.Epoch != r.epoch || r.attempt == 0 {
		return nil, workView{}, receiptExpired(r.offset, view.topic, view.number, "its group was reset")
	}
	return g, view, nil
}

// backoff is how long after so many attempts a message is delivered again.
func (w *workQueues) backoff(g *state.Group, attempts int) time.Duration {
	c := lease.Config{BackoffMin: time.Duration(g.Work.BackoffMinMs) * time.Millisecond, BackoffMax: time.Duration(g.Work.BackoffMaxMs) * time.Millisecond}
	return c.Backoff(attempts)
}

// extend has leases end at another time.
func (w *workQueues) extend(lead *leadership, receipts []string, invisible time.Duration) ([]error, error) {
	return w.eachLease(lead, receipts, func(q *workQueue, r receipt) bool {
		now := w.now()
		if !q.table.Extend(now, lease.Offset(r.offset), r.seq, now.Add(invisible)) {
			return false
		}
		w.soonLocked(now.Add(invisible))
		return true
	})
}

// release ends leases as if they had never been: nobody has begun with the messages.
func (w *workQueues) release(lead *leadership, receipts []string) ([]error, error) {
	return w.eachLease(lead, receipts, func(q *workQueue, r receipt) bool {
		if !q.table.Holds(lease.Offset(r.offset), r.seq) {
			return false
		}
		w.touchLocked(q, func() { q.table.Release(w.now(), lease.Offset(r.offset), r.seq) })
		w.lookLocked(q)
		return true
	})
}

// eachLease does something with leases that this leadership gave out, under the mutex; false:
// the lease has ended. Nothing of it goes through the ledger.
func (w *workQueues) eachLease(lead *leadership, receipts []string, do func(*workQueue, receipt) bool) ([]error, error) {
	errs := make([]error, len(receipts))
	for i, text := range receipts {
		r, err := parseReceipt(text)
		if err != nil {
			errs[i] = err
			continue
		}
		g, view, err := w.receiptQueue(r)
		if err != nil {
			errs[i] = err
			continue
		}
		over := w.with(lead, func() {
			q := w.queueLocked(g, view)
			if q == nil || r.term != int64(lead.term) || !do(q, r) {
				errs[i] = receiptExpired(r.offset, view.topic, view.number, "its lease has ended")
			}
		})
		if over != nil {
			return nil, over
		}
	}
	return errs, nil
}
