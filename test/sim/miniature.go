package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// miniature is a group of three real members so small that all that can happen to it
// within some moves can be tried. It is a value: a move makes another one.
//
// Time passes only by a move, chance always says the same, and what a member asks of
// its shell is done at once, except that entries become durable by a move of their own.
type miniature struct {
	nodes     [miniSize]*miniNode
	net       []parcel // sent and not yet delivered: lost, if they never are
	leaders   [miniTerms]int8
	committed []member.Term // by index; (index, term) names an entry

	groups []miniChange

	// What may still happen.
	proposals, crashes, wipes, doubles, changes int8

	broken string // the rule that the last move broke
}

const (
	miniSize  = 3
	miniTerms = 8                      // an array's worth: scopes stay below
	miniWait  = 600 * time.Millisecond // more than an election timeout, less than a follower's patience
)

// miniNode is one member and its disk.
type miniNode struct {
	m       *member.Member
	now     time.Time
	ballot  member.Ballot
	terms   []member.Term // of the entries, durable or not
	durable int           // so many are
	commit  member.Index
	epoch   uint64
	dir     int
	saved   []member.Change
	joins   bool            // it was not in the group when that began
	graves  [][]member.Term // proven directories that were lost, as far as they were durable
}

// parcel is a message under way. Equal ones are one.
type parcel struct {
	key uint64
	msg member.Message
}

// halfway is a source of chance that always says one half.
type halfway struct{}

func (halfway) Uint64() uint64 { return uint64(math.Pow(2, 62))<<1 | 1 }

func miniID(i int) member.ID { return member.ID([]string{"n1", "n2", "n3"}[i]) }

func miniIndex(id member.ID) int { return int(id[1] - '1') }

// newMiniature is a group that has founded itself, or has yet to.
func newMiniature(fresh bool) *miniature {
	w := &miniature{}
	for i := range w.leaders {
		w.leaders[i] = -1
	}
	for i := range w.nodes {
		w.nodes[i] = &miniNode{now: epoch, dir: 1, ballot: member.Ballot{Proven: !fresh}, commit: member.NoIndex}
	}
	for i := range w.nodes {
		w.start(i)
	}
	return w
}

func (w *miniature) start(i int) {
	n := w.nodes[i]
	cfg := member.Config{
		ID: miniID(i), Members: w.firstGroup(), Joining: n.joins, Changes: n.saved, Rand: rand.New(halfway{}),
		Incarnation: member.Incarnation(fmt.Sprintf("%s#%d", miniID(i), n.dir)),
	}
	var runs []member.Run
	for k, t := range n.terms {
		if k == 0 || t != n.terms[k-1] {
			runs = append(runs, member.Run{First: member.Index(k), Term: t})
		}
	}
	m, err := member.New(cfg, n.now, n.ballot, member.NewLedger(0, member.NoTerm, runs, member.Index(len(n.terms))-1))
	if err != nil {
		w.broken = err.Error()
		return
	}
	n.m, n.epoch, n.commit = m, 0, member.NoIndex
	w.carryOut(i)
}

// copy shares all nodes but i.
func (w *miniature) copy(i int) *miniature {
	c := *w
	c.net, c.committed, c.groups = slices.Clone(w.net), slices.Clone(w.committed), slices.Clone(w.groups)
	n := *w.nodes[i]
	n.m, n.terms, n.graves = n.m.Clone(), slices.Clone(n.terms), slices.Clone(n.graves)
	c.nodes[i] = &n
	return &c
}

// step makes ev happen to node i and does what it asks. An assertion of the core is
// a broken rule like any other.
func (w *miniature) step(i int, ev member.Event) {
	defer func() {
		if r := recover(); r != nil {
			w.broken = fmt.Sprint(r)
		}
	}()
	w.nodes[i].m.Step(w.nodes[i].now, w.withGroups(ev))
	w.carryOut(i)
}

func (w *miniature) carryOut(i int) {
	n := w.nodes[i]
	u := n.m.Take()
	if u.Ballot != nil {
		w.checkBallot(i, *u.Ballot)
		n.ballot = *u.Ballot
	}
	w.keepGroups(u.Changed)
	if u.Truncate != nil {
		w.truncate(i, int(*u.Truncate))
	}
	if u.Changes != nil {
		n.saved = u.Changes
	}
	for _, span := range u.Append {
		for range span.Last - span.First + 1 {
			n.terms = append(n.terms, span.Term)
		}
	}
	for _, msg := range u.Send {
		w.send(i, msg)
	}
	if n.m.Role() == member.Leader {
		w.checkLeader(i)
	}
	if u.Commit > n.commit {
		w.commitTo(i, u.Commit)
	}
}

func (w *miniature) send(i int, msg member.Message) {
	w.checkWord(i, msg)
	key := messageKey(msg)
	if !slices.ContainsFunc(w.net, func(p parcel) bool { return p.key == key }) {
		w.net = append(w.net, parcel{key, msg})
	}
}

func (w *miniature) truncate(i, at int) {
	n := w.nodes[i]
	if at < len(w.committed) && holdsAll(n.terms, w.committed[:at+1]) {
		w.broken = fmt.Sprintf("I5: %s truncates the committed entry %d", miniID(i), at)
	}
	n.terms = slices.Clone(n.terms[:at])
	n.durable, n.epoch = min(n.durable, at), n.epoch+1
}

// persist makes durable what node i has written.
func (w *miniature) persist(i int) {
	n := w.nodes[i]
	n.durable = len(n.terms)
	w.step(i, member.Persisted{Index: member.Index(n.durable) - 1, Term: n.terms[n.durable-1], Epoch: n.epoch})
}

// exchange delivers a message to a node that was copied, makes durable what that
// writes, and delivers its answers.
func (w *miniature) exchange(k int) *miniature {
	msg := w.net[k].msg
	from, to := miniIndex(msg.Route().From), miniIndex(msg.Route().To)
	w.net = slices.Delete(w.net, k, k+1)
	old := len(w.net)
	w.step(to, member.Receive{Message: msg})
	if n := w.nodes[to]; n.durable < len(n.terms) && w.broken == "" {
		w.persist(to)
	}
	w = w.copy(from)
	answers := slices.Clone(w.net[old:])
	for _, p := range answers {
		if miniIndex(p.msg.Route().To) == from && w.broken == "" {
			w.net = slices.DeleteFunc(w.net, func(o parcel) bool { return o.key == p.key })
			w.step(from, member.Receive{Message: p.msg})
		}
	}
	return w
}

// crash loses what is not durable. The node is back at once: the others notice
// nothing of how long it was away.
func (w *miniature) crash(i int) {
	n := w.nodes[i]
	n.terms = n.terms[:n.durable]
	w.start(i)
}

// wipe loses the directory of node i.
func (w *miniature) wipe(i int) {
	n := w.nodes[i]
	if n.ballot.Proven {
		n.graves = append(n.graves, n.terms[:n.durable])
	}
	n.dir++
	n.ballot, n.terms, n.durable, n.saved = member.Ballot{}, nil, 0, nil
	w.start(i)
}

// holdsAll says whether a ledger begins with these entries.
func holdsAll(terms, entries []member.Term) bool {
	return len(terms) >= len(entries) && slices.Equal(terms[:len(entries)], entries)
}

func (w *miniature) checkBallot(i int, b member.Ballot) {
	old := w.nodes[i].ballot
	if b.Term < old.Term || (b.Term == old.Term && old.VotedFor != "" && b.VotedFor != old.VotedFor) || (old.Proven && !b.Proven) {
		w.broken = fmt.Sprintf("I1: %s saves %+v after %+v", miniID(i), b, old)
	}
}

// checkWord: a vote is on the disk of whoever gives it, and that disk is proven.
func (w *miniature) checkWord(i int, msg member.Message) {
	b := w.nodes[i].ballot
	switch m := msg.(type) {
	case member.VoteResponse:
		if m.Result == member.Accept && (!b.Proven || (!m.PreVote && (b.Term != m.RequestTerm || b.VotedFor != m.To))) {
			w.broken = fmt.Sprintf("I1: %s votes for %s in term %d, its disk holds %+v", miniID(i), m.To, m.RequestTerm, b)
		}
	case member.VoteRequest:
		if !m.Unproven && !b.Proven {
			w.broken = fmt.Sprintf("I10: %s stands unproven in term %d", miniID(i), m.Term)
		}
	}
}

// checkLeader: one leader per term (I1), who holds all that was committed (I4).
func (w *miniature) checkLeader(i int) {
	term := w.nodes[i].m.Term()
	switch w.leaders[term] {
	case -1:
		w.leaders[term] = int8(i)
		if !holdsAll(w.nodes[i].terms, w.committed) {
			w.broken = fmt.Sprintf("I4: %s leads term %d with %v, committed is %v", miniID(i), term, w.nodes[i].terms, w.committed)
		}
	case int8(i):
	default:
		w.broken = fmt.Sprintf("I1: %s and %s lead term %d", miniID(int(w.leaders[term])), miniID(i), term)
	}
}

// commitTo: what is committed is the same for all (I5), and was on a majority of
// disks (I8), those counted that were lost since.
func (w *miniature) commitTo(i int, c member.Index) {
	n := w.nodes[i]
	n.commit = c
	entries := n.terms[:c+1]
	known := min(len(entries), len(w.committed))
	if !slices.Equal(entries[:known], w.committed[:known]) {
		w.broken = fmt.Sprintf("I5: %s commits %v, committed is %v", miniID(i), entries, w.committed)
		return
	}
	if known == len(entries) {
		return
	}
	copies, group := 0, n.m.Status().Members
	for k, o := range w.nodes {
		if !group.HasVoter(miniID(k)) {
			continue
		}
		held := o.ballot.Proven && holdsAll(o.terms[:o.durable], entries)
		for _, grave := range o.graves {
			held = held || holdsAll(grave, entries)
		}
		if held {
			copies++
		}
	}
	if n.m.Role() != member.Leader || copies <= group.CountVoters()/2 {
		w.broken = fmt.Sprintf("I8: %v %s commits %v, which %d of %v hold", n.m.Role(), miniID(i), entries, copies, group)
	}
	w.committed = slices.Clone(entries)
}

// key sums up the state.
func (w *miniature) key() uint64 {
	var net uint64
	for _, p := range w.net {
		net += mix(p.key, 1) // in any order
	}
	h := mix(net, uint64(w.changes)<<32|uint64(w.proposals)<<24|uint64(w.crashes)<<16|uint64(w.wipes)<<8|uint64(w.doubles))
	for _, l := range w.leaders {
		h = mix(h, uint64(l))
	}
	h = mixTerms(h, w.committed)
	for _, n := range w.nodes {
		h = mix(mix(h, n.m.Fingerprint()), uint64(n.durable)<<8|uint64(n.dir))
		h = mixTerms(h, n.terms)
		for _, grave := range n.graves {
			h = mixTerms(h, grave)
		}
	}
	return h
}

func mixTerms(h uint64, terms []member.Term) uint64 {
	h = mix(h, uint64(len(terms)))
	for _, t := range terms {
		h = mix(h, uint64(t))
	}
	return h
}
