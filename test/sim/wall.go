package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// wallClock is what a node takes for the time of day: somebody may set it.
type wallClock struct {
	offset time.Duration
}

// wallNow is the time of day at n in ns since 1970.
func (n *node) wallNow() int64 {
	return epoch.Add(n.clock.scale(n.sim.now) + n.wall.offset).UnixNano()
}

// setClock sets the clock of n wrong, or right again. Small steps are what time
// synchronisation does; large ones are mistakes, which are mended after a while.
func (s *Sim) setClock(n *node) {
	s.count[ClockJumps]++
	by := pick(s.rng, -time.Hour, -3*time.Second, 500*time.Millisecond, 3*time.Second, 2*time.Hour, 40*24*time.Hour)
	n.wall.offset += by
	s.note(n, "wall clock", int64(by), 0)
	if by > commitlog.ClockJump {
		s.undo(s.upTo(10*time.Second), func() { n.wall.offset -= by })
	}
}
