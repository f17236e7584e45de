package member

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestRandomGroups drives whole groups through random weather: lost, doubled, late
// and reordered messages, partitions, crashes that lose what was not on disk, slow
// disks, transfers, bad health. After every step what has been committed must be
// what was committed before; when the weather clears everyone must agree soon.
func TestRandomGroups(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.run()
		if t.Failed() {
			t.Fatalf("repeat with newWorld(t, %d)", seed)
		}
	}
}

type happening struct {
	at  time.Time
	to  ID
	ev  Event
	inc int // of the receiver when it was meant for one life only; 0: any
}

type world struct {
	t         *testing.T
	seed      uint64
	rng       *rand.Rand
	now       time.Time
	ids       []ID
	first     []ID // the group as it began
	nodes     map[ID]*node
	lives     map[ID]int
	queue     []happening
	blocked   map[Route]bool
	loss      float64
	spell     int // steps between two changes of the weather, about
	calm      bool
	leaders   map[Term]ID
	committed []Term // by index, over all members
	steps     int
	groups    bodies
	changing  bool // the group changes now and then
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), now: epoch, nodes: map[ID]*node{}, lives: map[ID]int{},
		blocked: map[Route]bool{}, leaders: map[Term]ID{}, groups: bodies{},
	}
	for i := range []int{3, 3, 5, 2, 1, 4}[seed%6] {
		w.ids = append(w.ids, ID(fmt.Sprintf("n%d", i+1)))
	}
	w.loss = []float64{0, 0.02, 0.2}[w.rng.IntN(3)]
	w.spell = []int{30, 150, 600}[w.rng.IntN(3)]
	for _, id := range w.ids {
		cfg := Config{ID: id, Members: Voters(w.ids...), Incarnation: directory(id, 1), Rand: rand.New(rand.NewPCG(seed, uint64(len(w.nodes))))}
		if w.rng.IntN(4) == 0 {
			cfg.PreferredLeader, cfg.PreferredCoolDown = w.ids[0], 2*time.Second
		}
		w.first = w.ids
		w.nodes[id] = &node{cfg: cfg, ledger: NewLedger(0, NoTerm, nil, NoIndex)}
		w.start(id)
	}
	return w
}

func (w *world) start(id ID) {
	n := w.nodes[id]
	m, err := New(n.cfg, w.now, n.ballot, n.ledger)
	if err != nil {
		w.t.Fatal(err)
	}
	n.member, n.epoch, n.durable = m, 0, n.ledger.End()
	w.lives[id]++
	w.at(10*time.Millisecond, id, Tick{}, w.lives[id])
}

func (w *world) at(delay time.Duration, to ID, ev Event, life int) {
	w.queue = append(w.queue, happening{w.now.Add(delay), to, ev, life})
}

func (w *world) run() {
	for end := w.now.Add(20 * time.Second); w.now.Before(end); {
		w.next()
		if w.rng.IntN(w.spell) == 0 {
			w.weather()
		}
	}
	w.clear()
	for end := w.now.Add(8 * time.Second); w.now.Before(end); {
		w.next()
	}
	w.converged()
}

// next makes the earliest thing happen; two in a hundred times another near one.
func (w *world) next() {
	if len(w.queue) == 0 { // all are down
		w.now = w.now.Add(10 * time.Millisecond)
		w.weather()
		return
	}
	best := 0
	for i := range w.queue {
		if w.queue[i].at.Before(w.queue[best].at) {
			best = i
		}
	}
	h := w.queue[best]
	w.queue = slices.Delete(w.queue, best, best+1)
	if h.at.After(w.now) {
		w.now = h.at
	}
	n := w.nodes[h.to]
	if n.member == nil || (h.inc != 0 && h.inc != w.lives[h.to]) {
		return
	}
	if w.steps++; w.steps > 100_000 {
		w.t.Fatalf("seed %d: too many steps: a message storm", w.seed)
	}
	if done, ok := h.ev.(Persisted); ok && done.Epoch == n.epoch {
		n.durable = max(n.durable, min(done.Index, n.ledger.End()))
	}
	n.member.Step(w.now, w.groups.fill(h.ev))
	if _, ok := h.ev.(Tick); ok {
		w.at(10*time.Millisecond, h.to, Tick{}, w.lives[h.to])
		if w.rng.IntN(4) == 0 {
			n.member.Step(w.now, Propose{Count: 1 + w.rng.IntN(3)})
		}
	}
	if w.rng.IntN(3) > 0 { // sometimes several steps share one Take
		w.carryOut(h.to, n)
	}
}

func (w *world) carryOut(id ID, n *node) {
	u := n.member.Take()
	if u.Ballot != nil {
		n.ballot = *u.Ballot
	}
	w.groups.keep(u.Changed)
	if u.Truncate != nil {
		n.ledger.truncateFrom(*u.Truncate)
		n.durable, n.epoch = min(n.durable, n.ledger.End()), n.epoch+1
	}
	if u.Changes != nil {
		n.cfg.Changes = u.Changes
	}
	for _, s := range u.Append {
		if s.First != n.ledger.End()+1 {
			w.t.Fatalf("seed %d: %s appends %+v after %d", w.seed, id, s, n.ledger.End())
		}
		n.ledger.append(s.Term, s.Last-s.First+1)
	}
	if u.Truncate != nil || len(u.Append) > 0 {
		w.at(w.diskDelay(), id, Persisted{Index: n.ledger.End(), Term: n.ledger.EndTerm(), Epoch: n.epoch}, w.lives[id])
	}
	for _, msg := range u.Send {
		w.deliver(msg)
	}
	w.check(id, n, u)
}

func (w *world) diskDelay() time.Duration {
	if !w.calm && w.rng.IntN(20) == 0 {
		return time.Duration(w.rng.Int64N(int64(600 * time.Millisecond)))
	}
	return time.Duration(w.rng.Int64N(int64(5 * time.Millisecond)))
}

func (w *world) deliver(msg Message) {
	r := msg.Route()
	copies := 1
	if !w.calm {
		if w.blocked[r] || w.rng.Float64() < w.loss {
			return
		}
		if w.rng.IntN(30) == 0 {
			copies = 2
		}
	}
	for range copies {
		delay := time.Duration(w.rng.Int64N(int64(4 * time.Millisecond)))
		if !w.calm && w.rng.IntN(100) == 0 {
			delay *= 300
		}
		w.at(delay, r.To, Receive{msg}, 0)
	}
}

// weather changes something for the worse or the better.
func (w *world) weather() {
	id := w.ids[w.rng.IntN(len(w.ids))]
	other := w.ids[w.rng.IntN(len(w.ids))]
	n := w.nodes[id]
	if w.changing && w.rng.IntN(3) == 0 {
		w.change(id, other)
		return
	}
	switch w.rng.IntN(9) {
	case 0, 1:
		if n.member == nil {
			w.start(id)
			return
		}
		n.member = nil
		if n.durable < n.ledger.End() {
			n.ledger.truncateFrom(n.durable + 1)
		}
		for _, p := range w.ids {
			w.at(time.Millisecond, p, Disconnected{Peer: id}, 0)
		}
	case 2:
		w.blocked[Route{id, other}] = true
	case 3:
		for _, p := range w.ids {
			w.blocked[Route{id, p}], w.blocked[Route{p, id}] = true, true
		}
	case 4, 5:
		clear(w.blocked)
	case 6:
		w.at(0, id, Transfer{To: other}, 0)
	case 7:
		w.at(0, id, Disconnected{Peer: other}, 0)
		w.at(time.Duration(w.rng.Int64N(int64(time.Second))), id, Connected{Peer: other}, 0)
	case 8:
		w.at(0, id, Health{Fit: w.rng.IntN(2) == 0}, 0)
	}
}

func (w *world) clear() {
	w.calm = true
	clear(w.blocked)
	for _, id := range w.ids {
		if w.nodes[id].member == nil {
			w.start(id)
		}
		w.at(0, id, Health{Fit: true}, 0)
	}
}

// check looks at what one member says against what all have said before.
func (w *world) check(id ID, n *node, u Update) {
	if n.ledger.End() != n.member.ledger.End() || n.epoch != n.member.epoch {
		w.t.Fatalf("seed %d: %s: ledgers of core and disk differ: %d and %d, epochs %d and %d", w.seed, id,
			n.member.ledger.End(), n.ledger.End(), n.member.epoch, n.epoch)
	}
	if n.member.durable > n.durable {
		w.t.Fatalf("seed %d: %s believes %d durable, the disk has %d", w.seed, id, n.member.durable, n.durable)
	}
	if n.member.Role() == Leader {
		if was, ok := w.leaders[n.member.Term()]; ok && was != id {
			w.t.Fatalf("seed %d: two leaders in term %d: %s and %s", w.seed, n.member.Term(), was, id)
		}
		w.leaders[n.member.Term()] = id
	}
	for i := n.commit + 1; i <= u.Commit; i++ {
		term, _ := n.ledger.TermAt(i)
		if int(i) == len(w.committed) {
			w.committed = append(w.committed, term)
		}
		if w.committed[i] != term {
			w.t.Fatalf("seed %d: %s commits %d/%d, committed before: %d/%d", w.seed, id, i, term, i, w.committed[i])
		}
	}
	n.commit = u.Commit
}

// converged says whether the group is whole again: one leader, followed by all, and
// everything committed everywhere.
func (w *world) converged() {
	durable, leaders := 0, 0
	ids := w.group()
	for _, id := range ids {
		n := w.nodes[id]
		w.carryOut(id, n)
		s := n.member.Status()
		if s.Role == Leader {
			leaders++
		}
		if int(s.Commit) >= len(w.committed)-40 && len(w.committed) > 40 && s.Leader != "" {
			durable++
		}
	}
	if leaders != 1 || durable != len(ids) {
		for _, id := range w.ids {
			w.t.Errorf("seed %d: %+v", w.seed, w.nodes[id].member.Status())
		}
		w.t.Fatalf("seed %d: not whole again: %d leaders, %d of %d members up to date (%d committed)", w.seed, leaders, durable, len(ids), len(w.committed))
	}
}
