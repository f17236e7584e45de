package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A follower that lacks entries which the leader has purged is seeded, as by pkg/seed
// and the broker: the leader offers its state and where its ledger begins, the follower
// fetches that in pieces, which survive its crashes, and switches.

const (
	seedEvery = 200 * time.Millisecond
	seedHeld  = 20 * time.Second // for so long an offer holds back retention
)

// seedling is a seed that a node is fetching. It is on its disk.
type seedling struct {
	from    int8
	life    uint32 // of the source when it made the offer
	state   entries
	group   member.Change // as the source knows it to be committed
	chain   uint32        // of the last entry of state, of thick nodes
	pieces  int           // of how many
	have    int
	waiting bool // a piece has been asked for
}

// offerSeeds lets leaders tell whom they cannot bring up to date.
func (s *Sim) offerSeeds() {
	s.after(seedEvery, s.offerSeeds)
	for _, n := range s.nodes {
		if !n.up || n.paused || n.role != member.Leader || n.disk.begin == 0 {
			continue
		}
		for _, p := range n.m.Status().Peers {
			o := s.nodes[s.index(p.ID)]
			if l := s.net.link(n.i, o.i); (p.State == member.PushNeedsSeed || l.lagging) && o.up && o.leader == n.id {
				s.fetchSeed(o, n)
			}
		}
	}
}

// fetchSeed goes on with the seed that n is fetching from lead, or begins one.
func (s *Sim) fetchSeed(n, lead *node) {
	sd := n.seedling
	if sd != nil && sd.waiting || n.paused {
		return
	}
	if sd == nil || sd.from != lead.i || sd.life != lead.life {
		if sd != nil && sd.have > 0 {
			s.count[SeedsBegunAnew]++
		}
		n.seedling = s.offer(lead, n)
	} else if sd.have > 0 && sd.have < sd.pieces {
		s.count[SeedsResumed]++
	}
	n.fetchPiece(lead)
}

// offer is a seed of what lead has, up to where its ledger begins.
func (s *Sim) offer(lead, to *node) *seedling {
	s.net.link(lead.i, to.i).lagging = false
	lead.chores.retention.held, lead.chores.retention.until = lead.disk.begin, s.now+seedHeld
	sd := &seedling{
		from: lead.i, life: lead.life, pieces: 1 + s.rng.IntN(6),
		state: lead.log.part(0, lead.disk.begin-1), group: lead.groupUpTo(lead.commit),
	}
	if lead.thick != nil {
		var err error
		if sd.chain, err = lead.thick.log.ChainAt(commitlog.Index(sd.state.end())); err != nil {
			s.fail("%s: what is before its first entry: %v", lead.id, err)
		}
	}
	return sd
}

// fetchPiece asks for the next piece. After a failure it waits to be told again.
func (n *node) fetchPiece(lead *node) {
	s, sd, life := n.sim, n.seedling, n.life
	sd.waiting = true
	s.call(n, lead, func() {}, func(ok bool) {
		sd.waiting = false
		if n.life != life || n.seedling != sd {
			return
		}
		if !ok || lead.life != sd.life {
			return
		}
		if sd.have++; sd.have < sd.pieces {
			s.after(s.upTo(200*time.Millisecond), func() {
				if n.life == life && n.seedling == sd && !sd.waiting {
					n.fetchPiece(lead)
				}
			})
			return
		}
		n.awake(func() { n.install(sd) })
	})
}

// lacks says whether the ledger of n cannot be carried on by one that begins after the
// state (pkg/dledger, Server.Lacks).
func (n *node) lacks(state entries) bool {
	end := state.end()
	return n.log.end() < end || n.log.termAt(end) != state[end].term
}

// install ends the process and puts the seed in the place of the ledger.
func (n *node) install(sd *seedling) {
	s := n.sim
	n.seedling = nil
	if n.disk.full && n.disk.fs != nil {
		return // no room for it
	}
	if !n.lacks(sd.state) {
		s.count[SeedsUnneeded]++
		return
	}
	s.crashKeeping(n, len(n.disk.unsynced), 10*time.Millisecond)
	s.noticeCrash(n, false)
	if !n.lacksOnDisk(sd.state) {
		return
	}
	s.god.checkSeed(n, sd.state)
	s.note(n, "seeded", int64(n.disk.durable.end()), int64(sd.state.end()))
	s.count[Seeded]++
	d := &n.disk
	d.durable, d.begin, d.applied, d.rot = sd.state, sd.state.end()+1, sd.state.end(), marks{}
	d.changes = []member.Change{sd.group}
	if d.fs != nil {
		n.plant(sd.state, sd.chain)
	}
}

// lacksOnDisk is lacks for a ledger that is closed.
func (n *node) lacksOnDisk(state entries) bool {
	end := state.end()
	return n.disk.durable.end() < end || n.disk.durable.termAt(end) != state[end].term
}

// checkSeed: a seed holds what is committed, and what it replaces holds nothing
// committed behind it.
func (g *god) checkSeed(n *node, state entries) {
	end := int(state.end())
	if end >= len(g.committed) || state[end].chain != g.committed[end].chain {
		g.sim.fail("%s: a seed up to %d that is not what is committed", n.id, end)
		return
	}
	old := n.disk.durable
	if last := end + 1; last < len(old) && last < len(g.committed) && old[last].chain == g.committed[last].chain {
		g.sim.fail("%s: I10: a seed up to %d takes the place of committed entries behind it", n.id, end)
	}
}
