package member

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestRandomMemberships drives groups through the same weather while members are
// added, promoted and removed, by anyone who will take the order.
func TestRandomMemberships(t *testing.T) {
	seeds := uint64(80)
	if testing.Short() {
		seeds = 25
	}
	sizes := map[int]int{}
	for seed := range seeds {
		w := newWorld(t, seed)
		w.changing = true
		for i := range 3 {
			w.join(ID(fmt.Sprintf("x%d", i+1)))
		}
		w.run()
		if t.Failed() {
			t.Fatalf("repeat with seed %d", seed)
		}
		sizes[len(w.groups)]++
	}
	if len(sizes) < 5 {
		t.Errorf("hardly any change succeeds: %v", sizes)
	}
}

// join starts a member that the group does not know yet.
func (w *world) join(id ID) {
	w.nodes[id] = &node{
		cfg: Config{
			ID: id, Members: Voters(w.first...), Joining: true, Incarnation: directory(id, 1),
			Rand: rand.New(rand.NewPCG(w.seed, uint64(len(w.nodes)))),
		},
		ledger: NewLedger(0, NoTerm, nil, NoIndex),
	}
	w.ids = append(w.ids, id)
	w.start(id)
}

// change gives every member the same order; who leads takes it.
func (w *world) change(id, other ID) {
	ev := ChangeMembers{Op: []ChangeOp{AddLearner, AddLearner, Promote, Promote, Promote, Remove}[w.rng.IntN(6)], ID: other}
	if w.rng.IntN(4) == 0 {
		ev.ID = id
	}
	for _, to := range w.ids {
		w.at(0, to, ev, 0)
	}
}

// group is who must be whole again: the group of the newest change that is committed.
func (w *world) group() []ID {
	newest := Change{At: NoIndex, Members: Voters(w.first...)}
	for key, members := range w.groups {
		committed := int(key.index) < len(w.committed) && w.committed[key.index] == key.term
		if committed && key.index > newest.At {
			newest = Change{At: key.index, Members: members}
		}
	}
	var ids []ID
	for _, s := range newest.Members {
		ids = append(ids, s.ID)
	}
	return ids
}
