package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A run is made of rounds, each with a group, disks and a history of its own: however
// long it lasts, no disk fills, and the judge holds one round in memory at a time.
const (
	// roundFor is the longest that one round breaks its group for.
	roundFor = 5 * time.Minute
	// oneRound is the longest run that is not worth a second round.
	oneRound = 40 * time.Second
)

// round is what one of them is about.
type round struct {
	wall      time.Duration
	retention bool   // old messages are purged, and members may have to be seeded
	buffered  bool   // no disk has direct writes
	more      string // settings
}

// The two ways to keep messages.
const (
	// fileSettings make files small, so that segments roll while faults last.
	fileSettings = `
storage: {segment_bytes: 1MiB, tail_cache_bytes: 4MiB, state_cache_bytes: 4MiB}
limits: {max_batch_bytes: 256KiB}
transactions: {check_after: 1s, check_interval: 1s}
`
	// purgeSettings keep so little that a member which is away for some seconds lacks what
	// the others have purged.
	purgeSettings = "retention: {size: 3MiB, check_interval: 200ms}\n"
)

// direct says which of the three disks have direct writes: one, or two of them.
func (r round) direct(rng *rand.Rand) (direct [3]bool) {
	if r.buffered {
		return direct
	}
	for _, i := range rng.Perm(3)[:1+rng.IntN(2)] {
		direct[i] = true
	}
	return direct
}

func (r round) settings() string {
	if r.retention {
		return fileSettings + purgeSettings + r.more
	}
	return fileSettings + r.more
}

func (r round) name(i int) string {
	if r.retention {
		return fmt.Sprintf("round %d with retention", i+1)
	}
	return fmt.Sprintf("round %d", i+1)
}

// plan divides a time into rounds: every other one with retention, those a little
// shorter. A short run has one.
func plan(wall time.Duration, only []string) []round {
	purging, keeping := *retentionFlag != "off", *retentionFlag != "on"
	if len(only) > 0 && !slices.ContainsFunc(kinds, func(k kind) bool { return k.scope != onLaggard && slices.Contains(only, k.name) }) {
		keeping = false // they can only be tried with retention
	}
	if wall <= oneRound && keeping {
		purging = false
	}
	if purging != keeping {
		return slices.Repeat([]round{{wall: wall / pieces(wall, roundFor), retention: purging}}, int(pieces(wall, roundFor)))
	}
	n := pieces(wall, 2*roundFor)
	return slices.Repeat([]round{{wall: wall / n * 3 / 5}, {wall: wall / n * 2 / 5, retention: true}}, int(n))
}

// pieces is into how many equal parts of at most a length a time falls.
func pieces(wall, most time.Duration) time.Duration { return max(1, (wall+most-1)/most) }
