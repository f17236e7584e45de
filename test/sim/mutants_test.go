package sim

import (
	"bytes"
	"context"
	_ "embed" // for testdata/killers.txt
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// The simulator's budget for one mutant: it must notice within so many seeds.
const (
	mutantSeeds      = 400
	mutantThickSeeds = 1000
	mutantTimeout    = 3 * time.Minute
)

// TestMutantsApply checks that the text of every mutant is still there to break,
// exactly once. Breaking and running is for -mutants.
func TestMutantsApply(t *testing.T) {
	root := moduleRoot(t)
	for _, m := range mutants() {
		if _, err := m.patch(root); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := findModule()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func findModule() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// patch is the file of m as broken by it.
func (m *mutant) patch(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.old)); n != 1 {
		return nil, fmt.Errorf("%s has the text %q %d times, not once: bring the mutant up to date", m.file, m.old, n)
	}
	return bytes.Replace(text, []byte(m.old), []byte(m.broken), 1), nil
}

// verdict is what came of one mutant.
type verdict struct {
	killers []string // one per layer that noticed
	alive   []layer  // layers that should have noticed and did not
	err     error    // the mutant could not be tried
	late    bool     // it was not tried, for the time was over
	took    time.Duration
}

// runMutants breaks each rule whose name or file contains filter, and prints what noticed. None
// is begun after most, and the last line says how many were left out; 0: all are.
func runMutants(filter string, most time.Duration) int {
	root, err := findModule()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	var chosen []mutant
	for _, m := range mutants() {
		if strings.Contains(m.name+" "+m.file, filter) {
			chosen = append(chosen, m)
		}
	}
	if err := baseline(root, chosen); err != nil {
		fmt.Println(err)
		return 1
	}
	verdicts := tryAll(root, chosen, most)
	killed, late := 0, 0
	fmt.Printf("%-52s %8s  %s\n", "MUTANT", "SECONDS", "KILLED BY")
	for i, m := range chosen {
		v := verdicts[i]
		text := strings.Join(v.killers, "; ")
		switch {
		case v.late:
			late++
			text = "NOT TRIED: no time was left"
		case v.err != nil:
			text = "ERROR: " + v.err.Error()
		case len(v.alive) > 0:
			text += fmt.Sprintf(" SURVIVED %v", v.alive)
		default:
			killed++
		}
		fmt.Printf("%-52s %8.1f  %s\n", m.name, v.took.Seconds(), text)
	}
	fmt.Printf("mutants: %d of %d killed", killed, len(chosen)-late)
	if late > 0 {
		fmt.Printf(", %d NOT TRIED within %v: make mutants tries all", late, most)
	}
	fmt.Println()
	if killed < len(chosen)-late || killed == 0 {
		return 1
	}
	return 0
}

// baseline runs every layer with nothing broken: what is red then proves nothing.
func baseline(root string, ms []mutant) error {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	none := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(none, []byte(`{"Replace":{}}`), 0o600); err != nil {
		return err
	}
	done := map[string]bool{}
	for _, m := range ms {
		for _, l := range m.layers {
			pkg := filepath.Dir(m.file)
			if l != tests {
				pkg = ""
			}
			if key := string(l) + pkg; !done[key] {
				done[key] = true
				if red, err := l.run(root, dir, none, pkg, ""); red != "" || err != nil {
					return fmt.Errorf("%s %s is red with nothing broken: %s %w", l, pkg, red, err)
				}
			}
		}
	}
	return nil
}

// tryAll tries the mutants, one per core at a time, as many as can be begun in that time.
func tryAll(root string, ms []mutant, most time.Duration) []verdict {
	verdicts := make([]verdict, len(ms))
	began := time.Now()
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				began := time.Now()
				verdicts[i] = ms[i].try(root)
				verdicts[i].took = time.Since(began)
				fmt.Fprintf(os.Stderr, "%s: done in %v\n", ms[i].name, verdicts[i].took.Round(time.Millisecond))
			}
		})
	}
	for i := range ms {
		if most > 0 && time.Since(began) > most {
			verdicts[i].late = true
			continue
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return verdicts
}

// try breaks the rule in an overlay, so that the tree itself stays as it is, and
// runs the layers that should notice.
func (m *mutant) try(root string) (v verdict) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return verdict{err: err}
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil && v.err == nil {
			v.err = err
		}
	}()
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return verdict{err: err}
	}
	for _, l := range m.layers {
		killer, err := l.run(root, dir, overlay, filepath.Dir(m.file), hints()[m.name])
		switch {
		case err != nil:
			v.err = err
			return v
		case killer == "":
			v.alive = append(v.alive, l)
		default:
			v.killers = append(v.killers, killer)
		}
	}
	return v
}

func (m *mutant) overlay(root, dir string) (string, error) {
	text, err := m.patch(root)
	if err != nil {
		return "", err
	}
	broken, list := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json")
	replace := map[string]map[string]string{"Replace": {filepath.Join(root, m.file): broken}}
	listText, err := json.Marshal(replace)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(broken, text, 0o600); err != nil {
		return "", err
	}
	return list, os.WriteFile(list, listText, 0o600)
}

// run runs one layer and says what in it noticed, or nothing.
func (l layer) run(root, dir, overlay, pkg, hint string) (string, error) {
	if l == tests {
		if hint != "" {
			if killer, err := runTests(root, overlay, pkg, "^"+hint+"$"); killer != "" || err != nil {
				return killer, err
			}
		}
		return runTests(root, overlay, pkg, ".")
	}
	bin := filepath.Join(dir, "sim.test")
	if out, err := output(root, "go", "test", "-c", "-o", bin, "-overlay", overlay, "./test/sim"); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	args := map[layer][]string{
		seeds:      {"-sim.hunt", fmt.Sprint(mutantSeeds)},
		thickSeeds: {"-sim.hunt", fmt.Sprint(mutantThickSeeds), "-sim.thick"},
		exhaustive: {"-test.run", "TestExhaustive", "-test.short", "-test.failfast"},
	}
	out, err := output(filepath.Join(root, "test", "sim"), bin, args[l]...)
	if l == exhaustive {
		return firstFailure(out, err)
	}
	return hunted(out, err)
}

// runTests runs those tests of a package whose names match.
func runTests(root, overlay, pkg, match string) (string, error) {
	// What rapid remembers of a mutant must not be in the way of the next test.
	defer os.RemoveAll(filepath.Join(root, pkg, "testdata", "rapid"))
	out, err := output(root, "go", "test", "-short", "-count=1", "-failfast", "-timeout", "2m",
		"-run", match, "-overlay", overlay, "./"+filepath.ToSlash(pkg))
	return firstFailure(out, err)
}

//go:embed testdata/killers.txt
var killersText string

// hints are the tests that have killed a mutant before: they are tried first, which
// saves most of the time. Only when such a test notices nothing, all are run.
var hints = sync.OnceValue(func() map[string]string {
	killers := map[string]string{}
	for line := range strings.Lines(killersText) {
		if name, test, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			killers[name] = test
		}
	}
	return killers
})

// output runs a command; err is not nil if it failed or took too long.
func output(dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), mutantTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return string(out) + "\n--- FAIL: timeout", ctx.Err()
	}
	return string(out), err
}

// firstFailure names the first test that failed.
func firstFailure(out string, err error) (string, error) {
	var exit *exec.ExitError
	if err == nil {
		return "", nil
	}
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") ||
		!errors.As(err, &exit) && !errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	deepest := ""
	for line := range strings.Lines(out) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: ")
		if !ok {
			if deepest != "" {
				break
			}
			continue
		}
		deepest = strings.Fields(name)[0]
	}
	if deepest == "" {
		deepest = "panic"
	}
	return deepest, nil
}

// hunt runs seeds until one violates something.
func hunt(seeds int) int {
	tally := RunMany(Many{From: 1, Seeds: seeds, Procs: 1, Thick: *thickFlag, First: true})
	if len(tally.Violations) == 0 {
		fmt.Printf("%d seeds: nothing\n", tally.Seeds)
		return 0
	}
	v := tally.Violations[0]
	text, _, _ := strings.Cut(v.Violation, "\n")
	if _, what, ok := strings.Cut(text, ": "); ok {
		text = what
	}
	fmt.Printf("seed %d: %s\n", v.Seed, text)
	return 1
}

func hunted(out string, err error) (string, error) {
	var exit *exec.ExitError
	if err == nil {
		return "", nil
	}
	if !errors.As(err, &exit) && !errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if len(line) > 110 {
		line = line[:110] + "…"
	}
	return "sim " + line, nil
}
