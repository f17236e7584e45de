package sim

import (
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// In some runs there are more nodes than the group begins with, and now and then
// somebody adds, promotes or removes one. What the oracle needs to know of a group is
// in the entries: a change is an entry whose payload stands for the new group.

const changeEvery = 3 * time.Second

// groups are the groups that there have been.
type groups struct {
	first     member.Members
	bodies    map[uint64]member.Members // by the payload of the entry
	changes   []change                  // every entry that changes the group, anywhere, as they were made
	committed member.Change             // the newest one that is
}

// foundGroup says who the group is as it begins.
func (s *Sim) foundGroup() {
	s.groups = groups{bodies: map[uint64]member.Members{}}
	for _, n := range s.nodes[:s.profile.size] {
		s.groups.first = append(s.groups.first, member.Seat{ID: n.id})
	}
	s.groups.committed = member.Change{At: member.NoIndex, Members: s.groups.first}
}

// changing says whether the group may change in this run.
func (s *Sim) changing() bool { return s.profile.spares > 0 }

// configure tells n what its operator knows of the group: who it began with or, if n is
// not of those or its directory is new, who is in it.
func (n *node) configure(cfg *member.Config) {
	g := &n.sim.groups
	cfg.Members, cfg.Changes = g.first, n.disk.changes
	if _, first := g.first.Seat(n.id); !first || n.disk.dir > 1 {
		cfg.Members = g.committed.Members
	}
	if _, in := cfg.Members.Seat(n.id); !in {
		cfg.Joining = true
		return
	}
	if seat, _ := cfg.Members.Seat(n.id); seat.Learner { // a learner whose disk is lost waits to be told
		cfg.Joining = true
		cfg.Members = slices.DeleteFunc(slices.Clone(cfg.Members), func(s member.Seat) bool { return s.ID == n.id })
	}
}

// readChanges is what a receiver's shell does with an append: it reads the entries.
func (s *Sim) readChanges(p *member.PushRequest, es entries) {
	for k, e := range es {
		if group, ok := s.groups.bodies[e.payload]; ok {
			p.Changes = append(p.Changes, member.Change{At: p.First + member.Index(k), Term: e.term, Members: group})
		}
	}
}

// keepChanges gives the accepted changes of an update their payloads.
func (n *node) keepChanges(answers []member.ChangeAnswer) {
	s := n.sim
	for _, a := range answers {
		switch {
		case a.Code != member.Success:
			s.count[ChangesRefused]++
		case a.At != member.NoIndex:
			s.groups.bodies[s.nextPayload] = a.Members
			s.groups.changes = append(s.groups.changes, change{a.At, s.nextPayload})
			n.batch.changes = append(n.batch.changes, change{a.At, s.nextPayload})
			s.nextPayload++
		}
	}
}

// change is the payload of the entry at an index.
type change struct {
	at      member.Index
	payload uint64
}

func (b *batch) change(at member.Index) uint64 {
	for _, c := range b.changes {
		if c.at == at {
			return c.payload
		}
	}
	return 0
}

// changeMembers asks a leader for a step now and then: whatever it is, it may be a bad
// moment.
func (s *Sim) changeMembers() {
	if s.calm {
		return
	}
	s.after(s.spread(changeEvery), s.changeMembers)
	lead := s.leader()
	if lead == nil || lead.paused {
		return
	}
	group := lead.m.Status().Members
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	for _, seat := range group {
		if seat.Learner && s.chance(0.6) {
			n = s.nodes[s.index(seat.ID)]
		}
	}
	seat, in := group.Seat(n.id)
	ev := member.ChangeMembers{ID: n.id}
	switch {
	case !in:
		ev.Op = member.AddLearner
	case seat.Learner && s.chance(0.8):
		ev.Op = member.Promote
	case !seat.Learner && group.CountVoters() <= 2: // one voter's damage is nobody's to repair
		return
	case s.chance(0.5): // so that groups do not only shrink
		return
	default:
		ev.Op = member.Remove
	}
	if !s.mayRest(group, seat, ev.Op) {
		return
	}
	lead.post(input{ev: ev})
	for range s.rng.IntN(2) { // impatient operators ask twice
		lead.post(input{ev: ev})
	}
}

// mayRest says whether a majority of the new group would have whole disks. The leader
// sees to it as far as it knows; what it cannot know, for a moment, is that the disk of
// a member that it has just heard is gone, and then nothing could ever be committed.
func (s *Sim) mayRest(group member.Members, seat member.Seat, op member.ChangeOp) bool {
	after := slices.DeleteFunc(slices.Clone(group), func(o member.Seat) bool { return o.ID == seat.ID })
	if op == member.Promote {
		after = append(after, member.Seat{ID: seat.ID})
	}
	return s.majorityOf(after, (*node).canVote)
}

// extendGroup takes note of a change that is committed.
func (g *god) extendGroup(at member.Index, e entry) {
	s := g.sim
	group, ok := s.groups.bodies[e.payload]
	if !ok {
		return
	}
	was := s.groups.committed.Members
	s.groups.committed = member.Change{At: at, Term: e.term, Members: group}
	switch before, now := was.CountVoters(), group.CountVoters(); {
	case now > before:
		s.count[Promotions]++
	case now < before:
		s.count[Removals]++
	case len(group) > len(was):
		s.count[LearnersAdded]++
	}
}

// eachGroup calls do with every group that may be in force somewhere: the newest that
// is committed, and those after it in any ledger.
func (s *Sim) eachGroup(do func(member.Members)) {
	do(s.groups.committed.Members)
	if !s.changing() {
		return
	}
	for _, n := range s.nodes {
		log := n.log
		switch {
		case !n.up:
			log = n.disk.durable
		case n.m != nil: // not while it starts
			do(n.m.Status().Members) // its entry may be on its way to the ledger
		}
		for _, c := range s.groups.changes {
			if c.at > s.groups.committed.At && c.at <= log.end() && log[c.at].payload == c.payload {
				do(s.groups.bodies[c.payload])
			}
		}
	}
}

// groupsAt are those by which n may have counted: the one that it goes by and, as a
// batch may hold a change, the one before that in its ledger.
func (n *node) groupsAt() []member.Members {
	s := n.sim
	if !s.changing() {
		return []member.Members{s.groups.first}
	}
	return []member.Members{n.group(), n.groupUpTo(n.log.end() - 1).Members}
}

// group is the one that n goes by.
func (n *node) group() member.Members {
	if !n.sim.changing() {
		return n.sim.groups.first
	}
	return n.m.Status().Members
}

// groupUpTo is what the entries of n up to i make the group.
func (n *node) groupUpTo(i member.Index) member.Change {
	g := &n.sim.groups
	newest := member.Change{At: member.NoIndex, Members: g.first}
	for _, c := range g.changes {
		if c.at > newest.At && c.at <= i && n.log[c.at].payload == c.payload {
			newest = member.Change{At: c.at, Term: n.log[c.at].term, Members: g.bodies[c.payload]}
		}
	}
	return newest
}

// majorityOf says whether a majority of a group's voters is so.
func (s *Sim) majorityOf(group member.Members, is func(*node) bool) bool {
	yes := 0
	for _, seat := range group {
		if !seat.Learner && is(s.nodes[s.index(seat.ID)]) {
			yes++
		}
	}
	return yes > group.CountVoters()/2
}

// everyMajority says whether, in every group that may be in force, a majority is so.
func (s *Sim) everyMajority(is func(*node) bool) bool {
	all := true
	s.eachGroup(func(group member.Members) { all = all && s.majorityOf(group, is) })
	return all
}

// mayLoseLearner says whether a majority would be left if n, a learner, was just being
// made a voter: its leader may not know yet that its disk is lost.
func (s *Sim) mayLoseLearner(n *node) bool {
	may := true
	s.eachGroup(func(group member.Members) {
		seat, in := group.Seat(n.id)
		if in && seat.Learner {
			with := slices.Clone(group)
			with[slices.Index(with, seat)].Learner = false
			may = may && s.majorityOf(with, func(o *node) bool { return o != n && o.canVote() })
		}
	})
	return may
}

// members are the nodes that have to show, in calm, that the group lives.
func (s *Sim) members() []*node {
	if !s.changing() {
		return s.nodes
	}
	var in []*node
	for _, seat := range s.groups.committed.Members {
		in = append(in, s.nodes[s.index(seat.ID)])
	}
	return in
}
