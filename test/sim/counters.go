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
	counters
)

var counterNames = [counters]string{
	"proposals", "refused", "messages", "dropped", "duplicated", "replayed",
	"crashes", "power cuts", "pauses", "partitions", "resets", "slow disks",
	"conflict truncations", "elections", "accepted", "acknowledged", "commits",
	"old-term entries held back until a noop", "pre-votes asked", "pre-votes refused",
	"check-quorum step-downs", "stale pushes rejected by term", "revotes at once after TERM_NOT_READY",
	"comparisons that jump a term", "stale storage completions", "crashes with loss", "truncations lost in a crash",
	"transfers done", "transfers failed", "disks wiped", "members that founded", "members proven by a leader",
	"votes refused for want of a proven directory", "new directories heard in mid-term", "late answers of a lost directory",
	"majorities wiped", "disks found again",
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
