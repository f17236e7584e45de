package sim

import "time"

// partition cuts links in one of the shapes known to make trouble, and joins
// them again after a while.
func (s *Sim) partition(f fault) {
	if s.size() == 1 {
		return
	}
	s.count[Partitions]++
	cuts := s.shape(f)
	for _, c := range cuts {
		s.net.cut(c[0], c[1])
	}
	s.undo(s.spread(pick(s.rng, 500*time.Millisecond, 3*time.Second, 8*time.Second)), func() {
		for _, c := range cuts {
			s.net.uncut(c[0], c[1])
		}
	})
}

func (s *Sim) shape(f fault) [][2]int8 {
	order := s.rng.Perm(len(s.nodes))
	place := make([]int, len(order)) // of each node, in a random order
	for p, i := range order {
		place[i] = p
	}
	half := s.quorum() - 1
	switch f {
	case faultHalves:
		if s.chance(0.2) { // nobody sees anybody
			return s.between(func(int8, int8) bool { return true })
		}
		return s.between(func(a, b int8) bool { return (place[a] < half) != (place[b] < half) })
	case faultIsolateLeader:
		alone := int8(order[0])
		if lead := s.leader(); lead != nil {
			alone = lead.i
		}
		return s.between(func(a, b int8) bool { return a == alone || b == alone })
	case faultOneWay:
		one := int8(order[0])
		if lead := s.leader(); lead != nil && s.chance(0.5) {
			one = lead.i
		}
		switch s.rng.IntN(3) {
		case 0: // it can only hear
			return s.between(func(a, _ int8) bool { return a == one })
		case 1: // it can only speak
			return s.between(func(_, b int8) bool { return b == one })
		}
		a, b := int8(order[0]), int8(order[1])
		if s.chance(0.5) { // two that do not see each other
			return [][2]int8{{a, b}, {b, a}}
		}
		return [][2]int8{{a, b}}
	case faultBridge: // two halves that only one node can see both of
		bridge := len(order) / 2
		return s.between(func(a, b int8) bool {
			return place[a] < bridge && place[b] > bridge || place[b] < bridge && place[a] > bridge
		})
	default: // a ring: each sees its neighbours, and so a majority of its own
		n := len(order)
		return s.between(func(a, b int8) bool {
			d := (place[a] - place[b] + n) % n
			return n == 3 && place[a]+place[b] == 1 || n > 3 && d != 1 && d != n-1
		})
	}
}

// between lists the directed links for which cut holds.
func (s *Sim) between(cut func(a, b int8) bool) [][2]int8 {
	var cuts [][2]int8
	for a := range s.size() {
		for b := range s.size() {
			if a != b && cut(a, b) {
				cuts = append(cuts, [2]int8{a, b})
			}
		}
	}
	return cuts
}
