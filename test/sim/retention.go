package sim

import (
	"sort"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Retention, each node for itself, as the broker's: the oldest segments go when there
// is too much, or when they are too old, if the clock can be believed. The guard of the
// clock is the broker's own.

const (
	retentionEvery = time.Second
	clockSettles   = 4 * time.Second // ten minutes in a broker: runs are short
	segmentEntries = 16
)

// retention is what a node's retention remembers.
type retention struct {
	guard commitlog.ClockGuard
	held  member.Index  // 0: nothing; else a seed is being read that begins there
	until time.Duration // of held

	// For the judge, who knows how wrong the clock is.
	wrong  time.Duration // at the last look
	steady time.Duration // virtual: since when it has not jumped ahead
}

// retain looks at the clock and at the ledger and purges what may go.
func (n *node) retain() {
	s, r := n.sim, &n.chores.retention
	steady, jumped := r.guard.Look(time.Unix(0, n.wallNow()), n.clock.scale(s.now))
	if jumped > 0 {
		s.count[ClockJumpsNoticed]++
	}
	if n.wall.offset-r.wrong > commitlog.ClockJump {
		r.steady = s.now
	}
	r.wrong = n.wall.offset
	if s.profile.keep == 0 && s.profile.age == 0 || s.calm || n.disk.truncating() {
		return
	}
	limit := min(n.settled(), n.commit, n.disk.durable.end()) + 1
	before := n.disk.begin
	if k := s.profile.keep; k > 0 {
		before = max(before, n.log.end()-member.Index(k))
	}
	if byAge := n.olderThan(s.profile.age); s.profile.age > 0 && steady && byAge > before {
		before = byAge
		s.god.checkAge(n)
	}
	before = min(before, limit)
	if r.held > 0 && s.now < r.until {
		before = min(before, r.held)
	}
	n.purge(before - before%segmentEntries)
}

// olderThan is the first entry that is not older than age by the clock of n.
func (n *node) olderThan(age time.Duration) member.Index {
	oldest := n.wallNow() - int64(age)
	return member.Index(sort.Search(len(n.log), func(i int) bool { return n.log[i].stamp >= oldest }))
}

// purge deletes the entries before an entry. Those of which another member may need a
// copy to repair its own stay: what is then lost is not for the normal profile.
func (n *node) purge(before member.Index) {
	s := n.sim
	for _, o := range s.nodes {
		if rot, ok := o.disk.rot.after(member.NoIndex); ok && o != n {
			before = min(before, rot)
		}
	}
	if before <= n.disk.begin {
		return
	}
	if n.thick != nil {
		if before = n.thick.purge(before); before <= n.disk.begin {
			return
		}
	}
	s.note(n, "purge", int64(n.disk.begin), int64(before))
	s.count[Purges]++
	s.god.checkPurge(n, before)
	n.disk.begin = before
	n.disk.rot.dropBefore(before)
	n.chores.faulty.dropBefore(before)
	n.chores.lost.dropBefore(before)
	n.chores.tried.dropBefore(before)
}

// checkPurge: only what is committed is ever purged (I11).
func (g *god) checkPurge(n *node, before member.Index) {
	if before > n.commit+1 || int(before) > len(g.committed) || before > n.disk.durable.end()+1 {
		g.sim.fail("%s: I11: purges before %d, committed %d, durable %d", n.id, before, n.commit, n.disk.durable.end())
	}
}

// checkAge: nothing is purged by the age that a clock makes it which has just jumped (I11).
func (g *god) checkAge(n *node) {
	g.sim.count[PurgesByAge]++
	if steady := g.sim.now - n.chores.retention.steady; steady < clockSettles*9/10 {
		g.sim.fail("%s: I11: purges by age though its wall clock has been steady for %v only", n.id, steady)
	}
}
