package broker

import (
	"os"
	"runtime/debug"
	gometrics "runtime/metrics"
	"time"
)

const (
	// gcHeadroom is how much garbage may gather beside live memory of that size and above;
	// the runtime's own rule is as much as there is live memory.
	gcHeadroom = 96 * mebibyte
	// leastGCPercent bounds what collecting costs when very much is live.
	leastGCPercent = 20
	// gcLook is how often the live memory is looked at.
	gcLook = 100 * time.Millisecond
)

// gcPercent is GOGC for so much live memory. Most of a broker's is buffers, which cost
// the collector nothing to look through, so it may run more often when they are many:
// else a broker with many busy clients would take twice the memory that it uses.
func gcPercent(live uint64) int {
	if live <= uint64(gcHeadroom) {
		return 100
	}
	return max(leastGCPercent, int(100*uint64(gcHeadroom)/live))
}

// gcPace keeps the garbage collector to gcPercent. It belongs to one goroutine, and to a
// process with one broker.
type gcPace struct {
	looked time.Time
	now    int // percent
	set    func(percent int)
	live   func() uint64
}

// newGCPace leaves a GOGC alone that somebody has set: it is nil then.
func newGCPace() *gcPace {
	if os.Getenv("GOGC") != "" {
		return nil
	}
	return &gcPace{now: 100, set: func(percent int) { debug.SetGCPercent(percent) }, live: liveMemory}
}

// look follows the live memory, not for little: each change stops the program for a moment.
func (p *gcPace) look(now time.Time) {
	if p == nil || now.Sub(p.looked) < gcLook {
		return
	}
	p.looked = now
	if percent := gcPercent(p.live()); percent < p.now*9/10 || percent > p.now*11/10 || percent == 100 && p.now < 100 {
		p.set(percent)
		p.now = percent
	}
}

// liveMemory is what the last collection has found to be in use.
func liveMemory() uint64 {
	samples := []gometrics.Sample{{Name: "/gc/heap/live:bytes"}}
	gometrics.Read(samples)
	return samples[0].Value.Uint64()
}
