package sim

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	seedFlag    = flag.Uint64("seed", 0, "run only this seed; with -v its trace is printed, one line per event")
	chaosFlag   = flag.Duration("sim.chaos", 0, "simulated time with faults per seed (default 60s)")
	forFlag     = flag.Duration("sim.for", envDuration("SIM_FOR"), "run new seeds for this wall time, print figures and exit (or SIM_FOR)")
	thickFlag   = flag.Bool("sim.thick", false, "the real commit log under the members in every run, not in one of ten")
	seedsFlag   = flag.Int("sim.seeds", 500, "seeds of the standard table")
	mostFlag    = flag.Int("sim.most", 0, "so many seeds of -sim.for at most; 0: as many as there is time for")
	fromFlag    = flag.Uint64("sim.from", 0, "first seed of -sim.for; 0: from the clock")
	procsFlag   = flag.Int("sim.procs", 0, "seeds run at a time (default: one per core)")
	huntFlag    = flag.Int("sim.hunt", 0, "run at most so many seeds up to the first violation, print it and exit")
	mutantsFlag = flag.Bool("mutants", false, "break the rules of mutants.go one by one, print what noticed, and exit")
	mutantsMost = flag.Duration("mutants.most", 0, "with -mutants: begin none after so long, and say how many were left out; 0: try all")
	mutantFlag  = flag.String("mutant", "", "with -mutants: only those whose name or file contains this")
)

func envDuration(name string) time.Duration {
	d, err := time.ParseDuration(os.Getenv(name))
	if err != nil {
		return 0
	}
	return d
}

// TestMain leaves the figures of -sim.for and -mutants as the last line of output.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // runs are short and small; their rubbish need not be picked up often
	switch {
	case *forFlag > 0:
		os.Exit(runFor(*forFlag))
	case *huntFlag > 0:
		os.Exit(hunt(*huntFlag))
	case *mutantsFlag:
		os.Exit(runMutants(*mutantFlag, *mutantsMost))
	}
	os.Exit(m.Run())
}

// runFor runs seeds for a wall time and prints what came of them.
func runFor(wall time.Duration) int {
	from := *fromFlag
	if from == 0 {
		from = uint64(time.Now().UnixNano())
	}
	began := time.Now()
	tally := RunMany(Many{From: from, Seeds: *mostFlag, Until: began.Add(wall), Procs: *procsFlag, Chaos: *chaosFlag, Thick: *thickFlag})
	took := time.Since(began)
	tally.Count.Print(os.Stdout)
	hours := tally.Simulated.Hours()
	fmt.Printf("%12.1f simulated hours per wall minute, %.1f per core\n", hours/took.Minutes(), hours/took.Minutes()/float64(tally.Procs))
	fmt.Printf("%12d messages in the busiest simulated second\n", tally.BusiestSecond)
	for _, r := range tally.Violations { // last, where the end of a long log still shows them
		fmt.Println(describe(r))
	}
	fmt.Printf("sim: %.1f simulated hours, %d seeds, %d violations\n", hours, tally.Seeds, len(tally.Violations))
	if len(tally.Violations) > 0 {
		return 1
	}
	return 0
}

func describe(r Result) string {
	replay := fmt.Sprintf("go test ./test/sim -seed %d -v", r.Seed)
	if *chaosFlag != 0 {
		replay += fmt.Sprintf(" -sim.chaos %v", *chaosFlag)
	}
	if *thickFlag {
		replay += " -sim.thick"
	}
	return fmt.Sprintf("seed %d: %s\n  replay: %s", r.Seed, r.Violation, replay)
}

// TestSeed replays the seed of -seed.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -seed")
	}
	opt := Options{Seed: *seedFlag, Chaos: *chaosFlag, Thick: *thickFlag}
	var out *bufio.Writer
	if testing.Verbose() {
		out = bufio.NewWriter(os.Stdout)
		opt.Trace = out
	}
	r := Run(opt)
	if out != nil {
		if err := out.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if r.Violation != "" {
		t.Fatal(describe(r))
	}
	t.Logf("seed %d: %v simulated, %d steps, hash %016x", r.Seed, r.Simulated, r.Steps, r.Hash)
}

// TestRegressions runs the seeds that once found something, always.
func TestRegressions(t *testing.T) {
	skipIfSeed(t)
	text, err := os.ReadFile("testdata/regressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		seed, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			t.Fatalf("regressions.txt: %v", err)
		}
		opt := Options{Seed: seed}
		if opt.Thick = fields[len(fields)-1] == "thick"; opt.Thick {
			fields = fields[:len(fields)-1]
		}
		if len(fields) > 1 {
			if opt.Chaos, err = time.ParseDuration(fields[1]); err != nil {
				t.Fatalf("regressions.txt: %v", err)
			}
		}
		if r := Run(opt); r.Violation != "" {
			t.Error(describe(r))
		}
	}
}

// TestSeeds runs the standard table of seeds. Nothing may be violated, and all
// that the simulator is there to bring about must have come about.
func TestSeeds(t *testing.T) {
	skipIfSeed(t)
	began := time.Now()
	n := *seedsFlag
	tally := RunMany(Many{From: 1, Seeds: n, Procs: *procsFlag, Chaos: *chaosFlag, Thick: *thickFlag})
	if !*thickFlag { // some of what only the real log can do is rare
		more := RunMany(Many{From: 1, Seeds: n / 8, Procs: *procsFlag, Chaos: *chaosFlag, Thick: true})
		tally.Violations = append(tally.Violations, more.Violations...)
		tally.Count.Add(&more.Count)
	}
	for _, r := range tally.Violations {
		t.Error(describe(r))
	}
	t.Logf("%.2f simulated hours in %v", tally.Simulated.Hours(), time.Since(began).Round(time.Millisecond))
	if t.Failed() {
		return
	}
	for _, name := range tally.Count.Never() {
		t.Errorf("in %d seeds there were no %s: the simulator does not test what it claims to", n, name)
	}
}

// TestSameSeedSameRun compares all that happened in two runs of a seed, and that
// tracing changes nothing.
func TestSameSeedSameRun(t *testing.T) {
	skipIfSeed(t)
	for seed := uint64(1); seed <= 5; seed++ {
		opt := Options{Seed: seed, Chaos: 20 * time.Second, Thick: seed > 3}
		first := Run(opt)
		var trace strings.Builder
		opt.Trace = &trace
		second := Run(opt)
		if first.Hash != second.Hash || first.Steps != second.Steps || first.Count != second.Count {
			t.Errorf("seed %d: %016x after %d steps, then %016x after %d", seed, first.Hash, first.Steps, second.Hash, second.Steps)
		}
		if strings.Count(trace.String(), "\n") < 1000 {
			t.Errorf("seed %d: a trace of %d bytes", seed, trace.Len())
		}
	}
}

func skipIfSeed(t *testing.T) {
	t.Helper()
	if *seedFlag != 0 {
		t.Skip("only -seed")
	}
}

func BenchmarkSeeds(b *testing.B) {
	var simulated time.Duration
	for i := range b.N {
		simulated += Run(Options{Seed: uint64(i + 1)}).Simulated
	}
	b.ReportMetric(simulated.Hours()/b.Elapsed().Minutes(), "sim-h/min")
}
