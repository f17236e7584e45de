package broker

import (
	"context"
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

// watchDisk tells the member when its disk has come to a stop, and when it goes
// on: a leader that cannot write hands over instead of holding everyone up.
func (b *Broker) watchDisk(ctx context.Context) error {
	tick := time.NewTicker(b.cfg.Raft.Heartbeat)
	defer tick.Stop()
	fit := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		hangs, bad := b.diskHangs()
		if fit == !bad {
			continue // nothing new
		}
		fit = !bad
		b.ledger.SetFit(fit)
		if fit {
			b.log.Info("disk writes again: fit to lead")
		} else {
			b.log.Error("disk does not finish a sync: not fit to lead", "hangs", hangs)
		}
	}
}

func (b *Broker) diskCheck() healthCheck {
	hangs, bad := b.diskHangs()
	if bad {
		return healthCheck{"disk", false, fmt.Sprintf("an fdatasync has been running for %v", hangs.Round(time.Millisecond))}
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
