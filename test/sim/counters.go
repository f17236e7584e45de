package sim

import (
	"fmt"
	"io"
)

// Counter names something that happens in a run.
type Counter int

// The counters. Those from Truncations on must sometimes happen: a set of seeds
// in which one of them stays 0 does not test what it claims to test.
const (
	Proposals Counter = iota
	Refused
	Messages
	Dropped
	Duplicated
	Replayed
	Crashes
	PowerCuts
	Pauses
	Partitions
	Resets
	SlowDisks
	Undecidable
	Truncations
	Elections
	Accepted
	Acked
	Commits
	OldTermsReleased
	PreVotes
	PreVotesRefused
	QuorumStepDowns
	StalePushes
	RevotesImmediately
	TermJumps
	StaleCompletions
	CrashesWithLoss
	LostTruncations
	TransfersDone
	TransfersFailed
	Wipes
	Foundings
	Proofs
	NotVoters
	NewDirs
	StaleDirs
	MajorityWipes
	Restored
	Rots
	Suspects
	FoundInUse
	Repairs
	DamagedThereToo
	Vouched
	PushesHeld
	CalledLost
	DiskErrors
	FullDisks
	FullLeaders
	FullHandOvers
	ClockJumps
	ClockJumpsNoticed
	Purges
	PurgesByAge
	Seeded
	SeedsResumed
	SeedsBegunAnew
	SeedsUnneeded
	ShutDowns
	RollingRestarts
	Misfits
	StuckTruncations
	LearnersAdded
	Promotions
	Removals
	ChangesRefused
	ChangesUndone
	TornTails
	TrustedOutlines
	UnseenRots
	CutSyncs
	CutTruncations
	ThickErrors
	Flips
	Refusals
	ReplayedLate
	Histories
	HistoryOps
	Pulled
	Calamities
	CutBallots
	Unreadable
	counters
)

var counterNames = [counters]string{
	"proposals", "refused", "messages", "dropped", "duplicated", "replayed",
	"crashes", "power cuts", "pauses", "partitions", "resets", "slow disks", "flips that nothing would prove",
	"conflict truncations", "elections", "accepted", "acknowledged", "commits",
	"old-term entries held back until a noop", "pre-votes asked", "pre-votes refused",
	"check-quorum step-downs", "stale pushes rejected by term", "revotes at once after TERM_NOT_READY",
	"comparisons that jump a term", "stale storage completions", "crashes with loss", "truncations lost in a crash",
	"transfers done", "transfers failed", "disks wiped", "members that founded", "members proven by a leader",
	"votes refused for want of a proven directory", "new directories heard in mid-term", "late answers of a lost directory",
	"majorities wiped", "disks found again",
	"runs of entries damaged on disk", "suspect members", "damages found while in use", "runs of entries repaired from peers",
	"entries damaged on the peer that was asked, too", "durable positions cut down to what is whole", "pushes held until a repair",
	"entries that no peer had a copy of", "disk errors", "disks full", "leaders without space", "of these, leaders no more while it lasted",
	"wall clocks set", "clock jumps noticed by retention", "purges", "purges by age",
	"members seeded", "seeds resumed", "seeds begun anew", "seeds found unneeded",
	"orderly stops", "rolling restarts", "copies that did not fit", "truncations next to damage",
	"learners added", "learners promoted", "voters removed", "membership changes refused", "membership changes truncated",
	"torn tails dropped", "logs opened without reading all of them", "starts that did not find all damage", "syncs cut by a crash", "truncations cut by a crash", "syncs of the real log that failed",
	"bits and sectors of files damaged", "logs that refused to open", "messages of long ago replayed",
	"histories judged", "operations in histories", "messages pulled",
	"runs in which every copy of some entries was damaged", "saves of the ballot cut short",
	"blocks of files made unreadable",
}

// Counters are how often each thing happened.
type Counters [counters]int64

// Add adds the counts of another run.
func (c *Counters) Add(o *Counters) {
	for i := range c {
		c[i] += o[i]
	}
}

// Never lists what should sometimes have happened and did not.
func (c *Counters) Never() []string {
	var names []string
	for i := Truncations; i < counters; i++ {
		if c[i] == 0 {
			names = append(names, counterNames[i])
		}
	}
	return names
}

// Print writes one line per counter.
func (c *Counters) Print(w io.Writer) {
	for i, n := range c {
		fmt.Fprintf(w, "%12d %s\n", n, counterNames[i])
	}
}
