package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// envelope is a message under way, with the entries that it carries.
type envelope struct {
	from, to int8
	lane     lane
	gen      uint32 // the link's when it was sent
	dir      int    // the sender's directory
	haunts   bool   // outlives the connection
	msg      member.Message
	entries  entries
	raw      []byte // the entries of a thick node
}

// lane is one of the two connections to a peer.
type lane uint8

const (
	control lane = iota // votes, heartbeats, transfers
	bulk                // pushes
	lanes
)

// link is one direction between two nodes.
type link struct {
	cuts  int           // how many partitions cut it now
	clog  time.Duration // added to every delay while it is clogged
	gen   uint32        // rises with each reset: what was under way is lost
	last  [lanes]time.Duration
	down  bool // the receiver of Disconnected has been told
	queue []member.PushRequest
	busy  bool // a dispatch of queue is due

	lagging bool // the receiver needs what the sender has purged
}

const (
	recalled = 64 // how many of the last messages the network remembers to replay
	archived = 32 // and how many of all
	ancient  = 10 * time.Second
)

// relic is a message and when it was sent.
type relic struct {
	envelope
	at time.Duration
}

// network is what lies between the nodes.
type network struct {
	sim   *Sim
	links [maxNodes][maxNodes]link
	old   [recalled]envelope
	seen  int
	past  [archived]relic // some of all that was ever sent
}

func (w *network) link(from, to int8) *link { return &w.links[from][to] }

// send puts a message on its way, maybe twice, maybe not at all.
func (w *network) send(from, to int8, ln lane, msg member.Message, es entries, raw []byte) {
	s, l := w.sim, w.link(from, to)
	s.count[Messages]++
	s.second.messages++
	if l.cuts > 0 || s.chance(s.weather.drop) {
		s.count[Dropped]++
		return
	}
	env := &envelope{from: from, to: to, lane: ln, gen: l.gen, dir: s.nodes[from].disk.dir, msg: msg, entries: es, raw: raw}
	s.events.push(event{at: w.arrival(l, ln), env: env})
	if s.chance(s.weather.dup) {
		s.count[Duplicated]++
		s.events.push(event{at: w.arrival(l, ln) + s.upTo(50*time.Millisecond), env: env})
	}
	if s.chance(s.weather.replay) && w.seen > 0 {
		w.replay()
	}
	w.old[w.seen%recalled] = *env
	w.seen++
	if s.weather.replay > 0 && s.rng.IntN(w.seen) < archived {
		w.past[s.rng.IntN(archived)] = relic{*env, s.now}
	}
}

// arrival draws when a message that leaves now arrives. Without reordering a
// connection is a queue.
func (w *network) arrival(l *link, ln lane) time.Duration {
	s := w.sim
	d := s.profile.latency/2 + s.upTo(s.profile.latency) + l.clog
	if s.chance(s.weather.tail) {
		d += s.upTo(s.weather.tailMax)
	}
	at := s.now + d
	if !s.profile.reorder {
		at = max(at, l.last[ln])
	}
	l.last[ln] = max(at, l.last[ln])
	return at
}

// replay delivers once more a message that may be as old as the run.
func (w *network) replay() {
	s := w.sim
	env := w.old[s.rng.IntN(min(w.seen, recalled))]
	if r := &w.past[s.rng.IntN(archived)]; r.msg != nil && s.chance(0.3) {
		env = r.envelope
		if s.now-r.at > ancient {
			s.count[ReplayedLate]++
		}
	}
	env.gen = w.link(env.from, env.to).gen
	s.count[Replayed]++
	s.events.push(event{at: s.now + s.upTo(3*time.Second), env: &env})
}

// haunt delivers late, and once more, some of the last words of n: when its disk is
// lost they speak of what is no more.
func (w *network) haunt(n *node, within time.Duration) {
	s := w.sim
	for i := range min(w.seen, recalled) {
		env := w.old[i]
		if env.from != n.i || !s.chance(0.3) {
			continue
		}
		env.haunts = true
		s.count[Replayed]++
		s.events.push(event{at: s.now + s.upTo(within), env: &env})
	}
}

// deliver hands a message to the node that it has reached.
func (w *network) deliver(env *envelope) {
	l := w.link(env.from, env.to)
	n := w.sim.nodes[env.to]
	if l.cuts > 0 || (l.gen != env.gen && !env.haunts) || !n.up {
		return
	}
	n.post(input{ev: member.Receive{Message: env.msg}, from: env.from, dir: env.dir, entries: env.entries, raw: env.raw})
}

// cut stops everything from a to b; the other end notices after a while, if the
// cut lasts, that the connection is gone.
func (w *network) cut(from, to int8) {
	l := w.link(from, to)
	l.cuts++
	w.sim.after(2*time.Second+w.sim.upTo(time.Second), func() {
		if l.cuts > 0 {
			w.lose(from, to)
		}
	})
}

func (w *network) uncut(from, to int8) {
	l := w.link(from, to)
	l.cuts--
	if l.cuts == 0 {
		w.rejoin(from, to)
	}
}

// reset breaks the connections between a and b, both ways; what was under way is
// lost and both see it.
func (w *network) reset(a, b int8) {
	w.lose(a, b)
	w.sim.after(time.Millisecond+w.sim.upTo(50*time.Millisecond), func() { w.rejoin(a, b) })
}

// lose tells both ends that their connection is gone.
func (w *network) lose(a, b int8) {
	for _, end := range [2][2]int8{{a, b}, {b, a}} {
		l := w.link(end[0], end[1])
		l.gen++
		l.queue = l.queue[:0]
		if l.down {
			continue
		}
		l.down = true
		if n := w.sim.nodes[end[0]]; n.up {
			n.post(input{ev: member.Disconnected{Peer: w.sim.nodes[end[1]].id}})
		}
	}
}

// rejoin tells both ends that their connection is back, if it can be.
func (w *network) rejoin(a, b int8) {
	s := w.sim
	if w.link(a, b).cuts > 0 || w.link(b, a).cuts > 0 || !s.nodes[a].up || !s.nodes[b].up {
		return
	}
	for _, end := range [2][2]int8{{a, b}, {b, a}} {
		if l := w.link(end[0], end[1]); l.down {
			l.down, l.lagging = false, false
			s.nodes[end[0]].post(input{ev: member.Connected{Peer: s.nodes[end[1]].id}})
		}
	}
}

// heal undoes every cut and clog. What is late already holds up nothing behind it.
func (w *network) heal() {
	for a := range w.sim.size() {
		for b := range w.sim.size() {
			l := w.link(a, b)
			l.clog, l.last = 0, [lanes]time.Duration{}
			if l.cuts > 0 {
				l.cuts = 0
			}
		}
	}
	for a := range w.sim.size() {
		for b := range a {
			w.rejoin(a, b)
		}
	}
}
