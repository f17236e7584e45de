package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// roll restarts the nodes one after the other as an operator does: hand over, close,
// start, wait until it follows.
func (s *Sim) roll(next int) {
	switch {
	case s.calm:
		return
	case next >= len(s.nodes):
		s.count[RollingRestarts]++
		return
	}
	n := s.nodes[next]
	goOn := func() { s.after(300*time.Millisecond, func() { s.roll(next + 1) }) }
	if !n.up || n.paused {
		goOn()
		return
	}
	if n.role == member.Leader {
		n.post(input{ev: member.Transfer{}})
	}
	life := n.life
	s.after(150*time.Millisecond, func() {
		if n.life != life || s.calm {
			goOn()
			return
		}
		s.shutDown(n)
		s.await(func() bool { return n.up && n.leader != "" }, 3*time.Second, goOn)
	})
}

// shutDown ends n in order: all that it has written is durable.
func (s *Sim) shutDown(n *node) {
	s.count[ShutDowns]++
	if n.thick != nil && !n.disk.full && !n.disk.eio {
		if err := n.thick.log.Close(); err != nil {
			s.fail("%s: close: %v", n.id, err)
		}
	}
	if n.thick == nil && !n.disk.full {
		n.disk.inFlight = len(n.disk.unsynced)
		n.disk.settle()
	}
	s.crashKeeping(n, 0, 50*time.Millisecond)
	s.noticeCrash(n, false)
}

// await looks for something to become true, and then, or when it has waited for long
// enough, does what is to follow.
func (s *Sim) await(it func() bool, long time.Duration, then func()) {
	if long <= 0 || it() {
		then()
		return
	}
	s.after(50*time.Millisecond, func() { s.await(it, long-50*time.Millisecond, then) })
}
