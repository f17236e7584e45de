package sim

import (
	"maps"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A node that knows of damage in its ledger is suspect, as in pkg/dledger: it follows
// or goes on leading, but neither votes nor stands, and asks its peers for their
// copies until none of its own is faulty.

// chores are what a node does beside its member. A crash forgets them.
type chores struct {
	faulty    marks // entries known to be damaged here
	tried     marks // those that an attempt has not repaired
	lost      marks // those of which every peer has answered that it has no good copy
	repairing bool
	barred    bool // started with damage, and not excused since
	noSpace   bool // a sync has found no room for the next segment
	retention retention
}

const (
	repairFirstRetry = 50 * time.Millisecond
	repairRetry      = 5 * time.Second
	scrubEvery       = 15 * time.Second
	checkpointEvery  = 2 * time.Second // of the state
)

// findRot is what a recovery does. It does not read what has an outline: entries that are
// not new, and in which no damage has been met before.
func (n *node) findRot() {
	n.chores = chores{faulty: marks{}, lost: marks{}, tried: marks{}}
	n.chores.retention = retention{wrong: n.wall.offset, steady: n.sim.now}
	n.chores.retention.guard.Settles = clockSettles
	unread := member.NoIndex
	if d := &n.disk; len(d.rot) > 0 && d.fs == nil && n.sim.chance(0.5) {
		unread = d.durable.end() - member.Index(n.sim.rng.IntN(40))
	}
	for i := range n.disk.rot {
		n.chores.faulty[i] = i > unread || n.disk.met[i]
	}
	maps.DeleteFunc(n.chores.faulty, func(_ member.Index, found bool) bool { return !found })
	if len(n.chores.faulty) < len(n.disk.rot) {
		n.sim.count[UnseenRots]++
	}
	if n.chores.barred = len(n.chores.faulty) > 0; n.chores.barred {
		n.sim.count[Suspects]++
	}
}

// beginChores starts what goes on as long as the process lives.
func (n *node) beginChores() {
	if !n.up {
		return
	}
	n.repair(repairFirstRetry)
	n.repeat(scrubEvery, n.scrub)
	n.repeat(retentionEvery, n.retain)
	n.repeat(checkpointEvery, func() { n.disk.settleState(n.commit, 0) })
}

// repeat does something again and again in this life of the node.
func (n *node) repeat(every time.Duration, do func()) {
	life := n.life
	n.sim.after(n.sim.spread(every), func() {
		if n.life != life {
			return
		}
		if !n.paused {
			do()
		}
		if n.life == life {
			n.repeat(every, do)
		}
	})
}

// scrub reads all that is on the disk.
func (n *node) scrub() {
	if n.thick != nil {
		n.thick.scrubAll()
		return
	}
	for _, r := range n.disk.rot.stretches() {
		for i := r.first; i <= r.last; i++ {
			n.meetRot(i)
		}
	}
}

// meetRot is a read of entry i that finds it damaged.
func (n *node) meetRot(i member.Index) {
	if n.chores.faulty[i] {
		return
	}
	s := n.sim
	n.chores.faulty[i], n.disk.met[i] = true, true
	s.note(n, "finds damage at", int64(i), int64(len(n.chores.faulty)))
	s.count[FoundInUse]++
	if len(n.chores.faulty) == 1 {
		s.count[Suspects]++
	}
	n.repair(repairFirstRetry)
}

// forgetDamage: the entries from i on are truncated.
func (n *node) forgetDamage(i member.Index) {
	n.disk.rot.dropFrom(i)
	n.chores.faulty.dropFrom(i)
	n.chores.lost.dropFrom(i)
	n.chores.tried.dropFrom(i)
}

// stuckAt says whether the ledger cannot be truncated from i on, because the entry
// before turns out to be damaged, of which the next one needs the chain. Then the
// process ends; when it is back, it knows of the damage, and the chain with it.
func (n *node) stuckAt(i member.Index) bool {
	if !n.disk.rot[i-1] || n.chores.faulty[i-1] {
		return false
	}
	n.sim.count[StuckTruncations]++
	n.disk.met[i-1] = true
	n.dies()
	return true
}

// dies ends the process because of its disk. It is started again.
func (n *node) dies() {
	s := n.sim
	kept := s.rng.IntN(len(n.disk.unsynced) + 1)
	s.crashKeeping(n, kept, 200*time.Millisecond)
	s.noticeCrash(n, false)
}

// postSoon brings an event to n when what it is doing now is done.
func (n *node) postSoon(ev member.Event) {
	life := n.life
	n.sim.after(0, func() {
		if n.life == life {
			n.post(input{ev: ev})
		}
	})
}

// awake runs do now, or when the pause ends.
func (n *node) awake(do func()) {
	if n.paused {
		n.onResume(do)
	} else {
		do()
	}
}

// settled is the last entry that is known here to be committed.
func (n *node) settled() member.Index { return max(n.commit, n.disk.applied) }

// settleState: what the state had applied survives, if it was not among the newest.
func (d *disk) settleState(commit member.Index, unsaved int) {
	d.applied = max(d.applied, commit-member.Index(unsaved))
}

// excused says whether n may vote in spite of what is faulty, as the shell does.
func (n *node) excused() bool {
	var ranges []dledger.SuspectRange
	for _, r := range n.chores.faulty.stretches() {
		lost := true
		for i := r.first; i <= r.last; i++ {
			lost = lost && n.chores.lost[i]
		}
		ranges = append(ranges, dledger.SuspectRange{First: commitlog.Index(r.first), Last: commitlog.Index(r.last), Lost: lost})
	}
	return dledger.Excused(ranges, commitlog.Index(n.settled()))
}

// excuses is what the judge thinks of that: only what nobody has a copy of, and what is
// known to be committed, may be damaged on a member that votes (I10).
func (g *god) excuses(n *node) bool {
	for i := range n.chores.faulty {
		if !n.chores.lost[i] || i > n.settled() {
			return false
		}
	}
	return true
}

// vouched limits what n says to hold durably to what it does hold, as the shell does.
func (n *node) vouched(msg member.Message) member.Message {
	if len(n.chores.faulty) == 0 {
		return msg
	}
	switch m := msg.(type) {
	case member.HeartBeatResponse:
		m.DurableIndex, m.DurableTerm = n.vouch(m.DurableIndex, m.DurableTerm)
		return m
	case member.PushResponse:
		m.DurableIndex, m.DurableTerm = n.vouch(m.DurableIndex, m.DurableTerm)
		return m
	}
	return msg
}

func (n *node) vouch(i member.Index, t member.Term) (member.Index, member.Term) {
	faulty, ok := n.chores.faulty.after(n.settled())
	if !ok || i < faulty {
		return i, t
	}
	n.sim.count[Vouched]++
	return dledger.Vouch(i, t, faulty, func(k commitlog.Index) (commitlog.Term, error) {
		return commitlog.Term(n.log.termAt(member.Index(k))), nil
	})
}

// repair tries to repair what is faulty, one stretch after the other, and again after
// a while what could not be repaired.
func (n *node) repair(delay time.Duration) {
	if n.chores.repairing || len(n.chores.faulty) == 0 {
		return
	}
	n.chores.repairing = true
	n.tellStanding()
	n.repairNext(n.chores.faulty.stretches(), delay)
}

func (n *node) repairNext(todo []stretch, delay time.Duration) {
	if len(todo) > 0 {
		newFetch(n, todo[0], func() { n.repairNext(todo[1:], delay) }).begin()
		return
	}
	n.chores.repairing = false
	n.tellStanding()
	if len(n.chores.faulty) == 0 {
		return
	}
	life := n.life
	n.sim.after(delay, func() {
		if n.life == life {
			n.tellStanding() // what was faulty may be purged by now
			n.repair(min(2*delay, repairRetry))
		}
	})
}

// tellStanding tells the member whether it may vote.
func (n *node) tellStanding() {
	may := n.excused()
	n.chores.barred = n.chores.barred && !n.sim.god.excuses(n)
	n.postSoon(member.Standing{MayVote: may})
	n.tellHealth()
}

// hindered says whether n can give nobody what comes next, as the shell does.
func (n *node) hindered() bool {
	var ranges []dledger.SuspectRange
	for _, r := range n.chores.tried.stretches() {
		if n.chores.faulty[r.last] {
			ranges = append(ranges, dledger.SuspectRange{First: commitlog.Index(r.first), Last: commitlog.Index(r.last), Attempt: "failed"})
		}
	}
	return dledger.Hindered(ranges, commitlog.Index(n.settled()))
}

// repaired takes good copies of a stretch, durable all at once.
func (n *node) repaired(r stretch, raw []byte) {
	s := n.sim
	if n.thick != nil && !n.thick.repair(r, raw) {
		return
	}
	s.note(n, "repaired", int64(r.first), int64(r.last))
	s.count[Repairs]++
	for i := r.first; i <= r.last; i++ {
		delete(n.chores.faulty, i)
		delete(n.chores.lost, i)
		delete(n.chores.tried, i)
		delete(n.disk.rot, i)
	}
}

// noteAttempt keeps what the peers said about a stretch that could not be repaired: it is
// lost if all of them denied it, and stays as it was known if one was away.
func (n *node) noteAttempt(r stretch, away bool) {
	n.sim.note(n, "attempt to repair", int64(r.first), int64(r.last))
	for i := r.first; i <= r.last; i++ {
		if !n.chores.faulty[i] {
			continue
		}
		n.chores.tried[i] = true
		if !away {
			n.chores.lost[i] = true
			n.sim.count[CalledLost]++
		}
	}
}
