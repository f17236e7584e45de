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
	// Owner was granted the queue and is not known to be gone.
	Owner Owner
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
	owner   Owner // the number of its name
	healthy bool
	version int64 // that it follows
	queues  map[QueueID]*holding
}

// holding is a queue in the hands of a member.
type holding struct {
	epoch    Epoch     // 0: it is to be granted to the member again before it is told
	reading  bool      // of epoch 0: the member may read it, under an epoch that is over
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
	settled map[QueueID]Epoch  // whose owner has come since the leadership began
}

// New makes a Group that has no members yet. began is when the leadership did, ledger is
// what the ledger says of the group's queues; the map is the Group's own from now on.
func New(kind Kind, timing Timing, began time.Time, ledger map[QueueID]Standing) *Group {
	return &Group{kind: kind, timing: timing, began: began, members: map[string]*Member{}, queues: map[QueueID]Queue{}, ledger: ledger, settled: map[QueueID]Epoch{}}
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
// returns: that one's queues are the new one's, as are those that the ledger says were
// granted to the name. It goes on under an epoch only if it claims exactly that. Else
// nobody can tell whether it is the one that was told of the epoch, or has only its name:
// it is granted the queue again, which fences the other one.
func (g *Group) Join(now time.Time, j Joining) (replaced string) {
	m := &Member{Joining: j, Heard: now, owner: OwnerOf(j.Member), healthy: true, queues: map[QueueID]*holding{}}
	claims := make(map[QueueID]Epoch, len(j.Owned))
	for _, o := range j.Owned {
		claims[o.Queue] = max(claims[o.Queue], o.Epoch)
	}
	for session, old := range g.members {
		if old.Member == j.Member {
			replaced = session
			delete(g.members, session)
			for q, h := range old.queues {
				m.come(q, h.epoch, claims)
			}
		}
	}
	for q, standing := range g.ledger {
		if known := claims[q] == standing.Epoch; standing.Owner == Nobody || !known && standing.Owner != m.owner {
			continue
		}
		if g.settled[q] = standing.Epoch; m.queues[q] == nil && g.owner(q) == nil {
			m.come(q, standing.Epoch, claims)
		}
	}
	g.members[j.Session] = m
	g.rebalance(now)
	g.version++ // what it owned, it may not know any more
	return replaced
}

// come puts a queue that has an epoch in the hands of a member that comes with claims.
func (m *Member) come(q QueueID, epoch Epoch, claims map[QueueID]Epoch) {
	claimed, reading := claims[q]
	if reading && claimed == epoch {
		m.queues[q] = &holding{epoch: epoch}
	} else {
		m.queues[q] = &holding{reading: reading}
	}
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
			case !mine && h.epoch == 0 && !h.reading:
				delete(m.queues, q) // it never heard of it
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
	Owner   Owner  // of the session
}

// Wanted are the grants that can be made now: queues that nobody holds, and those that
// whoever holds them is to be granted again. Queues that the ledger says are owned by
// somebody who has not come since the leadership began wait until that one would be given up.
func (g *Group) Wanted(now time.Time) []Grant {
	if g.kind == KindBroadcast {
		return nil
	}
	held := make(map[QueueID]bool)
	for _, m := range g.members {
		for q, h := range m.queues {
			held[q] = held[q] || h.epoch != 0 || h.revoking
		}
	}
	grace := now.Sub(g.began) < g.timing.Unhealthy
	var grants []Grant
	for q := range g.queues {
		standing := g.ledger[q]
		session := g.target[q]
		switch {
		case held[q] || grace && standing.Owner != Nobody && g.settled[q] != standing.Epoch:
		case session != "":
			grants = append(grants, Grant{q, session, g.members[session].owner})
		case standing.Owner != Nobody:
			grants = append(grants, Grant{q, "", Nobody})
		}
	}
	slices.SortFunc(grants, func(a, b Grant) int { return int(int64(a.Queue) - int64(b.Queue)) })
	return grants
}

// Granted says that the ledger has taken a grant, under an epoch. A member that is gone
// meanwhile does not get it: the queue is free, and granted anew. Nor does one get it while
// another one holds the queue, that came back while the grant was on its way: that one has
// it under an epoch which is over, and lets go of it or is granted it again.
func (g *Group) Granted(gr Grant, epoch Epoch) {
	g.settled[gr.Queue] = epoch
	g.ledger[gr.Queue] = Standing{Epoch: epoch, Owner: gr.Owner}
	to, holder := g.members[gr.Session], g.owner(gr.Queue)
	switch {
	case to != nil && g.target[gr.Queue] == gr.Session && (holder == nil || holder == to):
		to.queues[gr.Queue] = &holding{epoch: epoch}
	case holder != nil:
		holder.queues[gr.Queue].end()
	}
	g.version++
}

// end says that the epoch is over.
func (h *holding) end() { h.epoch, h.reading = 0, h.reading || h.epoch != 0 }

// Refresh tells what the ledger says of the group's queues now. A queue with a newer epoch
// was reset, or granted without a word that the grant was taken: whoever holds it goes on
// under that if it is the owner.
func (g *Group) Refresh(ledger map[QueueID]Standing) {
	for q, standing := range ledger {
		if standing.Epoch <= g.ledger[q].Epoch {
			continue
		}
		g.ledger[q] = standing
		m := g.owner(q)
		switch {
		case m != nil && m.owner == standing.Owner:
			m.queues[q].epoch = standing.Epoch
		case m != nil:
			m.queues[q].end()
		}
		if m != nil || g.here(standing.Owner) {
			g.settled[q] = standing.Epoch
		}
		g.version++
	}
}

// here says whether a member is the owner that the ledger names.
func (g *Group) here(owner Owner) bool {
	for _, m := range g.members {
		if m.owner == owner {
			return true
		}
	}
	return false
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
		if at, known := g.queues[q]; known && !h.revoking && h.epoch != 0 {
			queues = append(queues, Held{at, h.epoch})
		}
	}
	slices.SortFunc(queues, func(a, b Held) int { return int(int64(a.ID) - int64(b.ID)) })
	return queues, g.version, true
}

// Holding lists what is in a session's hands, those that it should let go of among them,
// and the number of its name. Of what it is to be granted again the epoch is 0.
func (g *Group) Holding(session string) (queues []Owned, owner Owner) {
	m := g.members[session]
	if m == nil {
		return nil, Nobody
	}
	for q, h := range m.queues {
		queues = append(queues, Owned{q, h.epoch})
	}
	return queues, m.owner
}

// Has says whether a session is known.
func (g *Group) Has(session string) bool { return g.members[session] != nil }

// Holds lists the queues in a member's hands, those that it should let go of among them.
func (m *Member) Holds() []QueueID { return slices.Sorted(maps.Keys(m.queues)) }
