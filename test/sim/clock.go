package sim

import "time"

// epoch is when every run begins on a clock without drift.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// clock is a node's monotonic clock: it starts anywhere and runs a little too
// fast or too slow, never backwards.
type clock struct {
	offset time.Duration
	ppm    int64 // parts per million that it is fast
}

// local is what the clock shows at virtual time t.
func (c clock) local(t time.Duration) time.Time {
	return epoch.Add(c.offset + c.scale(t))
}

// scale is exact for runs of up to an hour.
func (c clock) scale(t time.Duration) time.Duration {
	return t + t*time.Duration(c.ppm)/1_000_000
}

// virtual is the virtual time at which the clock first shows at least l, to the
// nanosecond or one more.
func (c clock) virtual(l time.Time) time.Duration {
	d := l.Sub(epoch) - c.offset
	t := d * 1_000_000 / time.Duration(1_000_000+c.ppm)
	for c.scale(t) < d {
		t++
	}
	return t
}
