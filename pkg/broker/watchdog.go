package broker

import (
	"fmt"
	"time"
)

// stuckAfter is how long one step of the dispatcher may take before the process
// counts as dead. Its steps take milliseconds.
const stuckAfter = time.Minute

// diskHangs says for how long the running fdatasync has been running, and whether
// that is longer than the others would wait for a dead leader.
func (b *Broker) diskHangs() (time.Duration, bool) {
	hangs := b.ledger.Status().SyncHangs
	return hangs, hangs > b.electionTimeout()
}

func (b *Broker) electionTimeout() time.Duration {
	return b.cfg.Raft.Heartbeat * time.Duration(b.cfg.Raft.MaxHeartbeatLeak)
}

// diskCheck fails while the disk hangs. A full one is no reason to send clients
// elsewhere: they can read here, and what they publish is passed on.
func (b *Broker) diskCheck() healthCheck {
	hangs, bad := b.diskHangs()
	if bad {
		return healthCheck{"disk", false, fmt.Sprintf("an fdatasync has been running for %v", hangs.Round(time.Millisecond))}
	}
	if why, yes := b.disk.readOnly(); yes {
		return healthCheck{"disk", true, "read-only: " + why}
	}
	return healthCheck{"disk", true, "writes"}
}

// dispatchCheck fails when the dispatcher is stuck in one step.
func (b *Broker) dispatchCheck() healthCheck {
	began := b.dispatcher.stepBegan.Load()
	if began == nil {
		return healthCheck{"dispatcher", true, "waits for entries"}
	}
	took := time.Since(*began)
	return healthCheck{"dispatcher", took < stuckAfter, fmt.Sprintf("applies entries, %v in this step", took.Round(time.Millisecond))}
}
