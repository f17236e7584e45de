package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A calamity damages every copy of some committed entries, which nothing can make good.
// What is demanded then is refusal: every member says that they are lost, nobody serves
// anything in their place, all around them is there, and the group goes on. One copy that
// is found again makes all of them whole.

const (
	calamityLimit = 20 * time.Second // for all members to say so
	mendLimit     = 10 * time.Second // for all to be whole again
)

// ruin damages every copy of some committed entries, at the end of the chaos.
func (s *Sim) ruin() bool {
	first, end := member.Index(0), member.Index(len(s.god.committed))-1
	for _, n := range s.nodes {
		if !n.disk.ballot.Proven || n.disk.truncating() || len(n.disk.rot) > 0 || !n.up {
			return false
		}
		first, end = max(first, n.disk.begin), min(end, n.disk.durable.end(), n.disk.applied)
	}
	for first <= end && !s.everywhere(end) {
		end--
	}
	if s.size() == 1 || first > end {
		return false
	}
	first += member.Index(s.rng.IntN(int(end-first) + 1))
	last := min(end, first+member.Index(s.rng.IntN(5)))
	s.ruined = &stretch{first, last}
	s.count[Calamities]++
	for _, n := range s.nodes {
		s.note(n, "ruin", int64(first), int64(last))
		for i := first; i <= last; i++ {
			n.disk.rot[i], n.disk.met[i] = true, true // each start finds it
		}
		if s.chance(0.3) {
			s.crashKeeping(n, len(n.disk.unsynced), 200*time.Millisecond)
			s.noticeCrash(n, false)
		} else {
			n.scrub()
		}
	}
	return true
}

// everywhere says whether the durable entries up to i are the committed ones on all disks.
func (s *Sim) everywhere(i member.Index) bool {
	for _, n := range s.nodes {
		if n.disk.durable[i].chain != s.god.committed[i].chain {
			return false
		}
	}
	return true
}

// awaitRefusal waits until every member calls the ruined entries lost.
func (s *Sim) awaitRefusal(limit time.Duration) {
	if s.now >= limit {
		s.fail("I9: entries %d to %d are damaged everywhere, and not all members say so", s.ruined.first, s.ruined.last)
		return
	}
	for _, n := range s.nodes {
		if !n.up || !n.refuses(s.ruined) {
			s.after(100*time.Millisecond, func() { s.awaitRefusal(limit) })
			return
		}
	}
	s.awaitLeader(s.now + electLimit)
}

// refuses says whether n calls exactly the entries of r lost, and so serves all others.
func (n *node) refuses(r *stretch) bool {
	for i := r.first; i <= r.last; i++ {
		if !n.chores.faulty[i] || !n.chores.lost[i] {
			return false
		}
	}
	return len(n.chores.faulty) == int(r.last-r.first)+1
}

// findCopy lets one member have its copies again, when the group has shown that it goes
// on without; the others get them from there.
func (s *Sim) findCopy() {
	for _, n := range s.nodes {
		if !n.refuses(s.ruined) {
			s.fail("%s: I9: entries %d to %d are damaged everywhere, and it does not say so any more", n.id, s.ruined.first, s.ruined.last)
			return
		}
	}
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	n.chores.faulty.dropFrom(0)
	n.disk.rot.dropFrom(0)
	s.ruined = nil
	s.await(s.whole, mendLimit, func() {
		if !s.whole() {
			s.fail("I21: a good copy is back on %s, and after %v not everywhere", n.id, mendLimit)
		}
		s.done = true
	})
}

func (s *Sim) whole() bool {
	for _, n := range s.nodes {
		if len(n.chores.faulty) > 0 {
			return false
		}
	}
	return true
}
