package member

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Config is what a member is told once. withDefaults fills zero durations.
type Config struct {
	// ID is this member's own id. It must be a voter of Members unless Joining is set
	// or Changes is not empty.
	ID ID
	// Incarnation names the data directory that this member has now. Without one it
	// cannot be proven by a leader.
	Incarnation Incarnation
	// Bootstrap lets a majority of fresh members begin a new group without the rest.
	// It is for the first start only: two of three members that lost their disks
	// would begin an empty group beside the one that holds everything.
	Bootstrap bool
	// Members is the group as it began: 1 to 9 voters. It holds until Changes says
	// otherwise.
	Members Members
	// Joining says that this member is not of the group yet: it waits to be added by
	// the leader, and takes no part in anything before.
	Joining bool
	// Changes is what Update.Changes said last, oldest first; empty: nothing yet.
	Changes []Change
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
	// PreferredLeader is the member that should lead when it can; empty: nobody. It need
	// not be in the group.
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
	c.Members = c.Members.sorted()
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
	if err := c.Members.Validate(); err != nil {
		refuse("Members: %w", err)
	}
	if _, ok := c.Members.Seat(c.ID); !ok && !c.Joining && len(c.Changes) == 0 {
		refuse("ID: %q is not one of Members %v: add it or correct it", c.ID, c.Members)
	} else if ok && c.Joining {
		refuse("Joining: %q is one of Members %v: name those that are in the group without it", c.ID, c.Members)
	}
	last := Change{At: NoIndex - 1}
	for _, change := range c.Changes {
		if err := change.Members.Validate(); err != nil || change.At <= last.At || change.Term < last.Term {
			refuse("Changes: (%d, %d) %v after (%d, %d): %v", change.At, change.Term, change.Members, last.At, last.Term, err)
		}
		last = change
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
