package chaos

import (
	"context"
	"syscall"
	"time"
)

// scope says what a fault takes hold of: at a time there is one of the network, and
// one of each host.
type scope int

const (
	onHosts scope = iota + 1
	onNetwork
	onGroup
	// onCopy harms one member's copy of what was acknowledged. No other copy is harmed
	// until that member has been seen to hold everything again: then a majority always has
	// a good one, and whatever is lost is a fault of ours.
	onCopy
	// onMembers takes one member out of the group and in again, for as long as that takes;
	// it may harm a copy. onLeader does that with the one that leads. There is no other
	// change of the group meanwhile, and no member is wiped or kept away: of two voters
	// none may be missing for longer than a crash takes.
	onMembers
	onLeader
	// onLaggard keeps hosts away for so long that they lack what the others have purged;
	// it is tried in rounds with retention only.
	onLaggard
)

// ofHost tells whether the fault is one of a host's process or disk.
func (s scope) ofHost() bool { return s == onHosts || s.ofCopy() }

// ofCopy tells whether it takes a copy of what was acknowledged out of what can be counted
// on, for longer than a crash does: there is one such fault at a time.
func (s scope) ofCopy() bool { return s == onCopy || s == onLaggard || s.changes() }

// changes tells whether the group changes.
func (s scope) changes() bool { return s == onMembers || s == onLeader }

// kind is one kind of fault. inject begins it and returns what ends it.
type kind struct {
	name   string
	needs  ability
	scope  scope
	inject func(n *nemesis, targets []*host) (heal func())
}

var kinds []kind // set by init: their functions look at the list themselves

func init() {
	kinds = []kind{
		{"kill", processes, onHosts, kill},
		{"cut", packets, onNetwork, cut},
		{"pause", processes, onHosts, stop},
		{"power", powerLoss, onHosts, power},
		{"absence", processes, onLaggard, absence},
		{"wipe", processes, onCopy, wipe},
		{"replace", processes, onMembers, replace},
		{"remove the leader", processes, onLeader, removeLeader},
		{"bits flip in a sealed segment", processes, onCopy, flipSealed},
		{"bits flip in the active segment", processes, onCopy, flipActive},
		{"bits flip in the state", processes, onCopy, flipState},
		{"sync fails", oneShot, onHosts, syncFails},
		{"write fails", oneShot, onHosts, writeFails},
		{"read fails", oneShot, onCopy, readFails},
		{"answers lost", redirects, onNetwork, loseAnswers},
		{"slow answers", redirects, onNetwork, delayAnswers},
		{"restart", processes, onHosts, restart},
		{"transfer", processes, onGroup, transfer},
		{"crash loop", processes, onHosts, crashLoop},
		{"power twice", powerLoss, onHosts, powerTwice},
		{"stop together", processes, onHosts, stopTogether},
		{"pause then kill", processes, onHosts, stopThenKill},
		{"freeze group", freezer, onHosts, cage},
		{"disk hangs", freezing, onHosts, hang},
		{"disk dies", powerLoss, onHosts, diskDies},
		{"disk full", disks, onHosts, diskFull},
		{"isolate", packets, onNetwork, isolate},
		{"one way in", packets, onNetwork, deaf},
		{"one way out", packets, onNetwork, mute},
		{"one link", packets, onNetwork, oneLink},
		{"no clients", packets, onNetwork, noClients},
		{"lossy", randomDrops, onNetwork, lossy},
		{"no large packets", packets, onNetwork, noLarge},
		{"reset", resets, onNetwork, reset},
	}
}

func kill(_ *nemesis, targets []*host) func() {
	for _, h := range targets {
		h.kill()
	}
	return func() {
		for _, h := range targets {
			h.start()
		}
	}
}

func stop(_ *nemesis, targets []*host) func() {
	for _, h := range targets {
		h.node.TrySignal(syscall.SIGSTOP)
	}
	return func() {
		for _, h := range targets {
			h.node.TrySignal(syscall.SIGCONT)
		}
	}
}

// stopThenKill never lets what had stopped go on.
func stopThenKill(n *nemesis, targets []*host) func() {
	stop(n, targets)
	return func() { kill(n, targets)() }
}

// crashLoop kills each target again and again while it starts: recovery is cut off at
// any point.
func crashLoop(n *nemesis, targets []*host) func() {
	for range 2 + n.rng.IntN(4) {
		kill(n, targets)()
		pause(time.Duration(n.rng.IntN(400)) * time.Millisecond)
	}
	return func() { kill(n, targets)() }
}

// powerTwice cuts the power again while the targets recover from the first cut.
func powerTwice(n *nemesis, targets []*host) func() {
	power(n, targets)()
	pause(time.Duration(n.rng.IntN(600)) * time.Millisecond)
	return power(n, targets)
}

// stopTogether asks all targets to end at the same time: there may be nobody to hand
// over to.
func stopTogether(_ *nemesis, targets []*host) func() {
	for _, h := range targets {
		h.node.TrySignal(syscall.SIGTERM)
	}
	for _, h := range targets {
		h.terminated()
	}
	return func() {
		for _, h := range targets {
			h.start()
		}
	}
}

func cage(_ *nemesis, targets []*host) func() {
	for _, h := range targets {
		h.cageState("FROZEN")
	}
	return func() {
		for _, h := range targets {
			h.cageState("THAWED")
		}
	}
}

// restart is a rolling one: each hands over, ends and comes back before the next.
func restart(_ *nemesis, targets []*host) func() {
	for _, h := range targets {
		h.node.TrySignal(syscall.SIGTERM)
		h.terminated()
		h.start()
	}
	return func() {}
}

// power cuts the power of all targets at the same time.
func power(n *nemesis, targets []*host) func() {
	for _, h := range targets {
		must(n.t, h.disk.die())
	}
	return buryDisks(n, targets)
}

// buryDisks takes dead disks and their brokers down, and brings them up again.
func buryDisks(n *nemesis, targets []*host) func() {
	for _, h := range targets {
		h.kill()
		must(n.t, h.disk.unmount())
	}
	return func() {
		for _, h := range targets {
			must(n.t, h.disk.restorePower())
			h.start()
		}
	}
}

// diskDies leaves the process alive with a disk on which everything fails: it has to
// end by itself. How often it did is counted; one that has nothing to write may not
// notice.
func diskDies(n *nemesis, targets []*host) func() {
	for _, h := range targets {
		must(n.t, h.disk.die())
	}
	return func() {
		for _, h := range targets {
			ended := 0
			if h.endsWithin(n.ctx, time.Second) {
				ended = 1
			}
			n.counts.add("disks that died", 1)
			n.counts.add("brokers that ended by themselves then", ended)
		}
		buryDisks(n, targets)()
	}
}

func hang(n *nemesis, targets []*host) func() {
	for _, h := range targets {
		must(n.t, h.disk.freeze())
	}
	return func() {
		for _, h := range targets {
			must(n.t, h.disk.thaw())
		}
	}
}

// diskFull leaves not a block; a broker may go on without writing or end, also a little
// later, when what failed comes to light.
func diskFull(n *nemesis, targets []*host) func() {
	for _, h := range targets {
		must(n.t, h.disk.fill())
	}
	return func() {
		for _, h := range targets {
			must(n.t, h.disk.drop())
			h.mayEnd = time.Now().Add(5 * time.Second)
		}
	}
}

// transfer asks for another leader; that it is refused is no fault of anyone.
func transfer(n *nemesis, targets []*host) func() {
	ctx, cancel := context.WithTimeout(n.ctx, 2*time.Second)
	defer cancel()
	if _, _, err := n.admin.Transfer(ctx, targets[0].node.ID); err != nil {
		n.log("transfer to %s: %v", targets[0].node.ID, err)
	}
	return func() {}
}
