package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// fetch asks the peers for the entries of one faulty stretch, as pkg/dledger does: it
// stays with a peer as long as that brings them, an entry that is damaged there is
// asked of the next, and only when every peer has answered are entries called lost.
type fetch struct {
	n      *node
	life   uint32
	want   stretch
	next   member.Index
	peers  []fetchPeer
	raw    []byte // of a thick node: what has come so far
	asking int    // a place in peers; -1: nobody
	done   func()
}

type fetchPeer struct {
	node   *node
	gone   bool         // it is not asked any more
	absent bool         // it did not answer: it may have a copy
	lacks  member.Index // the newest entry that it said not to have
}

// lent is an answer to a fetch.
type lent struct {
	entries entries
	raw     []byte
	damaged bool // the first entry asked for is damaged there, too
}

func newFetch(n *node, want stretch, done func()) *fetch {
	f := &fetch{n: n, life: n.life, want: want, next: want.first, asking: -1, done: done}
	for _, o := range n.sim.nodes {
		if o != n {
			f.peers = append(f.peers, fetchPeer{node: o, lacks: member.NoIndex})
		}
	}
	return f
}

// begin asks whoever may have the next entry.
func (f *fetch) begin() {
	f.asking = f.choose()
	if f.asking < 0 {
		f.n.noteAttempt(f.want, f.away())
		f.done()
		return
	}
	p := &f.peers[f.asking]
	answer := lent{}
	f.n.sim.call(f.n, p.node, func() { answer = p.node.lend(f.next, f.want.last) }, func(ok bool) {
		if f.n.life == f.life {
			f.n.awake(func() { f.take(p, answer, ok) })
		}
	})
}

func (f *fetch) choose() int {
	may := func(p *fetchPeer) bool { return !p.gone && p.lacks != f.next }
	if f.asking >= 0 && may(&f.peers[f.asking]) {
		return f.asking
	}
	for k := range f.peers {
		if may(&f.peers[k]) {
			return k
		}
	}
	return -1
}

// take looks at what a peer has brought. Nothing about it is believed.
func (f *fetch) take(p *fetchPeer, answer lent, ok bool) {
	n := f.n
	if !n.chores.faulty[f.want.first] || !n.chores.faulty[f.want.last] {
		f.done() // truncated, purged or repaired meanwhile
		return
	}
	switch {
	case !ok:
		p.gone, p.absent = true, true
	case len(answer.entries) == 0:
		p.lacks = f.next
		if answer.damaged {
			n.sim.count[DamagedThereToo]++
		}
	case !f.fits(answer.entries):
		n.sim.count[Misfits]++
		p.gone, f.next, f.raw = true, f.want.first, nil
	default:
		f.next += member.Index(len(answer.entries))
		f.raw = append(f.raw, answer.raw...)
		if f.next > f.want.last {
			n.repaired(f.want, f.raw)
			f.done()
			return
		}
	}
	f.begin()
}

// fits compares what came with the chain that the ledger here goes on with.
func (f *fetch) fits(es entries) bool {
	for k, e := range es {
		if e.chain != f.n.log[int(f.next)+k].chain {
			return false
		}
	}
	return true
}

// away says that a peer did not answer.
func (f *fetch) away() bool {
	for k := range f.peers {
		if f.peers[k].absent {
			return true
		}
	}
	return false
}

// lend is a peer's answer: entries that are on its disk, or none.
func (n *node) lend(first, last member.Index) lent {
	d := &n.disk
	if first > d.durable.end() || first < d.begin || first > n.log.end() {
		return lent{}
	}
	if n.thick != nil {
		return n.thick.lend(first, min(last, d.durable.end(), n.log.end(), first+member.Index(n.sim.rng.IntN(8))))
	}
	if d.rot[first] {
		n.meetRot(first)
		return lent{damaged: true}
	}
	last = min(last, d.durable.end(), n.log.end(), first+member.Index(n.sim.rng.IntN(8)))
	if rot, ok := d.rot.after(first); ok {
		last = min(last, rot-1)
	}
	return lent{entries: n.log.part(first, last)}
}

// call is a request of one node to another outside of the member's messages: at there
// when it arrives, and done when the answer is back, or is given up.
func (s *Sim) call(from, to *node, at func(), done func(ok bool)) {
	there, back := s.net.link(from.i, to.i), s.net.link(to.i, from.i)
	lost := func() { s.after(500*time.Millisecond+s.upTo(time.Second), func() { done(false) }) }
	if there.cuts > 0 || !to.up {
		lost()
		return
	}
	life := to.life
	s.after(s.profile.latency+s.upTo(s.profile.latency)+there.clog, func() {
		if there.cuts > 0 || to.life != life || to.paused {
			lost()
			return
		}
		at()
		s.after(s.profile.latency+s.upTo(s.profile.latency)+back.clog, func() {
			if back.cuts > 0 {
				lost()
				return
			}
			done(true)
		})
	})
}
