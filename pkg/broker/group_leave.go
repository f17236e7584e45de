package broker

import (
	"context"
	"slices"
	"time"

	consumers "github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// leaveWait is how long a session that leaves waits for the ledger to take its queues from
// it. Longer, and they are free on this leader alone.
const leaveWait = 2 * time.Second

// leave removes a session, and returns when the ledger says that its queues are not its
// any more: a next leader that had not heard of it would keep them for an owner that
// is gone, until it would have been given up.
func (c *groupCoordinator) leave(ctx context.Context, lead *leadership, session string) error {
	var held []consumers.Owned
	var who consumers.Owner
	var left *coordinated
	err := c.with(lead, func() *coordinated {
		if left = c.mu.sessions[session]; left != nil {
			held, who = left.members.Holding(session)
			left.members.Leave(c.now(), session)
			c.forget(left, session)
		}
		return left
	})
	if err != nil {
		return err
	}
	if left == nil {
		return unknownSession(session)
	}
	ctx, cancel := context.WithTimeout(ctx, leaveWait)
	defer cancel()
	for {
		changed := c.changes(left)
		if !slices.ContainsFunc(held, func(h consumers.Owned) bool { return c.owned(left.id, h, who) }) {
			return nil
		}
		select {
		case <-changed:
		case <-lead.done:
			return errLeadershipOver
		case <-ctx.Done():
			return nil
		}
	}
}

// owned tells whether a queue is still owned as it was held, or by who held it.
func (c *groupCoordinator) owned(group uint64, h consumers.Owned, who consumers.Owner) bool {
	p, _ := c.store.Progress(group, state.QueueID(h.Queue))
	return p.Owner != state.OwnerNobody && (p.Epoch == uint64(h.Epoch) || p.Owner == uint64(who))
}

// changes is closed with a group's next version.
func (c *groupCoordinator) changes(cg *coordinated) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return cg.changed
}
