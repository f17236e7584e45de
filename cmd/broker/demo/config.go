package demo

import (
	"errors"
	"time"
)

// config is what the flags of the demo say.
type config struct {
	runFor    time.Duration // 0: until Ctrl-C
	every     time.Duration // between two killings
	downFor   time.Duration // how long a killed broker stays away
	data      string        // directory to make its own in; "": the system's, and remove it
	producers int
	queues    int
	rate      int // messages per second of all producers
	size      int // bytes of a message
	verbose   bool
	version   string
}

func (c config) validate() error {
	switch {
	case c.runFor < 0:
		return errors.New("--for is negative")
	case c.every < 3*time.Second:
		return errors.New("--every is shorter than 3s: a killed broker needs that long to come back")
	case c.producers < 1 || c.producers > 100:
		return errors.New("--producers is not 1 to 100")
	case c.queues < 1 || c.queues > 100:
		return errors.New("--queues is not 1 to 100")
	case c.rate < 1:
		return errors.New("--rate is not 1 or more")
	case c.size < payloadHeader || c.size > 1<<20:
		return errors.New("--size is not 16 bytes to 1 MiB")
	}
	return nil
}

// firstKill is when the first leader is killed: halfway through an interval, so
// that the last one of a bounded run has time to heal.
func (c config) firstKill() time.Duration { return c.every / 2 }
