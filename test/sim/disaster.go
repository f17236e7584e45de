package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A disaster takes the disks of a majority at once, at the end of the chaos of some
// runs. What the group then has is not enough to go on, and it must not: nobody may
// lead, nothing may be acknowledged. Then the disks are found again, and nothing may
// be missing.
const (
	disasterGrace   = 7 * time.Second // for what was under way, and for leaders to notice
	disasterRefusal = 6 * time.Second
)

// strike takes the disks. It returns false if there is nothing to lose, or nobody
// left who knows of it.
func (s *Sim) strike() bool {
	order := s.rng.Perm(len(s.nodes))
	lost := s.quorum() + s.rng.IntN(len(s.nodes)-s.quorum())
	known := false
	for _, i := range order[lost:] {
		known = known || s.nodes[i].disk.ballot.Term > 0
	}
	if !known || len(s.god.committed) == 0 {
		return false
	}
	s.count[MajorityWipes]++
	struck := make([]*node, 0, lost)
	for _, i := range order[:lost] {
		n := s.nodes[i]
		struck = append(struck, n)
		s.crashKeeping(n, len(n.disk.unsynced), 200*time.Millisecond)
		s.noticeCrash(n, s.chance(0.5))
		s.wipe(n)
	}
	for _, i := range order[lost:] {
		if s.chance(0.3) {
			s.crash(s.nodes[i], false)
		}
	}
	s.after(disasterGrace, func() { s.refuses(struck, len(s.god.committed), s.count[Acked], s.now+disasterRefusal) })
	return true
}

// refuses watches that nothing goes on, until the disks are found.
func (s *Sim) refuses(struck []*node, committed int, acked int64, end time.Duration) {
	if lead := s.leader(); lead != nil {
		s.fail("%s: I10: leads term %d, though %d of %d members have lost their disks", lead.id, lead.term, len(struck), s.size())
	}
	if len(s.god.committed) != committed || s.count[Acked] != acked {
		s.fail("I10: goes on, though %d of %d members have lost their disks", len(struck), s.size())
	}
	if s.now < end {
		s.after(100*time.Millisecond, func() { s.refuses(struck, committed, acked, end) })
		return
	}
	for _, n := range struck {
		s.restore(n)
	}
	s.heal()
	s.awaitLeader(s.now + electLimit)
}

// wipe puts an empty directory in the place of the one of n, which is down.
func (s *Sim) wipe(n *node) {
	s.count[Wipes]++
	s.note(n, "wipe", int64(n.disk.durable.end()), int64(n.disk.dir))
	n.graves = append(n.graves, n.disk)
	n.dirs++
	n.seedling = nil
	n.disk = s.newDisk(n.dirs, n.id)
}

// restore puts the directory back that n lost last.
func (s *Sim) restore(n *node) {
	if n.up {
		n.crash(0)
	}
	s.count[Restored]++
	last := len(n.graves) - 1
	n.disk, n.graves = n.graves[last], n.graves[:last]
	s.note(n, "restore", int64(n.disk.durable.end()), int64(n.disk.dir))
}

// wipeOne takes the disk of n, if a majority of proven members remains: what is
// promised is promised for the loss of a minority at a time.
func (s *Sim) wipeOne(n *node) {
	safe := s.everyMajority(func(o *node) bool { return o != n && o.canVote() }) && s.mayLoseLearner(n)
	if !n.up || !safe || s.rotten() && !s.dispensable(n, 0, n.disk.durable.end()) {
		return
	}
	s.crash(n, s.chance(0.5))
	s.wipe(n)
	if s.chance(0.5) {
		s.net.haunt(n, 5*time.Second)
	}
}

// holds says whether o holds entry i of leader n, as far as n can know: on its disk
// if that is proven, or on one that was lost since, if n has heard nothing from a
// newer one in its term.
func (g *god) holds(n, o *node, i member.Index) bool {
	has := func(d *disk) bool {
		return d.ballot.Proven && i <= d.durable.end() && d.durable[i].chain == n.log[i].chain
	}
	if has(&o.disk) {
		return true
	}
	for k := range o.graves {
		if o.graves[k].dir >= n.view.dirs[o.i] && has(&o.graves[k]) {
			return true
		}
	}
	return false
}

// checkProven: a directory that took the place of another one becomes proven only
// when it holds all that its forerunners can have acknowledged (I10).
func (g *god) checkProven(n *node, b member.Ballot) {
	if b.Term == 0 {
		g.sim.count[Foundings]++
	} else {
		g.sim.count[Proofs]++
	}
	for _, grave := range n.graves {
		for i := range min(len(grave.durable), len(g.committed)) {
			held := grave.durable[i].chain == g.committed[i].chain
			if held && (i >= len(n.disk.durable) || n.disk.durable[i].chain != g.committed[i].chain) {
				g.sim.fail("%s: I10: proven in term %d without the committed entry %d, which it once held", n.id, b.Term, i)
				return
			}
		}
	}
}
