package broker

import (
	"context"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/lease"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// scanChunk is how many messages come into a table at once.
const scanChunk = 256

// receiving is one Receive.
type receiving struct {
	lead      *leadership
	group     *state.Group
	topic     *state.Topic
	max       int
	invisible time.Duration
	start     *brokerv1.GroupStart
	sieve     *pullFilter
	ends      streamEnds
}

// leased is a message that was taken for a Receive.
type leased struct {
	q      *workQueue
	lease  lease.Lease
	record *workRecord // nil: to be read
}

// taken is what a look at the queues of a topic found.
type taken struct {
	leases  []leased
	scan    *workQueue    // that this Receive shall read on; nil: none
	from    state.Offset  // where
	backlog []*workRecord // what was read of it before, from there on
	changed chan struct{} // closed when another look makes sense
	grace   time.Duration // for which nothing is given out
	full    bool          // there are messages, and too many are leased
	again   time.Duration // after which a queue that could not be read is tried again; 0: none is
	stuck   int           // such queues of which nothing else is known
	failed  error         // why, of one of them
}

// receive gives out messages, waiting up to wait for a first one.
func (w *workQueues) receive(ctx context.Context, r *receiving, wait time.Duration) ([]*brokerv1.WorkMessage, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		views, err := w.views(ctx, r)
		if err != nil {
			return nil, err
		}
		got, err := w.take(r, views)
		if err != nil {
			return nil, err
		}
		if len(got.leases) > 0 {
			messages, err := w.hand(ctx, r, got.leases)
			if err != nil || len(messages) > 0 {
				return messages, err
			}
			continue
		}
		if got.scan != nil {
			if err := w.scan(ctx, r, got); err != nil {
				return nil, err
			}
			continue
		}
		if got.stuck == len(views) {
			return nil, got.failed // nothing else can come
		}
		if again, err := w.awaitWork(ctx, r, got, timeout.C, wait); !again {
			return nil, err
		}
	}
}

// awaitWork waits until another look makes sense; false: the time is over, or the rest is.
func (w *workQueues) awaitWork(ctx context.Context, r *receiving, got taken, timeout <-chan time.Time, wait time.Duration) (bool, error) {
	var grace <-chan time.Time
	if d := max(got.grace, got.again); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		grace = t.C
	}
	if wait == 0 && got.grace == 0 {
		return false, tooManyLeases(r, got)
	}
	select {
	case <-got.changed:
		return true, nil
	case <-grace:
		return true, nil
	case <-timeout:
		return false, tooManyLeases(r, got)
	case <-r.ends.lost:
		return false, errLeadershipOver
	case <-r.ends.stopping:
		return false, errorf(CodeShuttingDown, "the broker is shutting down")
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// tooManyLeases is why nothing was given out although there are messages; nil: there are none.
func tooManyLeases(r *receiving, got taken) error {
	if !got.full {
		return nil
	}
	return errorf(CodeTooManyInFlight, "the consumers of group %q have too many messages of %q that are not done: at most %d of a queue and %d in all may be, and the oldest of a queue at most %d behind the newest that is",
		r.group.Name, r.topic.Name, maxQueueWork, maxGroupLeases, state.WorkWindow)
}

// views is how the queues of the topic stand, after the group was given its place in them.
func (w *workQueues) views(ctx context.Context, r *receiving) ([]workView, error) {
	for {
		var views, fresh []workView
		g, ok := w.store.GroupByID(r.group.ID)
		if !ok {
			return nil, unknownGroup(r.group.Name)
		}
		r.group = g // it may have been paused
		for _, id := range r.topic.Queues {
			v, ok := w.view(r.group.ID, id)
			switch {
			case !ok:
				return nil, errorf(CodeUnknownTopic, "topic %q was deleted", r.topic.Name)
			case v.begun():
				views = append(views, v)
			default:
				fresh = append(fresh, v)
			}
		}
		if len(fresh) == 0 {
			return views, nil
		}
		if err := w.begin(ctx, r, fresh); err != nil {
			return nil, err
		}
	}
}

// take leases what is ready, from the queues in turn; where nothing is, it says which queue
// is to be read on.
func (w *workQueues) take(r *receiving, views []workView) (got taken, err error) {
	err = w.with(r.lead, func() {
		got.changed = w.changedLocked(r.group.ID)
		now := w.now()
		if got.grace = w.mu.began.Add(workGrace).Sub(now); got.grace > 0 || r.group.Paused {
			return
		}
		got.grace = 0
		w.mu.turn++
		for i := range views {
			v := views[(w.mu.turn+i)%len(views)]
			q := w.queueLocked(r.group, v)
			if q == nil {
				continue
			}
			w.takeLocked(r, q, now, &got)
			if len(got.leases) == r.max {
				break
			}
			if got.skips(q, now) {
				continue
			}
			// What could not be settled is not given out.
			reach := max(v.first, v.progress.Offset) + state.WorkWindow - scanChunk
			full := q.table.Full() || w.mu.entries >= maxWork || q.cursor >= reach && q.cursor < v.end
			got.full = got.full || full
			if got.scan == nil && !q.scanning && !full && q.cursor < v.end {
				got.scan = q
			}
		}
		if len(got.leases) > 0 {
			got.scan = nil
		}
		if got.full {
			w.mu.stuck[r.group.ID] = true
		}
		if got.scan != nil {
			got.scan.scanning, got.from, got.backlog = true, got.scan.cursor, got.scan.backlog
		}
	})
	return got, err
}

// skips notes a queue that could not be read on a moment ago; false: it is none.
func (got *taken) skips(q *workQueue, now time.Time) bool {
	if q.failed == nil || q.failedFrom != q.cursor || q.scanning || !q.retryAt.After(now) {
		return false
	}
	if wait := q.retryAt.Sub(now); got.again == 0 || wait < got.again {
		got.again = wait
	}
	if q.table.Len() == 0 {
		got.stuck++
		got.failed = q.failed
	}
	return true
}

// takeLocked leases what is ready of one queue.
func (w *workQueues) takeLocked(r *receiving, q *workQueue, now time.Time, got *taken) {
	room := maxGroupLeases - w.mu.leased[r.group.ID]
	if room <= 0 {
		got.full = true
		return
	}
	w.touchLocked(q, func() {
		for _, l := range q.table.Take(now, min(r.max-len(got.leases), room), r.invisible) {
			got.leases = append(got.leases, leased{q, l, w.unholdLocked(q, state.Offset(l.Offset))})
			w.soonLocked(l.Until)
		}
	})
}

// scan reads a queue on and puts what is not done into its table. Whoever is told to scan
// is the only one for this queue. What cannot be read stops this queue only: it is tried
// again a moment later.
func (w *workQueues) scan(ctx context.Context, r *receiving, got taken) error {
	q, from, backlog := got.scan, got.from, got.backlog
	var err error
	if len(backlog) == 0 {
		backlog, err = w.readRecords(ctx, queue{id: q.queue, topic: q.topic, number: q.number}, from, workReadBytes)
	}
	part := backlog[:min(len(backlog), scanChunk)]
	var standings []state.WorkStanding
	if len(part) > 0 {
		standings = w.store.Work(q.workKey.group, q.queue, part[0].offset, len(part))
	}
	first, _, _ := w.store.QueueRange(q.queue)
	var unread error
	warns := false
	over := w.with(r.lead, func() {
		q.scanning, q.failed = false, nil
		if unreadable(err) {
			unread, err = err, nil
			warns = q.failLocked(w.now(), from, unread)
		}
		if q.dropped {
			return
		}
		w.touchLocked(q, func() { w.addLocked(q, part, standings) })
		w.backlogLocked(q, backlog[min(len(backlog), int(q.cursor-from)):])
		if gone(err) {
			q.cursor, err = max(q.cursor, first), nil
		}
		w.wakeLocked(q.workKey.group) // others may have waited for this
	})
	if warns {
		w.warnUnread(q, unread)
	}
	if over != nil {
		return over
	}
	return err
}

// addLocked puts messages into a table as far as there is room.
func (w *workQueues) addLocked(q *workQueue, part []*workRecord, standings []state.WorkStanding) {
	now := w.now()
	if len(standings) < len(part) {
		return // the group is gone
	}
	for i, rec := range part {
		s := standings[i]
		if !s.Done {
			m := lease.Message{
				Offset: lease.Offset(rec.offset), Group: rec.record.MessageGroup, Attempts: s.Attempts, VisibleAt: time.UnixMilli(s.VisibleAtMs),
			}
			if !q.table.Add(now, m) {
				return
			}
			w.holdLocked(q, rec)
		}
		q.cursor = rec.offset + 1
	}
	w.soonLocked(q.table.Next())
	if q.table.HasDead() {
		w.soonLocked(now)
	}
}

// hand makes messages of leases. Those that are done after all, that a filter does not want,
// or that there is no room for in the answer go back.
func (w *workQueues) hand(ctx context.Context, r *receiving, leases []leased) ([]*brokerv1.WorkMessage, error) {
	leases, err := w.fill(ctx, r, leases)
	if err != nil {
		return nil, err
	}
	kept, unwanted, err := w.sift(ctx, r, w.undone(r.lead, leases))
	if err != nil {
		w.giveBack(r.lead, leases)
		return nil, err
	}
	w.passOver(r, unwanted)
	if ctx.Err() != nil {
		w.giveBack(r.lead, kept) // nobody hears the answer
		return nil, ctx.Err()
	}
	var messages []*brokerv1.WorkMessage
	size, again := 0, 0
	for i, l := range kept {
		if size += l.record.size; i > 0 && size > w.puller.maxBytes {
			w.giveBack(r.lead, kept[i:])
			size -= l.record.size
			break
		}
		m := l.record.message(l.q.number)
		m.Attempt = uint32(l.lease.Attempt)
		m.Receipt = receipt{
			group: l.q.workKey.group, queue: l.q.queue, epoch: l.q.epoch, offset: state.Offset(l.lease.Offset),
			attempt: m.GetAttempt(), term: int64(r.lead.term), seq: l.lease.Seq,
		}.String()
		if m.GetAttempt() > 1 {
			again++
		}
		messages = append(messages, m)
	}
	w.puller.metrics.delivered(queue{topic: r.topic.Name, group: r.group.Name}, pulled{records: len(messages), size: size})
	w.metrics.redelivered(r.group.Name, r.topic.Name, again)
	return messages, nil
}

// fill reads the messages of leases that are not held in memory, up to as many bytes as an
// answer may have. The leases behind go back, and all of them with an error. What cannot be
// read is put off, and keeps nothing else from coming.
func (w *workQueues) fill(ctx context.Context, r *receiving, leases []leased) (filled []leased, err error) {
	size := 0
	for i := range leases {
		if size > w.puller.maxBytes {
			w.giveBack(r.lead, leases[i:])
			break
		}
		if leases[i].record == nil {
			err := w.readLeased(ctx, leases[i:])
			if unreadable(err) {
				w.putOff(r.lead, leases[i:i+1], err)
				continue
			}
			if err != nil {
				w.giveBack(r.lead, leases)
				return nil, err
			}
		}
		if rec := leases[i].record; rec != nil {
			size += rec.size
		}
		filled = append(filled, leases[i])
	}
	return filled, nil
}

// undone leaves out what is done, or not kept any more: an acknowledgement of a former
// lease may have come between reading and leasing.
func (w *workQueues) undone(lead *leadership, leases []leased) []leased {
	var kept, over []leased
	for _, l := range leases {
		s := w.store.Work(l.q.workKey.group, l.q.queue, state.Offset(l.lease.Offset), 1)
		if l.record == nil || len(s) == 0 || s[0].Done {
			over = append(over, l)
		} else {
			kept = append(kept, l)
		}
	}
	if len(over) > 0 {
		_ = w.with(lead, func() {
			for _, l := range over {
				w.touchLocked(l.q, func() { l.q.table.Done(w.now(), l.lease.Offset) })
			}
		})
	}
	return kept
}

// putOff ends leases on messages that cannot be given out now. They come again a moment
// later, and no attempt counts: nobody was given them.
func (w *workQueues) putOff(lead *leadership, leases []leased, why error) {
	for _, l := range leases {
		warns := false
		_ = w.with(lead, func() {
			if !l.q.table.Holds(l.lease.Offset, l.lease.Seq) {
				return
			}
			now := w.now()
			w.touchLocked(l.q, func() { l.q.table.Delay(now, l.lease.Offset, 0, now.Add(workRetry)) })
			warns = l.q.warnLocked(now)
			w.lookLocked(l.q)
		})
		if warns {
			w.warnUnread(l.q, why)
		}
	}
}

func (w *workQueues) warnUnread(q *workQueue, why error) {
	w.log.Warn("messages cannot be given out now; that is tried again, and other queues go on", "group", q.group.Name, "topic", q.topic, "queue", q.number, "error", why)
}

// giveBack ends leases as if they had never been.
func (w *workQueues) giveBack(lead *leadership, leases []leased) {
	_ = w.with(lead, func() {
		for _, l := range leases {
			w.touchLocked(l.q, func() { l.q.table.Release(w.now(), l.lease.Offset, l.lease.Seq) })
			w.wakeLocked(l.q.workKey.group)
		}
	})
}

// sift divides messages into those that a filter wants and others. One that would take too
// long to find out about is wanted: nothing is passed over by mistake.
func (w *workQueues) sift(ctx context.Context, r *receiving, leases []leased) (kept, unwanted []leased, err error) {
	f := r.sieve
	if f == nil || f.all || len(leases) == 0 {
		return leases, nil, nil
	}
	if err := f.shared.turns.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	defer f.shared.turns.Release(1)
	defer func() { f.message = recordMessage{} }() // lets go of the batches
	for _, l := range leases {
		f.message.record, f.message.stored = l.record.record, l.record.stored
		if matches, err := f.matcher.Match(&f.message); matches || err != nil {
			kept = append(kept, l)
		} else {
			unwanted = append(unwanted, l)
		}
	}
	return kept, unwanted, nil
}

// passOver makes messages done that a filter does not want. Nobody waits for that. Where it
// fails they come again, and no attempt counts: nobody was given them.
func (w *workQueues) passOver(r *receiving, leases []leased) {
	if len(leases) == 0 {
		return
	}
	var all []pinned
	err := w.with(r.lead, func() {
		for _, l := range leases {
			w.pinLocked(l.q, state.Offset(l.lease.Offset))
			all = append(all, pinned{q: l.q, offset: state.Offset(l.lease.Offset)})
		}
	})
	if err == nil {
		w.puller.metrics.heldBack(r.topic.Name, len(all))
		w.settle(r.lead, all, func(errs []error) {
			for i, err := range errs {
				if err != nil {
					w.putOff(r.lead, leases[i:i+1], err)
				}
			}
		})
	}
}
