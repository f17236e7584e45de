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

// verdict is the last line of a run; TestMain prints it after everything else.
var verdict string

// TestMain runs the tests in namespaces of their own, where that is possible.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := checkFlags(); err != nil {
		fmt.Println("chaos:", err)
		os.Exit(2)
	}
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
	fmt.Fprintf(os.Stderr, "chaos: history and logs are kept: broker verify history %s\n", filepath.Join(dir, "history-*.jsonl"))
	return code
}

// TestChaos breaks groups of three for a while, round by round, and holds what their
// clients saw against what they were promised.
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
	if missing := m.tell(os.Stdout, only()); *requireFlag && len(missing) > 0 {
		t.Errorf("-chaos.require: %s", strings.Join(missing, "; "))
	}
	all := &tally{}
	for i, round := range plan(wall, only()) {
		t.Run(round.name(i), func(t *testing.T) { playRound(t, m, dir, round, i, seed, p, all) })
		if t.Failed() {
			break // what is wrong is more easily found among less
		}
	}
	all.print(os.Stdout)
	verdict = all.verdict()
}

// playRound is one group from its birth to the judgement.
func playRound(t *testing.T, m *machine, dir string, round round, i int, seed uint64, p pace, all *tally) {
	r := newRun(t, m, dir, fmt.Sprintf("-%d", i+1), seed+uint64(i), round)
	r.storm(newNemesis(t.Context(), t, m, r, p, only(), all.left), func(n *nemesis) { n.rage(time.Now().Add(round.wall)) })
	r.converge()
	r.restartCold()
	r.converge()
	r.drainAll()
	report, err := r.record.close(history.Options{Retention: round.retention})
	must(t, err)
	r.judge(report, all)
	all.left = r.nemesis.deck
	if !t.Failed() && !*keepFlag {
		must(t, os.Remove(r.record.file.Name()))
	}
}
