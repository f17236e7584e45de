package broker

import (
	"errors"
	"time"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// TopicsConfig is what topics are given that say nothing else.
type TopicsConfig struct {
	// DeleteGrace is for how long a deleted topic can be had back with its messages, if
	// the request to delete it does not say: up to 30 days. Default 1 h: a name that was
	// mistyped is noticed sooner. A negative one is none: deleted topics are gone at once.
	DeleteGrace time.Duration `yaml:"delete_grace"`
}

func (c TopicsConfig) withDefaults() TopicsConfig {
	fill(&c.DeleteGrace, time.Hour)
	return c
}

func (c TopicsConfig) validate() error {
	if c.DeleteGrace < 0 {
		return nil
	}
	return errors.Join(within("topics.delete_grace", c.DeleteGrace, time.Millisecond, time.Duration(state.MaxDeleteGraceMs)*time.Millisecond))
}
