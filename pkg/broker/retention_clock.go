package broker

import "time"

const (
	// clockJump is how far the wall clock may run ahead of the monotonic one
	// between two looks. More is somebody setting it, or a machine that slept.
	clockJump = time.Hour
	// clockSettles is for how long the wall clock must have run steadily before
	// ages are believed.
	clockSettles = 10 * time.Minute
)

// clockGuard tells whether the wall clock can be believed when it says that
// something is old. A clock that jumps ahead would make all messages old at once.
// At start nothing is known of the clock yet, so that it has to prove itself too.
type clockGuard struct {
	settles time.Duration
	wall    time.Time     // at the last look; zero: there was none
	mono    time.Duration // at the last look
	since   time.Duration // monotonic: since when it has been steady
}

// look takes the two clocks' readings. steady says that ages may be believed,
// jumped by how much the wall clock has just jumped ahead, 0 if it has not.
func (g *clockGuard) look(wall time.Time, mono time.Duration) (steady bool, jumped time.Duration) {
	if g.wall.IsZero() {
		g.since = mono
	} else if ahead := wall.Sub(g.wall) - (mono - g.mono); ahead > clockJump {
		g.since, jumped = mono, ahead
	}
	g.wall, g.mono = wall, mono
	return mono-g.since >= g.settles, jumped
}
