package chaos

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/pkg/history"
)

var (
	forFlag  = flag.Duration("chaos.for", 0, "inject faults for so long (default: a smoke test of a few seconds)")
	seedFlag = flag.Uint64("chaos.seed", 0, "what the nemesis and the clients do follows from it; 0: from the clock")
	onlyFlag = flag.String("chaos.only", "", "only these kinds of faults, separated by commas")
	keepFlag = flag.Bool("chaos.keep", false, "keep history and logs even if nothing is wrong")
)

// verdict is the last line of a run; TestMain prints it after everything else.
var verdict string

// TestMain runs the tests in namespaces of their own, where that is possible.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv(dirEnv) != "" {
		inside(m)
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", ourPrefix, os.Getpid()))
	if err != nil {
		fmt.Println("chaos:", err)
		os.Exit(1)
	}
	if os.Getuid() == 0 {
		if code, ok := outside(dir); ok {
			os.Exit(leave(dir, code))
		}
		errNamespaces = errors.New("the kernel refuses new namespaces")
	}
	_ = os.Setenv(dirEnv, dir)
	os.Exit(leave(dir, runTests(m)))
}

// errNamespaces says why there are no namespaces; nil when there are.
var errNamespaces = errors.New("not run by root")

// inside is TestMain of the process in the new namespaces.
func inside(m *testing.M) {
	if err := settle(); err != nil {
		fmt.Println("chaos:", err)
		os.Exit(1)
	}
	errNamespaces = nil
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	code := m.Run()
	if verdict != "" {
		fmt.Println(verdict)
	}
	return code
}

// leave removes the directory of a run, but for history and logs that are worth
// keeping.
func leave(dir string, code int) int {
	if code == 0 && !*keepFlag {
		_ = os.RemoveAll(dir)
		return code
	}
	all, _ := os.ReadDir(dir)
	for _, e := range all {
		if ext := filepath.Ext(e.Name()); ext != ".jsonl" && ext != ".log" {
			_ = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	fmt.Fprintf(os.Stderr, "chaos: history and logs are kept: broker verify history %s\n", filepath.Join(dir, "history.jsonl"))
	return code
}

// TestChaos breaks a group of three for a while and holds what its clients saw against
// what they were promised.
func TestChaos(t *testing.T) {
	wall, p := *forFlag, pace{gap: [2]time.Duration{300 * time.Millisecond, 4 * time.Second}, hold: [2]time.Duration{300 * time.Millisecond, 5 * time.Second}}
	if wall == 0 {
		wall, p = 6*time.Second, pace{gap: [2]time.Duration{500 * time.Millisecond, time.Second}, hold: [2]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond}}
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	fmt.Printf("chaos: seed %d; again: go test ./test/chaos -run TestChaos -v -args -chaos.for %v -chaos.seed %d -chaos.only %q\n", seed, wall, seed, *onlyFlag)
	dir := os.Getenv(dirEnv)
	m := probe(dir, errNamespaces == nil, errNamespaces)
	m.tell(os.Stdout)

	r := newRun(t, m, dir, seed, "")
	r.storm(newNemesis(t.Context(), t, m, r, p, only()), func(n *nemesis) { n.rage(time.Now().Add(wall)) })
	r.converge()
	r.restartCold()
	r.converge()
	r.drainAll()
	report, err := r.record.close()
	must(t, err)
	r.judge(report)
}

// only lists the kinds that -chaos.only names.
func only() []string {
	if *onlyFlag == "" {
		return nil
	}
	return strings.Split(*onlyFlag, ",")
}

// judge prints what came of a run and fails the test if anything is wrong.
func (r *run) judge(report history.Report) {
	for _, p := range r.record.problems() {
		r.t.Error(p)
	}
	for _, a := range report.Examples {
		r.t.Error(a)
	}
	if !report.Clean() {
		r.t.Errorf("anomalies: %v", report.Anomalies)
	}
	if report.Unjudged > 0 || report.Copies != len(r.hosts) || report.Acked == 0 || len(r.faults) == 0 {
		r.t.Errorf("a run that proves nothing: %d unjudged, %d copies, %d acknowledged, %d faults", report.Unjudged, report.Copies, report.Acked, len(r.faults))
	}
	printOutages(os.Stdout, r.faults, r.record.sortedAcks())
	printLongest(os.Stdout, r.faults, r.record.sortedAcks())
	fmt.Printf("brokers that ended by themselves when their disk died: %d of %d\n", r.nemesis.endedThemselves, r.nemesis.deadDisks)
	fmt.Printf("errors of sends: %s\n", r.record.refusals())
	fmt.Printf("history: %d operations, %d sends acknowledged, %d failed, %d unknown (%d of them stored), %d pulled, %d drained from %d members' disks\n",
		r.record.writer.Len(), report.Acked, report.Failed, report.Info, report.InfoFound, report.Pulled, report.Drained, report.Copies)
	n, unknown, err := r.registers.judge()
	if err != nil {
		r.t.Error(err)
	}
	fmt.Printf("topics created and deleted: %d operations, %d of unknown outcome\n", n, unknown)
	if n := report.Other(); n > 0 {
		fmt.Printf("chaos: and %d anomalies of other classes\n", n)
	}
	verdict = fmt.Sprintf("chaos: %d acknowledged, %d lost, %d doubled, %d out of order, %d phantom, %d faults",
		report.Acked, report.Lost(), report.Doubled(), report.OutOfOrder(), report.Phantoms(), len(r.faults))
}
