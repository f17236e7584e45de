package broker

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	consumers "github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// GroupTiming is how the members of consumer groups are kept; the zero value is the
// default. It is for tests that have no time.
type GroupTiming struct {
	consumers.Timing
	// Heartbeat is the interval that members are given: 5 s.
	Heartbeat time.Duration
}

func (t GroupTiming) withDefaults() GroupTiming {
	fill(&t.Timing, consumers.DefaultTiming)
	fill(&t.Heartbeat, 5*time.Second)
	return t
}

// tick is how often silent members are looked for.
func (t GroupTiming) tick() time.Duration { return min(time.Second, t.Unhealthy/5) }

// groupCoordinator knows who is in the consumer groups, while this broker leads. What it
// knows is of one leadership and goes with it; what must stay goes through the ledger.
// Its goroutine alone makes grants.
type groupCoordinator struct {
	store  *state.Store
	grants *granter
	timing GroupTiming
	limit  int // sessions, over all groups
	now    func() time.Time
	log    *slog.Logger
	due    chan struct{} // capacity 1: some group is dirty

	mu struct {
		sync.Mutex
		lead     *leadership
		began    time.Time // of lead, as far as is known here
		groups   map[string]*coordinated
		sessions map[string]*coordinated
		dirty    map[string]bool // groups by name where something happened
	}
}

// coordinated is a group that has, or had just now, members.
type coordinated struct {
	name       string
	id         uint64
	generation uint64 // of the state that members was told last
	paused     bool
	kind       state.GroupAssignment
	members    *consumers.Group
	starts     map[string]*brokerv1.GroupStart // by session
	told       int64                           // version at which changed was renewed
	changed    chan struct{}                   // closed with the next version
}

func newGroupCoordinator(store *state.Store, grants *granter, timing GroupTiming, limit int, log *slog.Logger) *groupCoordinator {
	c := &groupCoordinator{store: store, grants: grants, timing: timing, limit: limit, now: time.Now, log: log, due: make(chan struct{}, 1)}
	c.mu.groups, c.mu.sessions, c.mu.dirty = map[string]*coordinated{}, map[string]*coordinated{}, map[string]bool{}
	return c
}

// enter makes lead the leadership that all that is known belongs to. What was known of an
// earlier one is dropped; its watchers end with it. False: lead is an earlier one itself.
func (c *groupCoordinator) enter(lead *leadership) bool {
	if c.mu.lead == lead {
		return true
	}
	if c.mu.lead != nil && c.mu.lead.term > lead.term {
		return false
	}
	c.mu.lead, c.mu.began = lead, c.now()
	c.mu.groups, c.mu.sessions, c.mu.dirty = map[string]*coordinated{}, map[string]*coordinated{}, map[string]bool{}
	return true
}

// with runs do on what is known under lead, and wakes whoever waits for what it changed.
func (c *groupCoordinator) with(lead *leadership, do func() *coordinated) error {
	changed, err := c.locked(lead, do)
	if changed != nil {
		close(changed)
		signal(c.due)
	}
	return err
}

func (c *groupCoordinator) locked(lead *leadership, do func() *coordinated) (changed chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.enter(lead) {
		return nil, errLeadershipOver
	}
	cg := do()
	if cg == nil || cg.members.Version() == cg.told {
		return nil, nil
	}
	changed, cg.changed = cg.changed, make(chan struct{})
	cg.told = cg.members.Version()
	c.mu.dirty[cg.name] = true
	return changed, nil
}

// join adds a session to a group that exists in the state.
func (c *groupCoordinator) join(lead *leadership, g *state.Group, j consumers.Joining, start *brokerv1.GroupStart) (string, error) {
	j.Session = fmt.Sprintf("%d-%s", lead.term, uuid.NewString())
	standings := c.standings(g.ID)
	topics := c.queuesOf(j.Topics)
	full := false
	err := c.with(lead, func() *coordinated {
		if full = len(c.mu.sessions) >= c.limit; full {
			return nil
		}
		cg := c.mu.groups[g.Name]
		if cg == nil || cg.id != g.ID {
			c.drop(cg)
			cg = &coordinated{
				name: g.Name, id: g.ID, generation: g.Generation, paused: g.Paused, kind: g.Assignment,
				members: consumers.New(consumers.Kind(g.Assignment), c.timing.Timing, c.mu.began, standings),
				starts:  map[string]*brokerv1.GroupStart{}, changed: make(chan struct{}),
			}
			c.mu.groups[g.Name] = cg
		}
		// Before it joins: it may claim queues of topics that no member has read so far.
		cg.members.SetQueues(c.now(), append(c.queuesOf(cg.members.Topics()), topics...))
		if replaced := cg.members.Join(c.now(), j); replaced != "" {
			c.forget(cg, replaced)
		}
		cg.starts[j.Session] = start
		c.mu.sessions[j.Session] = cg
		return cg
	})
	if full {
		return "", errorf(CodeLimitExceeded, "%d consumers are members of groups, the limit: see limits.max_group_members", c.limit)
	}
	return j.Session, err
}

// drop forgets a group whose name another one has now.
func (c *groupCoordinator) drop(cg *coordinated) {
	if cg == nil {
		return
	}
	for session := range cg.starts {
		delete(c.mu.sessions, session)
	}
	delete(c.mu.groups, cg.name)
}

func (c *groupCoordinator) forget(cg *coordinated, session string) {
	delete(cg.starts, session)
	delete(c.mu.sessions, session)
}

// beat notes that a session is alive and follows a version.
func (c *groupCoordinator) beat(lead *leadership, session string, version int64) (newest int64, err error) {
	known, due := false, false
	err = c.with(lead, func() *coordinated {
		cg := c.mu.sessions[session]
		if cg == nil {
			return nil
		}
		if known = cg.members.Beat(c.now(), session, version); !known {
			return nil
		}
		newest = cg.members.Version()
		if due = len(cg.members.Wanted(c.now())) > 0; due { // it may have let go of something
			c.mu.dirty[cg.name] = true
		}
		return cg
	})
	if err == nil && !known {
		err = unknownSession(session)
	}
	if due {
		signal(c.due)
	}
	return newest, err
}

func unknownSession(session string) *Error {
	return errorf(CodeUnknownSession, "there is no session %q: join again, with the queues that you own", session)
}

// told is an assignment and how to learn that there is a newer one.
type told struct {
	message *brokerv1.Assignment
	changed <-chan struct{}
}

// assignment returns what a session owns now.
func (c *groupCoordinator) assignment(lead *leadership, session string) (told, error) {
	var held []consumers.Held
	var t told
	err := c.with(lead, func() *coordinated {
		cg := c.mu.sessions[session]
		if cg == nil {
			return nil
		}
		queues, version, ok := cg.members.Assignment(session)
		if ok {
			held = queues
			t = told{changed: cg.changed, message: &brokerv1.Assignment{
				Version: version, Paused: cg.paused, Broadcast: cg.kind == state.AssignBroadcast, GroupId: cg.id,
			}}
		}
		return nil
	})
	switch {
	case err != nil:
		return told{}, err
	case t.message == nil:
		return told{}, unknownSession(session)
	}
	for _, h := range held {
		p, _ := c.store.Progress(t.message.GroupId, state.QueueID(h.ID))
		t.message.Queues = append(t.message.Queues, &brokerv1.AssignedQueue{
			Topic: h.Topic, Queue: h.Number, QueueId: uint32(h.ID), Epoch: uint64(h.Epoch), Offset: int64(p.Offset),
		})
	}
	return t, nil
}

// standings is what the ledger says of a group's queues.
func (c *groupCoordinator) standings(id uint64) map[consumers.QueueID]consumers.Standing {
	all := make(map[consumers.QueueID]consumers.Standing)
	for _, p := range c.store.GroupProgress(id) {
		all[consumers.QueueID(p.Queue)] = consumers.Standing{Epoch: consumers.Epoch(p.Epoch), Owner: consumers.Owner(p.Owner)}
	}
	return all
}

// queuesOf lists the queues of some topics.
func (c *groupCoordinator) queuesOf(topics []string) []consumers.Queue {
	var all []consumers.Queue
	for _, name := range topics {
		if t, ok := c.store.Topic(name); ok {
			for i, id := range t.Queues {
				all = append(all, consumers.Queue{ID: consumers.QueueID(id), Topic: name, Number: uint32(i)})
			}
		}
	}
	return all
}

// membersOf describes the members of a group, and who owns what.
func (c *groupCoordinator) membersOf(lead *leadership, g *state.Group) (members []*brokerv1.ConsumerMember, owners map[state.QueueID]string, topics []string) {
	owners = map[state.QueueID]string{}
	now := c.now()
	_ = c.with(lead, func() *coordinated { // a leadership that is over has no members
		cg := c.mu.groups[g.Name]
		if cg == nil || cg.id != g.ID {
			return nil
		}
		topics = cg.members.Topics()
		for _, m := range cg.members.Members() {
			members = append(members, &brokerv1.ConsumerMember{
				Member: m.Member, Topics: slices.Clone(m.Topics), Queues: int32(m.Queues()),
				HeardMs: now.Sub(m.Heard).Milliseconds(), Healthy: m.Healthy(),
			})
			for _, q := range m.Holds() {
				owners[state.QueueID(q)] = m.Member
			}
		}
		return nil
	})
	return members, owners, topics
}

// counts is how many members each group has, for those that have any.
func (c *groupCoordinator) counts(lead *leadership) map[string]int {
	all := map[string]int{}
	_ = c.with(lead, func() *coordinated {
		for name, cg := range c.mu.groups {
			all[name] = cg.members.Len()
		}
		return nil
	})
	return all
}

// refresh has a group looked at again: its state has changed.
func (c *groupCoordinator) refresh(lead *leadership, name string) {
	_ = c.with(lead, func() *coordinated {
		c.mu.dirty[name] = true
		return nil
	})
	signal(c.due)
}

// names are the groups to look at: all of them, or those where something happened.
func (c *groupCoordinator) names(lead *leadership, all bool) []string {
	var names []string
	_ = c.with(lead, func() *coordinated {
		names = slices.Collect(maps.Keys(c.mu.dirty))
		if all {
			names = slices.Collect(maps.Keys(c.mu.groups))
		}
		clear(c.mu.dirty)
		return nil
	})
	return names
}

// run looks after the groups while this broker leads, until ctx is done.
func (c *groupCoordinator) run(ctx context.Context, serving func() *leadership) error {
	tick := time.NewTicker(c.timing.tick())
	defer tick.Stop()
	for {
		all := false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			all = true
		case <-c.due:
		}
		if lead := serving(); lead != nil {
			c.look(ctx, lead, all)
		}
	}
}
