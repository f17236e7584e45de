package broker

import (
	"errors"
	"time"
)

// RetentionConfig says when old messages may be deleted. Each member purges its
// own ledger, whole segments at a time, the oldest first.
type RetentionConfig struct {
	// Age is how long an entry is kept after its leader appended it: 1 s to 100
	// years. A segment goes when its newest entry is older. Default 0: for ever. A
	// ledger that keeps everything fills its disk one day; one that deletes without
	// having been asked to loses messages that somebody counted on.
	Age time.Duration `yaml:"age"`
	// Size is how many bytes of segment files are kept at least, 2 MiB or more: a
	// segment goes when those after it have that many. The files take up to a segment
	// more. Default 0: no bound.
	Size Size `yaml:"size"`
	// CheckInterval is how often the ledger, and the leader's topics, are looked at: 10 ms
	// to 1 h, default 30 s.
	CheckInterval time.Duration `yaml:"check_interval"`
}

func (r RetentionConfig) withDefaults() RetentionConfig {
	fill(&r.CheckInterval, 30*time.Second)
	return r
}

func (r RetentionConfig) validate() error {
	errs := []error{within("retention.check_interval", r.CheckInterval, 10*time.Millisecond, time.Hour)}
	if r.Age != 0 {
		errs = append(errs, within("retention.age", r.Age, time.Second, 876_000*time.Hour))
	}
	if r.Size != 0 {
		errs = append(errs, within("retention.size", r.Size, 2*mebibyte, 1<<60))
	}
	return errors.Join(errs...)
}
