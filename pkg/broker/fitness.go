package broker

import (
	"context"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// circumstances are what a member's fitness to lead depends on.
type circumstances struct {
	hangs    bool // a sync does not come back
	readOnly bool // the disk is full
	stuck    bool // its state cannot be carried on
	leads    bool
	led      bool // somebody leads
	// leaderless is for how long nobody has led, better for how long the same other
	// member has said that it is fit and has kept up.
	leaderless, better time.Duration
}

// fitToLead says whether a member should lead. One whose disk hangs never should.
// One whose disk is full, or whose state is stuck, so that it cannot serve, should leave it to another that is fit, but if there is
// none it must lead all the same: somebody has to, so that consumers can read.
// settle is the time in which a fit member would have come forward.
func fitToLead(c circumstances, settle time.Duration) bool {
	switch {
	case c.hangs:
		return false
	case !c.readOnly && !c.stuck:
		return true
	case c.leads:
		return c.better < settle
	}
	return !c.led && c.leaderless >= settle
}

// fitness keeps the member's Health true. Owned by its goroutine.
type fitness struct {
	settle      time.Duration
	leaderless  time.Time // since when; zero: somebody leads
	betterSince map[member.ID]time.Time
	fit         bool
	trouble     string
}

// settleTimeouts is how many election timeouts a full member waits for a fit one: a
// follower stands after one or two.
const settleTimeouts = 3

func newFitness(electionTimeout time.Duration) *fitness {
	return &fitness{settle: settleTimeouts * electionTimeout, betterSince: make(map[member.ID]time.Time), fit: true}
}

// look notes since when things are as they are.
func (f *fitness) look(st *dledger.Status, now time.Time) circumstances {
	c := circumstances{leads: st.Role == member.Leader, led: st.Leader != ""}
	if c.led {
		f.leaderless = time.Time{}
	} else if f.leaderless.IsZero() {
		f.leaderless = now
	}
	if !c.led {
		c.leaderless = now.Sub(f.leaderless)
	}
	for _, p := range st.Peers {
		if !c.leads || !p.Connected || !p.Healthy || p.Trouble != "" {
			delete(f.betterSince, p.ID)
			continue
		}
		if _, known := f.betterSince[p.ID]; !known {
			f.betterSince[p.ID] = now
		}
		c.better = max(c.better, now.Sub(f.betterSince[p.ID]))
	}
	return c
}

// maintainFitness tells the member whether it is fit to lead: not while its disk has
// come to a stop, and not while its disk is full, or its state stuck, if another's is not.
func (b *Broker) maintainFitness(ctx context.Context) error {
	tick := time.NewTicker(b.cfg.Raft.Heartbeat)
	defer tick.Stop()
	f := newFitness(b.electionTimeout())
	for {
		_, changed := b.ledger.Changes()
		b.judgeFitness(f)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-changed:
		case <-b.disk.changed:
		}
	}
}

func (b *Broker) judgeFitness(f *fitness) {
	c := f.look(b.ledger.Status(), time.Now())
	_, c.hangs = b.diskHangs()
	_, c.readOnly = b.disk.readOnly()
	c.stuck = b.need.now.Load() != nil
	if why := b.trouble(); why != f.trouble {
		f.trouble = why
		b.ledger.SetTrouble(why)
	}
	fit := fitToLead(c, f.settle)
	if fit == f.fit {
		return
	}
	f.fit = fit
	b.ledger.SetFit(fit)
	if fit {
		b.log.Info("fit to lead")
	} else {
		b.log.Warn("not fit to lead", "why", b.trouble())
	}
}

// trouble is why this member should not lead, in words that do not change from one
// moment to the next; empty: nothing.
func (b *Broker) trouble() string {
	if _, bad := b.diskHangs(); bad {
		return "its disk does not finish a sync"
	}
	if need := b.need.now.Load(); need != nil {
		return need.why
	}
	switch now := b.disk.state.Load(); {
	case now.noSpace != nil:
		return "its disk is full: no space for the next segment"
	case now.level == diskReadOnly:
		return "its disk is full: at its read-only mark"
	}
	return ""
}
