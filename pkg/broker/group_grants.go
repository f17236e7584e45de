package broker

import (
	"context"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	consumers "github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// maxGrantBodies is how many groups' grants go through the ledger together.
const maxGrantBodies = 256

// granter carries grants through the ledger.
type granter struct {
	proposer *proposer
	finder   *offsetFinder
	room     *groupRoom
}

// wanted are the grants of one group.
type wanted struct {
	name   string
	id     uint64
	grants []consumers.Grant
	starts []*brokerv1.GroupStart // of each
}

// look lets time pass for some groups, tells them what is new in the state, and makes the
// grants that can be made.
func (c *groupCoordinator) look(ctx context.Context, lead *leadership, all bool) {
	var work []wanted
	for _, name := range c.names(lead, all) {
		if w := c.lookAt(lead, name); len(w.grants) > 0 {
			work = append(work, w)
		}
		if len(work) == maxGrantBodies {
			c.grant(ctx, lead, work)
			work = nil
		}
	}
	if len(work) > 0 {
		c.grant(ctx, lead, work)
	}
}

// lookAt does so for one group, and returns the grants that it wants.
func (c *groupCoordinator) lookAt(lead *leadership, name string) (w wanted) {
	g, exists := c.store.Group(name)
	stale := false
	_ = c.with(lead, func() *coordinated {
		cg := c.mu.groups[name]
		if cg == nil {
			return nil
		}
		if !exists || cg.id != g.ID {
			c.drop(cg)
			return nil
		}
		stale = cg.generation != g.Generation
		return nil
	})
	var standings map[consumers.QueueID]consumers.Standing
	if stale {
		standings = c.standings(g.ID)
	}
	_ = c.with(lead, func() *coordinated {
		cg := c.mu.groups[name]
		if cg == nil || !exists || cg.id != g.ID {
			return nil
		}
		w = c.update(cg, g, standings, c.queuesOf(cg.members.Topics()))
		return cg
	})
	return w
}

// update tells a group what is new.
func (c *groupCoordinator) update(cg *coordinated, g *state.Group, standings map[consumers.QueueID]consumers.Standing, queues []consumers.Queue) wanted {
	now := c.now()
	cg.members.Refresh(standings)
	cg.generation = max(cg.generation, g.Generation)
	if cg.members.Len() > 0 {
		cg.members.SetQueues(now, queues)
	} else { // what the last ones had is still to be released
		cg.members.Keep(func(q consumers.QueueID) bool { _, _, ok := c.store.QueueRange(state.QueueID(q)); return ok })
	}
	if cg.paused != g.Paused {
		cg.paused = g.Paused
		cg.members.Changed()
	}
	cg.members.Tick(now)
	for session := range cg.starts {
		if !cg.members.Has(session) {
			c.forget(cg, session)
		}
	}
	w := wanted{name: cg.name, id: cg.id, grants: cg.members.Wanted(now)}
	for _, gr := range w.grants {
		w.starts = append(w.starts, cg.starts[gr.Session])
	}
	if len(w.grants) == 0 && cg.members.Len() == 0 && now.Sub(c.mu.began) >= c.timing.Unhealthy {
		delete(c.mu.groups, cg.name)
	}
	return w
}

// grant carries the grants of some groups through the ledger together.
func (c *groupCoordinator) grant(ctx context.Context, lead *leadership, work []wanted) {
	var bodies []commitlog.Body
	var asked []wanted
	for _, w := range work {
		body, err := c.grants.body(&w, c.now())
		if err != nil {
			c.log.Warn("queues of a consumer group are not granted now", "group", w.name, "error", err)
			continue // the next tick tries again
		}
		if len(w.grants) > 0 {
			bodies, asked = append(bodies, commitlog.Body{Type: commitlog.TypeCommand, Bytes: body}), append(asked, w)
		}
	}
	if len(bodies) == 0 {
		return
	}
	res, err := c.grants.proposer.propose(ctx, bodies)
	if err != nil {
		c.log.Debug("queues of consumer groups are not granted now", "groups", len(bodies), "error", err)
		return // if they were all the same, the next look finds new epochs in the state
	}
	for i, w := range asked {
		out, ok := res.Outcomes[i].(state.Outcome)
		if !ok || out.Code != state.CodeOK {
			c.log.Warn("queues of a consumer group are not granted", "group", w.name, "code", out.Code, "reason", out.Message)
			continue
		}
		_ = c.with(lead, func() *coordinated { return c.granted(w, out) })
	}
}

// granted enters grants that the ledger has taken.
func (c *groupCoordinator) granted(w wanted, out state.Outcome) *coordinated {
	cg := c.mu.groups[w.name]
	if cg == nil || cg.id != w.id {
		return nil
	}
	for _, gr := range w.grants {
		cg.members.Granted(gr, consumers.Epoch(out.Group.Generation))
	}
	if cg.generation == out.Group.Generation-1 {
		cg.generation = out.Group.Generation // nothing else happened in between
	}
	return cg
}

// body is the entry for the grants of a group. Queues that are gone are left out.
func (g *granter) body(w *wanted, now time.Time) ([]byte, error) {
	cmd := &recordv1.GrantQueues{GroupId: w.id}
	var kept []consumers.Grant
	var failed error
	for i, gr := range w.grants {
		start, ok, err := g.start(w, gr, w.starts[i])
		if err != nil { // of one queue: the others do not wait for it
			failed = err
			continue
		}
		if ok {
			kept = append(kept, gr)
			cmd.Grants = append(cmd.Grants, &recordv1.QueueGrant{QueueId: uint32(gr.Queue), Start: int64(start), Owned: gr.Session != "", Owner: uint64(gr.Owner)})
		}
	}
	w.grants = kept
	if len(kept) == 0 && failed != nil {
		return nil, failed
	}
	if err := g.room.grant(w.id, kept); err != nil {
		return nil, err
	}
	return state.AppendCommand(nil, &recordv1.Command{TimeUnixMs: now.UnixMilli(), Kind: &recordv1.Command_GrantQueues{GrantQueues: cmd}})
}

// start is where a group begins in a queue, if it has no progress there.
func (g *granter) start(w *wanted, gr consumers.Grant, at *brokerv1.GroupStart) (start state.Offset, ok bool, err error) {
	q := state.QueueID(gr.Queue)
	if _, _, known := g.finder.store.QueueRange(q); !known {
		return 0, false, nil
	}
	if p, _ := g.finder.store.Progress(w.id, q); p.Offset != state.NoOffset || gr.Session == "" {
		return 0, true, nil
	}
	if g.finder.grown(w.id, q) {
		at = nil
	}
	start, err = g.finder.start(q, at)
	return start, err == nil, err
}
