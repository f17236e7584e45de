package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

const maxNodes = 7

// profile is what the seed has drawn for a whole run. Each kind of trouble is
// switched off in some runs (a swarm): runs in which everything happens at once
// hide what only one kind, undisturbed, can bring about.
type profile struct {
	size            int  // of the group as it begins
	spares          int  // nodes that may be added to it
	preferred       int8 // -1: no preferred leader
	latency         time.Duration
	reorder         bool
	weather         weather
	syncMin         time.Duration
	syncMax         time.Duration
	ballotMax       time.Duration
	lateCompletions float64
	lateMax         time.Duration
	dispatch        time.Duration // a push waits at most so long for its dispatcher
	cutPushes       bool
	gather          time.Duration // an input waits at most so long for company
	drift           bool
	rate            float64 // proposals per second
	maxCount        int     // entries per proposal
	faultEvery      time.Duration
	faults          [faultKinds]bool
	disaster        bool          // at the end a majority loses its disks
	bootstrap       bool          // a majority may begin the group
	calamity        bool          // at the end every copy of some entries is damaged
	history         bool          // clients write one
	thick           bool          // the real commit log is under the members
	segment, tail   int64         // bytes of its segments and of its memory
	keep            int           // entries that retention keeps; 0: all
	age             time.Duration // for which retention keeps them; 0: for ever
}

// weather is how the network behaves for now.
type weather struct {
	drop, dup, replay, tail float64
	tailMax                 time.Duration
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

func drawProfile(r *rand.Rand, thick bool) profile {
	p := profile{
		size:      pick(r, 1, 3, 3, 3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 5, 5),
		preferred: -1,
		latency:   pick(r, 200*time.Microsecond, 200*time.Microsecond, time.Millisecond, 5*time.Millisecond, 20*time.Millisecond),
		reorder:   r.IntN(2) == 0,
		weather: weather{
			drop:    pick(r, 0, 0, 0.001, 0.01, 0.05),
			dup:     pick(r, 0, 0, 0.01, 0.1),
			replay:  pick(r, 0, 0, 0.005, 0.05),
			tail:    pick(r, 0, 0.001, 0.02),
			tailMax: pick(r, 100*time.Millisecond, time.Second, 5*time.Second),
		},
		syncMin:         pick(r, 50*time.Microsecond, 500*time.Microsecond, 5*time.Millisecond),
		ballotMax:       pick(r, 0, time.Millisecond, 20*time.Millisecond),
		lateCompletions: pick(r, 0, 0.05, 0.3),
		lateMax:         pick(r, 100*time.Millisecond, 2*time.Second),
		dispatch:        pick(r, 0, 100*time.Microsecond, 3*time.Millisecond),
		cutPushes:       r.IntN(2) == 0,
		gather:          pick(r, 0, 0, time.Millisecond, 5*time.Millisecond),
		drift:           r.IntN(2) == 0,
		rate:            pick(r, 2.0, 10, 10, 30, 60),
		maxCount:        pick(r, 1, 3, 20),
		faultEvery:      pick(r, 500*time.Millisecond, 2*time.Second, 2*time.Second, 5*time.Second),
	}
	p.syncMax = p.syncMin * pick(r, time.Duration(2), 2, 10)
	if r.IntN(4) == 0 {
		p.preferred = int8(r.IntN(p.size))
	}
	for k := range p.faults {
		p.faults[k] = r.IntN(5) < 3
	}
	if r.IntN(3) == 0 {
		p.spares = 1 + r.IntN(2)
	}
	p.disaster = p.spares == 0 && p.size > 1 && r.IntN(8) == 0
	p.bootstrap = !p.disaster && r.IntN(4) == 0
	p.keep = pick(r, 0, 0, 40, 300)
	if p.thick = r.IntN(10) == 0 || thick; p.thick {
		p.rate, p.maxCount = min(p.rate, 10), min(p.maxCount, 3)
		p.segment, p.tail = pick[int64](r, 16<<10, 64<<10, 256<<10), pick[int64](r, 1, 16<<10, 1<<20)
	}
	p.calamity = !p.disaster && p.spares == 0 && !p.thick && r.IntN(6) == 0
	if p.history = !p.calamity && r.IntN(10) == 0; p.history {
		p.rate, p.maxCount = min(p.rate, 10), min(p.maxCount, 3)
	}
	p.age = pick(r, 0, 0, 5*time.Second, 20*time.Second)
	return p
}

// memberConfig is the configuration of n. Timing is the default: what is tried
// here is what ships.
func (s *Sim) memberConfig(n *node) member.Config {
	// As the setting says it is for the first start only: members whose disks are lost
	// later could found an empty group beside the one that holds everything.
	cfg := member.Config{ID: n.id, Bootstrap: s.profile.bootstrap && len(s.god.leaders) == 0}
	cfg.Incarnation = member.Incarnation(fmt.Sprintf("%s#%d", n.id, n.disk.dir))
	n.configure(&cfg)
	if s.profile.preferred >= 0 {
		cfg.PreferredLeader = s.nodes[s.profile.preferred].id
	}
	return cfg
}
