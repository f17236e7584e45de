package sim

import "time"

// ambush waits for a node at the moments that matter: crashes spread evenly over
// time nearly always find a disk at rest.
type ambush uint8

const (
	noAmbush   ambush = iota
	atAppend          // entries written, not yet synced
	atBallot          // a ballot being saved
	atTruncate        // a truncation written, not yet synced: what was dropped comes back
	atAck             // a client just answered: power cut of the whole group
)

// spring crashes n if an ambush of that kind is laid for it. The crash comes a
// moment later, when the update at hand has been carried out or is being held.
func (n *node) spring(kind ambush, within time.Duration) {
	s := n.sim
	if n.ambush != kind || s.calm {
		return
	}
	n.ambush = noAmbush
	life := n.life
	s.after(s.upTo(within), func() {
		switch {
		case s.calm || n.life != life:
		case kind == atAck:
			s.powerCut()
		case kind == atTruncate:
			s.crashKeeping(n, 0, 20*time.Millisecond)
		default:
			s.crash(n, s.chance(0.7))
		}
	})
}

// powerCut takes the power from all nodes at once.
func (s *Sim) powerCut() {
	s.count[PowerCuts]++
	for _, n := range s.nodes {
		s.crash(n, true)
	}
}
