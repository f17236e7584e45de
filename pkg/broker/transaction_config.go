package broker

import (
	"errors"
	"time"
)

// TransactionConfig says what the leader does about transactions of which nobody
// says how they end.
type TransactionConfig struct {
	// CheckAfter is how long after the half message its producers are first asked: 10
	// ms to 24 h, default 10 s.
	CheckAfter time.Duration `yaml:"check_after"`
	// CheckInterval is the time between two questions: 10 ms to 24 h, default 30 s.
	CheckInterval time.Duration `yaml:"check_interval"`
	// MaxChecks is after how many questions that a producer answered with "not known yet" a
	// transaction is rolled back: 1 to 10,000, default 15. Those that nobody answered do
	// not count. A new leader counts from 0.
	MaxChecks int `yaml:"max_checks"`
	// ExpireAfter is after which time one is rolled back in any case: 10 ms to 720 h,
	// default 6 h.
	ExpireAfter time.Duration `yaml:"expire_after"`
}

func (c TransactionConfig) withDefaults() TransactionConfig {
	fill(&c.CheckAfter, 10*time.Second)
	fill(&c.CheckInterval, 30*time.Second)
	fill(&c.MaxChecks, 15)
	fill(&c.ExpireAfter, 6*time.Hour)
	return c
}

func (c TransactionConfig) validate() error {
	return errors.Join(
		within("transactions.check_after", c.CheckAfter, 10*time.Millisecond, 24*time.Hour),
		within("transactions.check_interval", c.CheckInterval, 10*time.Millisecond, 24*time.Hour),
		within("transactions.max_checks", c.MaxChecks, 1, 10_000),
		within("transactions.expire_after", c.ExpireAfter, 10*time.Millisecond, 720*time.Hour),
	)
}
