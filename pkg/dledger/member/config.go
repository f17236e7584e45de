package member

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// maxGroupSize is the largest group there may be.
const maxGroupSize = 9

// Config is what a member is told once. withDefaults fills zero durations.
type Config struct {
	// ID is this member's own id. It must be one of Peers.
	ID ID
	// Incarnation names the data directory that this member has now. Without one it
	// cannot be proven by a leader.
	Incarnation Incarnation
	// Bootstrap lets a majority of fresh members begin a new group without the rest.
	// It is for the first start only: two of three members that lost their disks
	// would begin an empty group beside the one that holds everything.
	Bootstrap bool
	// Peers are all members of the group, this one included: 1 to 9 of them.
	Peers []ID
	// HeartBeatInterval is how often a leader tells its followers that it lives.
	// Default 100 ms.
	HeartBeatInterval time.Duration
	// MaxHeartBeatLeak times HeartBeatInterval is the election timeout: how long a
	// follower waits for a leader, randomised to twice as much for each wait, and
	// how long a leader goes on without answers from a quorum. Default 5.
	MaxHeartBeatLeak int
	// MinVoteInterval and MaxVoteInterval bound the random wait between two vote
	// rounds of a candidate. Defaults 30 and 150 ms.
	MinVoteInterval, MaxVoteInterval time.Duration
	// PreferredLeader is the member that should lead when it can; empty: nobody.
	PreferredLeader ID
	// PreferredCoolDown is the least time between two attempts to hand over to the
	// preferred leader, and the least time that it must have been fit and caught
	// up before one. Default 10 s. (DLedger has none: dledger#287.)
	PreferredCoolDown time.Duration
	// TransferTimeout bounds a leadership transfer. Default 1 s.
	TransferTimeout time.Duration
	// MaxTransferGap is how many entries the transferee may lack when a transfer
	// begins. Default 1000 (DLedger: maxLeadershipTransferWaitIndex).
	MaxTransferGap Index
	// ResendInterval is how long a leader waits for a follower's durable index to
	// grow before it compares again. Default 1 s (DLedger: maxPushTimeOutMs).
	ResendInterval time.Duration
	// Barred makes a member that may neither vote nor stand until a Standing event
	// says otherwise.
	Barred bool
	// Rand is the only source of chance. It is not shared.
	Rand *rand.Rand
}

func (c Config) withDefaults() Config {
	c.Peers = slices.Clone(c.Peers)
	c.HeartBeatInterval = cmp.Or(c.HeartBeatInterval, 100*time.Millisecond)
	c.MaxHeartBeatLeak = cmp.Or(c.MaxHeartBeatLeak, 5)
	c.MinVoteInterval = cmp.Or(c.MinVoteInterval, 30*time.Millisecond)
	c.MaxVoteInterval = cmp.Or(c.MaxVoteInterval, 150*time.Millisecond)
	c.PreferredCoolDown = cmp.Or(c.PreferredCoolDown, 10*time.Second)
	c.TransferTimeout = cmp.Or(c.TransferTimeout, time.Second)
	c.MaxTransferGap = cmp.Or(c.MaxTransferGap, 1000)
	c.ResendInterval = cmp.Or(c.ResendInterval, time.Second)
	return c
}

func (c Config) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Peers) < 1 || len(c.Peers) > maxGroupSize {
		refuse("Peers: %d members: give 1 to %d", len(c.Peers), maxGroupSize)
	}
	if sorted := slices.Sorted(slices.Values(c.Peers)); len(slices.Compact(sorted)) != len(c.Peers) || slices.Contains(c.Peers, "") {
		refuse("Peers: %q: give each member one id that is not empty", c.Peers)
	}
	if !slices.Contains(c.Peers, c.ID) {
		refuse("ID: %q is not one of Peers %q: add it or correct it", c.ID, c.Peers)
	}
	if c.PreferredLeader != "" && !slices.Contains(c.Peers, c.PreferredLeader) {
		refuse("PreferredLeader: %q is not one of Peers %q", c.PreferredLeader, c.Peers)
	}
	if c.HeartBeatInterval < 0 || c.MaxHeartBeatLeak < 2 {
		refuse("HeartBeatInterval, MaxHeartBeatLeak: %v, %d: give a positive interval and at least 2, so that one lost heartbeat ends no leadership",
			c.HeartBeatInterval, c.MaxHeartBeatLeak)
	}
	if c.MinVoteInterval < 0 || c.MaxVoteInterval <= c.MinVoteInterval {
		refuse("MinVoteInterval, MaxVoteInterval: %v to %v is no range: candidates could tie for ever", c.MinVoteInterval, c.MaxVoteInterval)
	}
	if min(c.PreferredCoolDown, c.TransferTimeout, c.ResendInterval) < 0 || c.MaxTransferGap < 0 {
		refuse("PreferredCoolDown, TransferTimeout, ResendInterval, MaxTransferGap: none may be negative")
	}
	if c.Rand == nil {
		refuse("Rand: missing: give the member a source of chance of its own")
	}
	if len(errs) > 0 {
		return fmt.Errorf("member config: %w", errors.Join(errs...))
	}
	return nil
}

func compareIDs(a, b ID) int { return cmp.Compare(a, b) }
