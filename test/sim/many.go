package sim

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Many says which seeds to run.
type Many struct {
	From  uint64        // the first seed; those after it follow
	Seeds int           // how many at most; 0: until Until
	Until time.Time     // no seed is begun after this; zero: no limit
	Chaos time.Duration // of each run, as in Options
	Thick bool          // all runs, as in Options
	Procs int           // runs at a time; 0: one per core
	First bool          // stop at the first violation
}

// Tally is what came of many runs.
type Tally struct {
	Seeds, Procs  int
	Simulated     time.Duration
	BusiestSecond int
	Count         Counters
	Violations    []Result // in the order of their seeds
}

// RunMany runs many seeds, each by itself, on several cores.
func RunMany(many Many) Tally {
	if many.Procs == 0 {
		many.Procs = runtime.GOMAXPROCS(0)
	}
	tally := Tally{Procs: many.Procs}
	var mu sync.Mutex
	next := many.From
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		over := many.Seeds > 0 && next >= many.From+uint64(many.Seeds) ||
			!many.Until.IsZero() && time.Now().After(many.Until) ||
			many.First && len(tally.Violations) > 0
		if over {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var wg sync.WaitGroup
	for range many.Procs {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r := Run(Options{Seed: seed, Chaos: many.Chaos, Thick: many.Thick})
				mu.Lock()
				tally.add(r)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(tally.Violations, func(a, b Result) int {
		if a.Seed < b.Seed {
			return -1
		}
		return 1
	})
	return tally
}

func (t *Tally) add(r Result) {
	t.Seeds++
	t.Simulated += r.Simulated
	t.BusiestSecond = max(t.BusiestSecond, r.BusiestSecond)
	t.Count.Add(&r.Count)
	if r.Violation != "" {
		t.Violations = append(t.Violations, r)
	}
}
