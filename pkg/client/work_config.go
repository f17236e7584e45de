package client

import (
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// WorkPolicy is how a work-queue group treats messages that are not acknowledged. It is
// the group's from when it is made.
type WorkPolicy struct {
	// MaxAttempts after which a message is a dead letter; default 16, at most 10,000.
	// Negative: never.
	MaxAttempts int
	// A message is delivered again BackoffMin after its first attempt, twice as long after
	// the second, and so on up to BackoffMax. Defaults 1 s and 1 min, at most 12 h.
	BackoffMin, BackoffMax time.Duration
	// FIFO delivers messages of one Message.MessageGroup one after the other, also through
	// attempts in vain. Messages without one are delivered in no order.
	FIFO bool
}

func (p WorkPolicy) withDefaults() WorkPolicy {
	setDefault(&p.MaxAttempts, 16)
	setDefault(&p.BackoffMin, time.Second)
	setDefault(&p.BackoffMax, max(p.BackoffMin, time.Minute))
	return p
}

func (p WorkPolicy) proto() *brokerv1.WorkPolicy {
	return &brokerv1.WorkPolicy{
		MaxAttempts: uint32(max(0, p.MaxAttempts)), BackoffMinMs: p.BackoffMin.Milliseconds(), BackoffMaxMs: p.BackoffMax.Milliseconds(), Fifo: p.FIFO,
	}
}

func toWorkPolicy(p *brokerv1.WorkPolicy) *WorkPolicy {
	if p == nil {
		return nil
	}
	out := &WorkPolicy{
		MaxAttempts: int(p.GetMaxAttempts()), BackoffMin: time.Duration(p.GetBackoffMinMs()) * time.Millisecond,
		BackoffMax: time.Duration(p.GetBackoffMaxMs()) * time.Millisecond, FIFO: p.GetFifo(),
	}
	if out.MaxAttempts == 0 {
		out.MaxAttempts = -1
	}
	return out
}

// WorkConfig says for which group to receive what.
type WorkConfig struct {
	// Group is the name of the work-queue group; it is made with Policy if there is none.
	Group  string
	Policy WorkPolicy
	// Topic must exist.
	Topic string
	// From is where the group begins in queues in which it is nowhere yet; default Earliest.
	From StartAt
	// Invisible is how long nobody else is given a message that was received; default 30 s,
	// 10 ms to 12 h. Delivery.Extend makes it longer, Handle does so by itself.
	Invisible time.Duration
	// Filter says which messages are wanted; default all. One that is not is done for the
	// group, so all consumers of a group should have the same.
	Filter Filter
}

func (cfg WorkConfig) withDefaults() WorkConfig {
	setDefault(&cfg.Invisible, 30*time.Second)
	cfg.Policy = cfg.Policy.withDefaults()
	return cfg
}

func (cfg WorkConfig) validate() error {
	switch {
	case cfg.Group == "" || cfg.Topic == "":
		return errorf(CodeInvalidConfig, "a work consumer needs a group and a topic")
	case cfg.Invisible < 10*time.Millisecond || cfg.Invisible > 12*time.Hour:
		return errorf(CodeInvalidConfig, "Invisible must be 10 ms to 12 h, not %v", cfg.Invisible)
	case cfg.Policy.BackoffMin < 0 || cfg.Policy.BackoffMax < cfg.Policy.BackoffMin || cfg.From.offset < 0:
		return errorf(CodeInvalidConfig, "back-offs and offsets must not be negative, nor the least back-off above the most")
	}
	return nil
}
