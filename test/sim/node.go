package sim

import (
	"math/rand/v2"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// node is one member with its stand-in for the shell, its disk and its clock.
type node struct {
	sim   *Sim
	i     int8
	id    member.ID
	clock clock
	wall  wallClock
	disk  disk
	// graves are the directories that the node has lost, dirs how many it ever had.
	graves []disk
	dirs   int

	// What the disk keeps is above; what a crash takes is below.
	m       *member.Member
	life    uint32 // rises with each start and each crash
	up      bool
	paused  bool
	resumed []func() // to run when the pause ends
	saving  bool     // a ballot is being saved; the maintainer waits
	inbox   []input
	waiting bool // a look into the inbox is due
	tickAt  time.Duration
	log     entries // readable, durable or not
	epoch   uint64  // truncations in this life
	commit  member.Index
	role    member.Role
	term    member.Term
	leader  member.ID
	fit     bool
	pending []*proposal // accepted here as leader, not yet applied

	transfers int // asked for and not yet answered
	view      view
	diskSlow  time.Duration // added at most to every sync
	ambush    ambush
	chores    chores
	thick     *thick          // the open log of a thick node
	ballot    *dledger.Ballot // its open ballot
	seedling  *seedling       // a seed being fetched; it is on the disk
	batch     batch
}

// input is an event for a member with what its shell keeps beside it.
type input struct {
	ev       member.Event
	from     int8      // Receive
	dir      int       // Receive: the sender's directory
	entries  entries   // Receive of a push
	raw      []byte    // the same, of thick nodes
	proposal *proposal // Propose
}

// batch is what the inputs of one Take brought along.
type batch struct {
	steps     int
	ticked    bool
	pushes    []push
	proposals []*proposal
	changes   []change
}

// push is entries that a peer sent, the first of them at index first.
type push struct {
	first   member.Index
	entries entries
	raw     []byte
}

func (b *batch) reset() {
	*b = batch{pushes: b.pushes[:0], proposals: b.proposals[:0], changes: b.changes[:0]}
}

// start makes a member of what is on the disk.
func (n *node) start() {
	s := n.sim
	n.life++
	n.up, n.saving, n.waiting, n.paused = true, false, false, false
	n.inbox, n.resumed, n.pending = nil, nil, nil
	n.thick, n.ballot = nil, nil
	if !n.openLog() {
		return
	}
	n.log = n.disk.durable.part(0, n.disk.durable.end())
	n.epoch, n.transfers = 0, 0
	n.commit, n.role, n.term, n.leader = member.NoIndex, member.Follower, n.disk.ballot.Term, ""
	n.view = view{}
	n.fit = true
	n.batch.reset()
	n.findRot()
	cfg := s.memberConfig(n)
	cfg.Barred = n.chores.barred
	cfg.Rand = rand.New(rand.NewPCG(s.opt.Seed, uint64(n.i)<<32|uint64(n.life)))
	m, err := member.New(cfg, n.now(), n.disk.ballot, n.log.outline(n.disk.begin))
	if err != nil {
		s.fail("%s: New: %v", n.id, err)
		return
	}
	n.m = m
	n.carryOut(m.Take())
	n.beginChores()
}

// crash takes the node down. What the disk keeps of its unsynced writes is for
// the caller to say.
func (n *node) crash(kept int) {
	s := n.sim
	before := n.log.end()
	for _, w := range n.disk.unsynced[kept:] {
		if w.truncate {
			s.count[LostTruncations]++
		}
	}
	n.disk.settleState(n.commit, s.rng.IntN(40))
	if n.disk.fs != nil {
		n.crashLog(kept == 0 && s.chance(0.7))
		n.disk.unsynced, n.disk.inFlight = nil, 0
	} else {
		n.disk.crash(kept, func(k int) int { return s.rng.IntN(k + 1) })
	}
	s.note(n, "crash", int64(before), int64(n.disk.durable.end()))
	if before > n.disk.durable.end() {
		s.count[CrashesWithLoss]++
	}
	n.life++
	n.up, n.m, n.log, n.tickAt = false, nil, nil, never
	n.ambush = noAmbush
	n.role, n.paused = 0, false
	for _, p := range n.pending {
		p.unknown = true
	}
	for to := range s.size() {
		l := s.net.link(n.i, to)
		l.queue, l.busy = l.queue[:0], false
	}
}

func (n *node) now() time.Time { return n.clock.local(n.sim.now) }

func (n *node) blocked() bool { return n.paused || n.saving || !n.up }

// post brings an input to the node. It is looked at at once, or a moment later
// together with what comes until then.
func (n *node) post(in input) {
	n.inbox = append(n.inbox, in)
	if n.blocked() || n.waiting {
		return
	}
	if w := n.sim.profile.gather; w > 0 && n.sim.chance(0.2) {
		n.waiting = true
		life := n.life
		n.sim.after(n.sim.upTo(w), func() {
			if n.life == life {
				n.waiting = false
				n.work()
			}
		})
		return
	}
	n.work()
}

// work steps through the inbox: one or several inputs, then one Take, as the
// state maintainer does.
func (n *node) work() {
	for len(n.inbox) > 0 && !n.blocked() {
		k := 1
		if len(n.inbox) > 1 && n.sim.profile.gather > 0 {
			k += n.sim.rng.IntN(min(len(n.inbox), 8))
		}
		k = min(k, len(n.inbox))
		for _, in := range n.inbox[:k] {
			n.step(in)
		}
		if k == len(n.inbox) {
			n.inbox = n.inbox[:0]
		} else {
			n.inbox = n.inbox[k:]
		}
		n.carryOut(n.m.Take())
	}
}

func (n *node) step(in input) {
	s := n.sim
	n.batch.steps++
	switch ev := in.ev.(type) {
	case member.Receive:
		n.view.heard(n, in, ev.Message)
		s.hashMessage(n, ev.Message)
		if len(in.entries) > 0 {
			p := ev.Message.(member.PushRequest)
			n.batch.pushes = append(n.batch.pushes, push{p.First, in.entries, in.raw})
			if s.changing() {
				s.readChanges(&p, in.entries)
				in.ev = member.Receive{Message: p}
			}
		}
	case member.Propose:
		n.batch.proposals = append(n.batch.proposals, in.proposal)
	case member.Tick:
		n.batch.ticked = true
	case member.Persisted:
		if ev.Epoch < n.epoch {
			s.count[StaleCompletions]++
		}
	case member.Transfer:
		n.transfers++
	}
	if s.tracing {
		s.traceStep(n, in.ev)
	}
	s.steps++
	s.second.steps++
	n.m.Step(n.now(), in.ev)
}

// tick lets time pass for the member.
func (n *node) tick() {
	n.tickAt = never
	if n.paused || n.saving {
		return // looked at again when the node goes on
	}
	n.step(input{ev: member.Tick{}})
	n.carryOut(n.m.Take())
}

// schedule plans the next tick: the first of the node's 10 ms grid at or after
// the member's deadline, and never the present one.
func (n *node) schedule() {
	d := n.m.NextDeadline()
	if d.IsZero() {
		n.tickAt = never
		return
	}
	now := n.now()
	if d.Before(now) {
		d = now
	}
	at := n.clock.virtual(d)
	grid := at - (at+time.Duration(n.i)*time.Millisecond)%tickInterval + tickInterval
	n.tickAt = max(grid, n.sim.now+time.Millisecond)
}

// pause stops the process; resume lets it go on, with all that came meanwhile in
// its inbox and its timers run out.
func (n *node) pause() {
	n.paused = true
	n.tickAt = never
}

func (n *node) resume() {
	n.paused = false
	do := n.resumed
	n.resumed = nil
	for _, f := range do {
		f()
	}
	n.goOn()
}

// goOn works again after the node was blocked.
func (n *node) goOn() {
	if n.blocked() {
		return
	}
	if n.sim.chance(0.5) {
		n.tick()
	}
	n.waiting = false
	n.work()
	if !n.blocked() {
		n.schedule()
	}
}

const (
	tickInterval = 10 * time.Millisecond
	never        = time.Duration(1<<63 - 1)
)
