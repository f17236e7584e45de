package commitlog

import "time"

// ClockJump is how far the wall clock may run ahead of the monotonic one between
// two looks. More is somebody setting it, or a machine that slept.
const ClockJump = time.Hour

// ClockGuard tells whether the wall clock can be believed when it says that an
// entry is old. A clock that jumps ahead would make all entries old at once. At
// start nothing is known of the clock yet, so that it has to prove itself too.
// It is used by one goroutine.
type ClockGuard struct {
	// Settles is for how long the wall clock must have run steadily before ages
	// are believed.
	Settles time.Duration

	wall  time.Time     // at the last look; zero: there was none
	mono  time.Duration // at the last look
	since time.Duration // monotonic: since when it has been steady
}

// Look takes the two clocks' readings. steady says that ages may be believed,
// jumped by how much the wall clock has just jumped ahead, 0 if it has not.
func (g *ClockGuard) Look(wall time.Time, mono time.Duration) (steady bool, jumped time.Duration) {
	if g.wall.IsZero() {
		g.since = mono
	} else if ahead := wall.Sub(g.wall) - (mono - g.mono); ahead > ClockJump {
		g.since, jumped = mono, ahead
	}
	g.wall, g.mono = wall, mono
	return mono-g.since >= g.Settles, jumped
}
