package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

var (
	scale  = flag.Float64("measure.scale", 0.01, "how much work, as a share of a full run")
	reps   = flag.Int("measure.reps", 1, "repetitions; the workloads take turns within each")
	only   = flag.String("measure.only", "", "workloads to measure, by name, comma between; nothing: all")
	out    = flag.String("measure.out", "", "where the results go as JSON; a table goes beside them, ending in .md. With -measure.only, what else is there stays")
	page   = flag.String("measure.page", "", "the page whose generated section is rewritten")
	commit = flag.String("measure.commit", "", "what is measured, for the report")
	curves = flag.Bool("measure.curves", false, "measure how figures grow, instead of single ones")
)

// workload is one thing that is measured.
type workload struct {
	name    string
	seconds int // that a full run takes, to say beforehand how long all will take
	most    int // repetitions; 0: as many as are asked for
	run     func(*session)
}

// workloads are what `make bench` measures, in this order. Those on shared limits come
// after them.
var workloads = []workload{
	{name: "limits", seconds: 12, run: limits},
	{name: "publish", seconds: 16, run: publishing},
	{name: "drain", seconds: 14, run: draining},
	{name: "single", seconds: 9, run: single},
	{name: "latency", seconds: 22, run: latency},
	{name: "callers", seconds: 6, run: callers},
	{name: "end-to-end", seconds: 8, run: endToEnd},
	{name: "producers", seconds: 16, run: producers},
	{name: "queues", seconds: 18, run: queues},
	{name: "fan-out", seconds: 10, run: fanOut},
	{name: "key-index", seconds: 20, run: keyIndex},
	{name: "durability", seconds: 9, run: durability},
	{name: "members", seconds: 16, run: members},
	{name: "catch-up", seconds: 26, run: catchUp},
	{name: "tail", seconds: 182, run: tail},
	{name: "failover", seconds: 14, run: failover},
	{name: "startup", seconds: 50, most: 1, run: startup},
}

// short is what runs with all tests: does it still work? Its figures mean nothing.
const short = "limits,publish,callers"

// TestBench measures every workload and leaves a report. One that fails costs no other.
func TestBench(t *testing.T) {
	if *curves {
		t.Skip("curves are asked for")
	}
	if testing.Short() && *only == "" {
		*only = short
	}
	b := newBench(t, workloads)
	b.run(t)
	b.print(t)
}

// bench is a run of several workloads.
type bench struct {
	workloads []workload
	report    *figures.Report
	section   string // of the page
}

func newBench(t *testing.T, all []workload) *bench {
	t.Helper()
	b := &bench{report: &figures.Report{}, section: "bench"}
	names := strings.Split(*only, ",")
	for _, name := range names {
		if name != "" && !slices.ContainsFunc(all, func(w workload) bool { return w.name == name }) {
			t.Fatalf("no workload %q among %s", name, namesOf(all))
		}
	}
	b.workloads = slices.DeleteFunc(slices.Clone(all), func(w workload) bool { return *only != "" && !slices.Contains(names, w.name) })
	if *out != "" && *only != "" {
		var err error
		b.report, err = figures.Load(*out)
		require.NoError(t, err)
		b.report.Forget(func(name string) bool {
			return slices.ContainsFunc(b.workloads, func(w workload) bool { return w.name == name })
		})
	}
	var err error
	b.report.Machine, err = figures.DescribeMachine(t.TempDir())
	require.NoError(t, err)
	b.report.Scale, b.report.Commit = *scale, *commit
	return b
}

func namesOf(all []workload) string {
	var names []string
	for _, w := range all {
		names = append(names, w.name)
	}
	return strings.Join(names, ", ")
}

// run measures, a fresh cluster for each workload, and saves after each.
func (b *bench) run(t *testing.T) {
	t.Helper()
	var seconds int
	for _, w := range b.workloads {
		seconds += w.seconds * w.repetitions()
	}
	t.Logf("%s; %d repetitions: about %v in all", namesOf(b.workloads), *reps, time.Duration(max(1, *scale*float64(seconds)))*time.Second)
	began := time.Now()
	for nth := range *reps {
		rep := &repetition{bare: map[int]float64{}, publish: map[int]float64{}}
		for _, w := range b.workloads {
			if nth < w.repetitions() {
				b.one(t, w, nth, rep)
			}
		}
	}
	t.Logf("took %v", time.Since(began).Round(time.Second))
}

func (w workload) repetitions() int {
	if w.most > 0 {
		return min(w.most, *reps)
	}
	return *reps
}

// one runs a workload once. It has four times as long as it should take, and a minute.
func (b *bench) one(t *testing.T, w workload, nth int, rep *repetition) {
	t.Helper()
	limit := time.Minute + time.Duration(4*max(1, *scale)*float64(w.seconds))*time.Second
	t.Run(fmt.Sprintf("%s/%d", w.name, nth+1), func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		w.run(&session{t: t, ctx: ctx, workload: w.name, rep: rep, report: b.report})
		if t.Failed() {
			failed := figures.NewResult(w.name, "", 0)
			failed.Failed = "see the output of the run"
			b.report.Results = append(b.report.Results, failed)
		}
	})
	if *out != "" {
		require.NoError(t, b.report.Save(*out))
	}
}

// print shows the table and writes it where it was asked for.
func (b *bench) print(t *testing.T) {
	t.Helper()
	var table strings.Builder
	b.report.Table(&table)
	t.Logf("\n%s", table.String())
	if *out != "" {
		require.NoError(t, os.WriteFile(*out+".md", []byte(table.String()), 0o644))
	}
	if *page != "" {
		require.NoError(t, figures.ReplaceSection(*page, b.section, table.String()))
	}
}

// share is what this run does of n.
func share(n int64) int64 { return max(1, int64(*scale*float64(n))) }

// lasting is the same for a time, which must be long enough for anything to happen.
func lasting(d time.Duration) time.Duration {
	return max(200*time.Millisecond, time.Duration(*scale*float64(d)))
}
