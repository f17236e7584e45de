package client

import (
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// GroupAssignment says how the queues of a consumer group are given to its members.
type GroupAssignment int

// The kinds of assignment.
const (
	// AssignDefault takes the group as it is; a new one is AssignSticky.
	AssignDefault GroupAssignment = iota
	// AssignSticky: each queue has one owner, all have equally many, and few move.
	AssignSticky
	// AssignStatic: each member names its queues.
	AssignStatic
	// AssignBroadcast: every member reads all queues, from GroupConfig.From, and the group
	// keeps no progress.
	AssignBroadcast
	// AssignWork: nobody owns a queue; consumers receive single messages (WorkConsumer).
	AssignWork
)

// String names the assignment as commands show it.
func (a GroupAssignment) String() string {
	switch a {
	case AssignSticky:
		return "sticky"
	case AssignStatic:
		return "static"
	case AssignBroadcast:
		return "broadcast"
	case AssignWork:
		return "work"
	}
	return "default"
}

// GroupConfig says for which group to read what.
type GroupConfig struct {
	// Group is the name of the consumer group; it is made if there is none.
	Group string
	// Topic must exist.
	Topic string
	// Member names this consumer within the group; default: a random name. Two consumers
	// with one name replace each other.
	Member string
	// Assignment must be the group's, if it has one.
	Assignment GroupAssignment
	// Queues are the ones that a member of an AssignStatic group wants.
	Queues []int
	// From is where the group begins in queues in which it has no progress yet; default
	// Earliest. An Offset is moved into the range that the queue has.
	From StartAt
	// CommitEvery is how often finished messages are committed; default 1 s. Besides,
	// Commit, a lost queue and Close commit.
	CommitEvery time.Duration
	// Manual leaves it to Finish to say which messages are finished. Else a message is
	// finished when Next is called again after it.
	Manual bool
	// Filter is as in ConsumerConfig. What it does not want counts as finished as soon as
	// all before it is.
	Filter Filter
	// MaxBytes is as in ConsumerConfig.
	MaxBytes int
	// OnAssigned is told queues that this consumer has from now on, OnRevoked those that it
	// is about to lose: what is finished when it returns is committed before anyone else
	// gets them. Both are called from within Next, Poll and Close.
	OnAssigned, OnRevoked func(queues []int)
}

func (cfg GroupConfig) withDefaults() GroupConfig {
	setDefault(&cfg.MaxBytes, 16<<20)
	setDefault(&cfg.CommitEvery, time.Second)
	setDefault(&cfg.Member, "consumer-"+newRequestID()[:12])
	return cfg
}

func (cfg GroupConfig) validate() error {
	switch {
	case cfg.Group == "" || cfg.Topic == "":
		return errorf(CodeInvalidConfig, "a group consumer needs a group and a topic")
	case cfg.MaxBytes < 0 || cfg.CommitEvery < 0 || cfg.From.offset < 0:
		return errorf(CodeInvalidConfig, "MaxBytes, CommitEvery and offsets must not be negative")
	case len(cfg.Queues) > 0 && cfg.Assignment != AssignStatic:
		return errorf(CodeInvalidConfig, "only a member of a static group names its queues")
	}
	return nil
}

func (at StartAt) message() *brokerv1.GroupStart {
	switch at.kind {
	case startLatest:
		return &brokerv1.GroupStart{At: &brokerv1.GroupStart_Latest{Latest: true}}
	case startOffset:
		return &brokerv1.GroupStart{At: &brokerv1.GroupStart_Offset{Offset: at.offset}}
	case startTime:
		return &brokerv1.GroupStart{At: &brokerv1.GroupStart_TimeUnixMs{TimeUnixMs: unixMsFrom(at.time)}}
	}
	return &brokerv1.GroupStart{At: &brokerv1.GroupStart_Earliest{Earliest: true}}
}
