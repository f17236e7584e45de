package broker

import (
	"context"
	"time"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// workLook is how often the goroutine looks at the least: queues that nobody uses are
// forgotten.
const workLook = 10 * time.Second

// run ends leases and moves dead letters, in each leadership of this broker.
func (w *workQueues) run(ctx context.Context, leaderships *leaderships) error {
	for ctx.Err() == nil {
		lead, _, _, changed := leaderships.now()
		if lead == nil {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		w.lead(ctx, lead)
	}
	return nil
}

func (w *workQueues) lead(ctx context.Context, lead *leadership) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	looked := w.now()
	for {
		select {
		case <-lead.done:
			return
		case <-ctx.Done():
			return
		case <-w.due:
		case <-timer.C:
		}
		dead := w.tick(lead)
		if now := w.now(); now.Sub(looked) >= workLook {
			looked = now
			w.forget(lead)
		}
		for _, q := range dead {
			w.bury(ctx, lead, q)
		}
		timer.Reset(w.pause(lead))
	}
}

// pause is how long nothing has to be done.
func (w *workQueues) pause(lead *leadership) (wait time.Duration) {
	_ = w.with(lead, func() {
		w.mu.next = w.now().Add(workLook)
		for _, q := range w.mu.queues {
			if at := q.table.Next(); at.Before(w.mu.next) {
				w.mu.next = at
			}
			if q.table.HasDead() && q.buryAt.Before(w.mu.next) {
				w.mu.next = q.buryAt
			}
		}
		wait = max(time.Millisecond, w.mu.next.Sub(w.now()))
	})
	return wait
}

// tick lets time pass, and returns the queues that have dead letters.
func (w *workQueues) tick(lead *leadership) (dead []*workQueue) {
	var expired []pinned
	_ = w.with(lead, func() {
		now := w.now()
		for _, q := range w.mu.queues {
			w.touchLocked(q, func() {
				for _, l := range q.table.Tick(now) {
					expired = append(expired, pinned{
						q: q, offset: state.Offset(l.Offset), attempts: l.Attempt, visible: now.Add(w.backoff(q.group, l.Attempt)),
					})
				}
			})
			if q.table.Ready() > 0 {
				w.wakeLocked(q.workKey.group)
			}
			switch {
			case q.table.HasDead() && !q.buryAt.After(now):
				dead = append(dead, q)
			}
		}
	})
	for len(expired) > 0 {
		n := min(len(expired), gatherItems)
		w.settle(lead, expired[:n:n], func([]error) {})
		expired = expired[n:]
	}
	return dead
}

// forget drops what is known of queues that nobody uses, or that are outdated: what is to be
// known can be had again from the state.
func (w *workQueues) forget(lead *leadership) {
	var all []*workQueue
	_ = w.with(lead, func() {
		for _, q := range w.mu.queues {
			all = append(all, q)
		}
	})
	over := map[*workQueue]bool{}
	for _, q := range all {
		over[q] = w.outdated(q)
	}
	_ = w.with(lead, func() {
		now := w.now()
		for _, q := range all {
			if q.scanning || q.table.Pinned() > 0 {
				continue
			}
			idle := now.Sub(q.used) > workIdle && q.table.Leased() == 0 && !q.table.HasDead()
			if idle || over[q] {
				w.dropLocked(q)
			}
		}
	})
}

// outdated says that what is known of a queue is of before a reset, or that its group or its
// topic is gone: nothing of it can be stored any more.
func (w *workQueues) outdated(q *workQueue) bool {
	_, exists := w.store.GroupByID(q.workKey.group)
	_, _, known := w.store.QueueRange(q.queue)
	p, _ := w.store.Progress(q.workKey.group, q.queue)
	return !exists || !known || p.Epoch != q.epoch
}

// begin gives a group its place in queues in which it is nowhere yet. One request at a time
// does so: each grant begins another epoch.
func (w *workQueues) begin(ctx context.Context, r *receiving, fresh []workView) error {
	var mine bool
	var changed chan struct{}
	err := w.with(r.lead, func() {
		if mine = !w.mu.beginning[r.group.ID]; mine {
			w.mu.beginning[r.group.ID] = true
		}
		changed = w.changedLocked(r.group.ID)
	})
	if err != nil {
		return err
	}
	if !mine {
		select {
		case <-changed:
			return nil
		case <-r.ends.lost:
			return errLeadershipOver
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() {
		_ = w.with(r.lead, func() {
			delete(w.mu.beginning, r.group.ID)
			w.wakeLocked(r.group.ID)
		})
	}()
	return w.grant(ctx, r.group, fresh, func(q state.QueueID) (state.Offset, error) {
		if w.finder.grown(r.group.ID, q) {
			return w.finder.start(q, nil)
		}
		return w.finder.start(q, r.start)
	})
}

// grant gives a group its place in queues, where it still has none.
func (w *workQueues) grant(ctx context.Context, g *state.Group, fresh []workView, start func(state.QueueID) (state.Offset, error)) error {
	cmd := &recordv1.GrantQueues{GroupId: g.ID}
	var ids []state.QueueID
	for _, v := range fresh {
		if p, _ := w.store.Progress(g.ID, v.id); p.Offset != state.NoOffset {
			continue
		}
		at, err := start(v.id)
		if err != nil {
			return err
		}
		ids = append(ids, v.id)
		cmd.Grants = append(cmd.Grants, &recordv1.QueueGrant{QueueId: uint32(v.id), Start: int64(at), Owned: true})
	}
	if len(ids) == 0 {
		return nil
	}
	if err := w.room.progress(g.ID, ids); err != nil {
		return err
	}
	_, err := w.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_GrantQueues{GrantQueues: cmd}})
	return err
}
