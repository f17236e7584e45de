package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Options are what one run is to be.
type Options struct {
	// Seed decides everything about the run.
	Seed uint64
	// Chaos is how long faults go on, in simulated time. Default 60 s.
	Chaos time.Duration
	// Thick puts the real commit log under the members whatever the seed says.
	Thick bool
	// Trace, if set, gets one line per event. It does not change the run.
	Trace io.Writer
}

// Result is what came of a run.
type Result struct {
	Seed      uint64
	Simulated time.Duration
	Steps     int64
	Hash      uint64 // of all that happened; the same seed gives the same
	Violation string // empty: none
	Count     Counters
	// BusiestSecond is the most messages sent in one simulated second.
	BusiestSecond int
}

// Limits on what may happen in one simulated second: above them something
// echoes or spins.
const (
	maxMessagesPerSecond = 10_000
	maxStepsPerSecond    = 30_000
)

// Sim is one run. It is used by one goroutine.
type Sim struct {
	opt     Options
	rng     *rand.Rand
	profile profile
	weather weather
	now     time.Duration
	events  eventHeap
	nodes   []*node
	net     network
	god     *god
	groups  groups
	count   Counters
	calm    bool // all faults are healed
	quiet   bool // no more proposals
	done    bool

	segmentIDs uint64 // of thick nodes

	chronicle   *chronicle // nil: no history is written
	ruined      *stretch   // entries of which every copy is damaged; nil: none are
	nextPayload uint64
	served      []*proposal // those of the calm phase

	steps  int64
	second struct {
		began                    time.Duration
		messages, steps, busiest int
	}
	hash      uint64
	tracing   bool
	violation string
}

// Run runs one seed to its end or to the first violation.
func Run(opt Options) (res Result) {
	if opt.Chaos == 0 {
		opt.Chaos = 60 * time.Second
	}
	s := &Sim{opt: opt, rng: rand.New(rand.NewPCG(opt.Seed, 0x1ed6e4)), tracing: opt.Trace != nil, nextPayload: 1}
	defer func() {
		if r := recover(); r != nil {
			s.fail("panic: %v", r)
			if s.tracing {
				s.tracef("%s", debug.Stack())
			}
		}
		res = Result{
			Seed: opt.Seed, Simulated: s.now, Steps: s.steps, Hash: s.hash, Violation: s.violation,
			Count: s.count, BusiestSecond: s.second.busiest,
		}
	}()
	s.build()
	s.loop()
	return res
}

func (s *Sim) build() {
	s.profile = drawProfile(s.rng, s.opt.Thick)
	s.weather = s.profile.weather
	s.net.sim = s
	s.god = newGod(s)
	for i := range s.profile.size + s.profile.spares {
		id := member.ID(fmt.Sprintf("n%d", i+1))
		n := &node{sim: s, i: int8(i), id: id, tickAt: never, dirs: 1, disk: s.newDisk(1, id)}
		n.clock.offset = s.upTo(time.Hour)
		if s.profile.drift {
			n.clock.ppm = s.rng.Int64N(100_001) - 50_000
		}
		n.wall.offset = s.upTo(2*time.Second) - time.Second
		s.nodes = append(s.nodes, n)
	}
	s.foundGroup()
	if s.tracing {
		s.tracef("profile %+v", s.profile)
	}
	for _, n := range s.nodes {
		n.start()
	}
	s.after(s.spread(s.profile.faultEvery), s.trouble)
	s.after(0, s.propose)
	s.after(seedEvery, s.offerSeeds)
	if s.changing() {
		s.after(s.spread(changeEvery), s.changeMembers)
	}
	if s.profile.history {
		s.chronicle = newChronicle()
		s.pull()
	}
	s.after(s.opt.Chaos, s.beginCalm)
}

// loop takes what comes next, an event or a node's tick, until the run is over.
func (s *Sim) loop() {
	for s.violation == "" && !s.done {
		n, at := s.nextTick()
		if len(s.events.events) > 0 && s.events.events[0].at <= at {
			s.take(s.events.pop())
		} else {
			s.advance(at)
			n.tick()
		}
		if s.second.messages > maxMessagesPerSecond || s.second.steps > maxStepsPerSecond {
			s.fail("storm: %d messages and %d steps in one second", s.second.messages, s.second.steps)
		}
	}
}

func (s *Sim) nextTick() (*node, time.Duration) {
	next := s.nodes[0]
	for _, n := range s.nodes[1:] {
		if n.tickAt < next.tickAt {
			next = n
		}
	}
	return next, next.tickAt
}

func (s *Sim) take(e event) {
	s.advance(e.at)
	if e.env != nil {
		s.net.deliver(e.env)
		return
	}
	e.do()
}

func (s *Sim) advance(at time.Duration) {
	s.now = at
	if at-s.second.began >= time.Second {
		s.second.began = at
		s.second.busiest = max(s.second.busiest, s.second.messages)
		s.second.messages, s.second.steps = 0, 0
	}
}

// after plans do for d from now.
func (s *Sim) after(d time.Duration, do func()) {
	s.events.push(event{at: s.now + d, do: do})
}

// fail records the first violation.
func (s *Sim) fail(format string, args ...any) {
	if s.violation == "" {
		s.violation = fmt.Sprintf("at %v: ", s.now) + fmt.Sprintf(format, args...)
		if s.tracing {
			s.tracef("VIOLATION %s", s.violation)
		}
	}
}

func (s *Sim) size() int8  { return int8(len(s.nodes)) }
func (s *Sim) quorum() int { return len(s.nodes)/2 + 1 } // of all; a group's is for majorityOf

func (s *Sim) index(id member.ID) int8 {
	for _, n := range s.nodes {
		if n.id == id {
			return n.i
		}
	}
	return -1
}

// chance is true with probability p.
func (s *Sim) chance(p float64) bool { return p > 0 && s.rng.Float64() < p }

// upTo is a random duration below d.
func (s *Sim) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(s.rng.Int64N(int64(d)))
}

// spread is a random duration around d, sometimes much longer.
func (s *Sim) spread(d time.Duration) time.Duration {
	return time.Duration(min(s.rng.ExpFloat64(), 5) * float64(d))
}
