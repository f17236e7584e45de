package group

import (
	"maps"
	"slices"
	"time"
)

// Kind is how queues are given to members.
type Kind uint8

// The kinds of assignment, numbered as in the ledger.
const (
	KindSticky    Kind = 1
	KindStatic    Kind = 2
	KindBroadcast Kind = 3
)

// Timing are the times that a Group goes by.
type Timing struct {
	// Unhealthy after which a silent member's queues are given to others: 15 s.
	Unhealthy time.Duration
	// Removed after which its session is forgotten: 30 s.
	Removed time.Duration
	// Release after which a queue that a member should let go of is taken from it: 30 s.
	Release time.Duration
}

// DefaultTiming is what a Group goes by if it is not told otherwise.
var DefaultTiming = Timing{Unhealthy: 15 * time.Second, Removed: 30 * time.Second, Release: 30 * time.Second}

// Epoch is the number under which a queue was granted; 0: it never was.
type Epoch uint64

// Owned is a queue with the epoch under which a member has it.
type Owned struct {
	Queue QueueID
	Epoch Epoch
}

// Standing is what the ledger says of a queue.
type Standing struct {
	Epoch Epoch
	// Owned is set while somebody was granted the queue and is not known to be gone.
	Owned bool
}

// Joining is a member that comes.
type Joining struct {
	Member, Session string
	Topics          []string
	// Static are the queues that a member of a static group wants.
	Static []QueueID
	// Owned are those that it claims from an earlier session.
	Owned []Owned
}

// Member is one session of a group.
type Member struct {
	Joining
	Heard   time.Time
	healthy bool
	version int64 // that it follows
	queues  map[QueueID]*holding
}

// holding is a queue in the hands of a member.
type holding struct {
	epoch    Epoch
	revoking bool      // the member is told to let go of it
	since    time.Time // of that
	version  int64     // in which that was said
}

// Group is the members of one consumer group, and what they own.
type Group struct {
	kind    Kind
	timing  Timing
	began   time.Time // of the leadership: owners that have not come are taken as heard then
	version int64
	members map[string]*Member // by session
	queues  map[QueueID]Queue
	ledger  map[QueueID]Standing
	target  map[QueueID]string // session
	mine    map[QueueID]Epoch  // granted or claimed since the leadership began
}

// New makes a Group that has no members yet. began is when the leadership did, ledger is
// what the ledger says of the group's queues; the map is the Group's own from now on.
func New(kind Kind, timing Timing, began time.Time, ledger map[QueueID]Standing) *Group {
	return &Group{kind: kind, timing: timing, began: began, members: map[string]*Member{}, queues: map[QueueID]Queue{}, ledger: ledger, mine: map[QueueID]Epoch{}}
}

// Version is the number of the newest assignment; it grows with every change.
func (g *Group) Version() int64 { return g.version }

// Len is how many members there are.
func (g *Group) Len() int { return len(g.members) }

// Members returns the members, by name.
func (g *Group) Members() []*Member {
	return slices.SortedFunc(maps.Values(g.members), func(a, b *Member) int {
		switch {
		case a.Member < b.Member:
			return -1
		case a.Member > b.Member:
			return 1
		}
		return 0
	})
}

// Topics are those that any member reads, sorted.
func (g *Group) Topics() []string {
	all := map[string]bool{}
	for _, m := range g.members {
		for _, t := range m.Topics {
			all[t] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Healthy says whether the member has been heard lately.
func (m *Member) Healthy() bool { return m.healthy }

// Queues is how many queues the member owns.
func (m *Member) Queues() int { return len(m.queues) }

// Join adds a member, in the place of an earlier session of the same name, which it
// returns: that one's queues are the new one's.
func (g *Group) Join(now time.Time, j Joining) (replaced string) {
	m := &Member{Joining: j, Heard: now, healthy: true, queues: map[QueueID]*holding{}}
	for session, old := range g.members {
		if old.Member == j.Member {
			replaced = session
			delete(g.members, session)
			for q, h := range old.queues {
				m.queues[q] = &holding{epoch: h.epoch}
			}
		}
	}
	for _, o := range j.Owned {
		if standing := g.ledger[o.Queue]; standing.Owned && standing.Epoch == o.Epoch && g.owner(o.Queue) == nil {
			m.queues[o.Queue] = &holding{epoch: o.Epoch}
			g.mine[o.Queue] = o.Epoch
		}
	}
	g.members[j.Session] = m
	g.rebalance(now)
	g.version++ // what it owned, it may not know any more
	return replaced
}

// Beat notes that a member is alive and follows a version; false: it is not known.
func (g *Group) Beat(now time.Time, session string, version int64) bool {
	m := g.members[session]
	if m == nil {
		return false
	}
	m.Heard = now
	m.version = max(m.version, version)
	for q, h := range m.queues {
		if h.revoking && m.version >= h.version {
			delete(m.queues, q)
		}
	}
	if !m.healthy {
		m.healthy = true
		g.rebalance(now)
	}
	return true
}

// Leave removes a member that goes by itself.
func (g *Group) Leave(now time.Time, session string) bool {
	if g.members[session] == nil {
		return false
	}
	delete(g.members, session)
	g.rebalance(now)
	return true
}

// Tick lets time pass: silent members lose their queues, and later their place; queues
// that should have been let go of long ago are taken.
func (g *Group) Tick(now time.Time) {
	changed := false
	for session, m := range g.members {
		silent := now.Sub(m.Heard)
		switch {
		case silent >= g.timing.Removed:
			delete(g.members, session)
			changed = true
		case silent >= g.timing.Unhealthy && m.healthy:
			m.healthy = false
			clear(m.queues)
			changed = true
		}
		for q, h := range m.queues {
			if h.revoking && now.Sub(h.since) >= g.timing.Release {
				delete(m.queues, q)
				changed = true
			}
		}
	}
	if changed {
		g.rebalance(now)
	}
}

// SetQueues says which queues the topics have now. Queues that are gone are nobody's.
func (g *Group) SetQueues(now time.Time, queues []Queue) {
	next := make(map[QueueID]Queue, len(queues))
	for _, q := range queues {
		next[q.ID] = q
	}
	if maps.Equal(next, g.queues) {
		return
	}
	g.queues = next
	for _, m := range g.members {
		maps.DeleteFunc(m.queues, func(q QueueID, _ *holding) bool { _, ok := next[q]; return !ok })
	}
	g.rebalance(now)
}

// Keep drops the queues that are not there any more, without a word to anyone: for a group
// that nobody is in.
func (g *Group) Keep(exists func(QueueID) bool) {
	maps.DeleteFunc(g.queues, func(q QueueID, _ Queue) bool { return !exists(q) })
}

// owner is the member in whose hands a queue is.
func (g *Group) owner(q QueueID) *Member {
	for _, m := range g.members {
		if m.queues[q] != nil {
			return m
		}
	}
	return nil
}

// rebalance says anew who shall own what, and has those let go who own too much.
func (g *Group) rebalance(now time.Time) {
	g.version++
	g.target = g.aim()
	for _, m := range g.members {
		for q, h := range m.queues {
			mine := g.target[q] == m.Session
			switch {
			case h.revoking && mine:
				h.revoking = false
			case !h.revoking && !mine:
				h.revoking, h.since, h.version = true, now, g.version
			}
		}
	}
}

// aim is the assignment to come to.
func (g *Group) aim() map[QueueID]string {
	owners := make(map[QueueID]string)
	var candidates []Candidate
	wishes := make(map[string][]QueueID)
	for session, m := range g.members {
		for q := range m.queues {
			owners[q] = session
		}
		if m.healthy {
			candidates = append(candidates, Candidate{session, m.Topics})
			wishes[session] = slices.DeleteFunc(slices.Clone(m.Static), func(q QueueID) bool { _, ok := g.queues[q]; return !ok })
		}
	}
	switch g.kind {
	case KindStatic:
		return Static(wishes, owners)
	case KindBroadcast:
		return nil
	}
	return Sticky(candidates, slices.Collect(maps.Values(g.queues)), owners)
}

// Grant is a queue that is to be given to a session, or to nobody.
type Grant struct {
	Queue   QueueID
	Session string // empty: nobody has it from now on
}

// Wanted are the grants that can be made now: queues that nobody holds. Queues that the
// ledger says are owned by somebody who has not come since the leadership began wait until
// that one would be given up.
func (g *Group) Wanted(now time.Time) []Grant {
	if g.kind == KindBroadcast {
		return nil
	}
	held := make(map[QueueID]bool)
	for _, m := range g.members {
		for q := range m.queues {
			held[q] = true
		}
	}
	grace := now.Sub(g.began) < g.timing.Unhealthy
	var grants []Grant
	for q := range g.queues {
		standing := g.ledger[q]
		session := g.target[q]
		switch {
		case held[q] || grace && standing.Owned && g.mine[q] != standing.Epoch:
		case session != "":
			grants = append(grants, Grant{q, session})
		case standing.Owned:
			grants = append(grants, Grant{q, ""})
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int { return int(int64(a.Queue) - int64(b.Queue)) })
	return grants
}

// Granted says that the ledger has taken a grant, under an epoch. A member that is gone
// meanwhile does not get it: the queue is free, and granted anew.
func (g *Group) Granted(gr Grant, epoch Epoch) {
	g.mine[gr.Queue] = epoch
	g.ledger[gr.Queue] = Standing{Epoch: epoch, Owned: gr.Session != ""}
	if m := g.members[gr.Session]; m != nil && g.target[gr.Queue] == gr.Session {
		m.queues[gr.Queue] = &holding{epoch: epoch}
	} else if o := g.owner(gr.Queue); o != nil { // it came back while the grant was on its way
		o.queues[gr.Queue].epoch = epoch
	}
	g.version++
}

// Refresh tells what the ledger says of the group's queues now. A queue with a newer epoch
// was reset: whoever owns it goes on under that.
func (g *Group) Refresh(ledger map[QueueID]Standing) {
	for q, standing := range ledger {
		if standing.Epoch <= g.ledger[q].Epoch {
			continue
		}
		if m := g.owner(q); m != nil {
			m.queues[q].epoch = standing.Epoch
			g.mine[q] = standing.Epoch
		}
		g.ledger[q] = standing
		g.version++
	}
}

// Changed raises the version: something that an assignment tells beside queues is new.
func (g *Group) Changed() { g.version++ }

// Held is a queue of an assignment.
type Held struct {
	Queue
	Epoch Epoch
}

// Assignment is what a session owns now, by queue, and as of which version; false: it is
// not known. In a broadcast group that is every queue of its topics.
func (g *Group) Assignment(session string) (queues []Held, version int64, ok bool) {
	m := g.members[session]
	if m == nil {
		return nil, 0, false
	}
	if g.kind == KindBroadcast {
		for _, q := range g.queues {
			if slices.Contains(m.Topics, q.Topic) {
				queues = append(queues, Held{Queue: q})
			}
		}
	}
	for q, h := range m.queues {
		if at, known := g.queues[q]; known && !h.revoking {
			queues = append(queues, Held{at, h.epoch})
		}
	}
	slices.SortFunc(queues, func(a, b Held) int { return int(int64(a.ID) - int64(b.ID)) })
	return queues, g.version, true
}

// Has says whether a session is known.
func (g *Group) Has(session string) bool { return g.members[session] != nil }

// Holds lists the queues in a member's hands, those that it should let go of among them.
func (m *Member) Holds() []QueueID { return slices.Sorted(maps.Keys(m.queues)) }
