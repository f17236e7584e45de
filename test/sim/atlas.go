package sim

import (
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The fault atlas keeps what the oracle says decidable: in the normal profile no
// damage takes the last good copy of a committed entry, and a majority of members can
// go on to vote. What happens when every copy is gone is for calamity.go.

// covers says whether o goes on to have entry i without the disk that is about to
// suffer: a good copy, or, where its retention has removed that, its effect on the state.
func (o *node) covers(i member.Index) bool {
	d := &o.disk
	return i <= d.durable.end() && !d.rot[i] && (int(i) >= len(o.sim.god.committed) || d.durable[i].chain == o.sim.god.committed[i].chain)
}

// dispensable says whether what is committed of the entries first to last would all
// be elsewhere without n.
func (s *Sim) dispensable(n *node, first, last member.Index) bool {
	last = min(last, member.Index(len(s.god.committed))-1, n.disk.durable.end())
	for i := first; i <= last; i++ {
		elsewhere := false
		for _, o := range s.nodes {
			elsewhere = elsewhere || o != n && o.covers(i) && (i >= o.disk.begin || i < n.disk.begin)
		}
		if !elsewhere {
			return false
		}
	}
	return true
}

// mendable says whether n knows of damage that a peer could repair. What all others
// have removed by retention stays faulty until n removes it too.
func (s *Sim) mendable(n *node) bool {
	for i := range n.chores.faulty {
		for _, o := range s.nodes {
			if o != n && i >= o.disk.begin && o.covers(i) || !n.chores.lost[i] {
				return true
			}
		}
	}
	return false
}

// canVote says whether n can vote, or will when it is started.
func (n *node) canVote() bool { return n.disk.ballot.Proven && len(n.disk.rot) == 0 && !n.disk.doomed }

// rotten says whether any node has damage that was not repaired.
func (s *Sim) rotten() bool {
	for _, n := range s.nodes {
		if len(n.disk.rot) > 0 || n.disk.doomed {
			return true
		}
	}
	return false
}
