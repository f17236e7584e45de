package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

// Result is one line of output. Results that differ only in Rep, Time and Metrics are
// repetitions of each other.
type Result struct {
	Time     time.Time          `json:"time"`
	Peer     string             `json:"peer"`
	Version  string             `json:"version,omitempty"`
	Workload string             `json:"workload"`
	Params   string             `json:"params"`
	Rep      int                `json:"rep"`
	Err      string             `json:"error,omitempty"`
	Metrics  map[string]float64 `json:"metrics"`
}

// Metrics besides those of package figures.
const (
	serverCPU  = "server_cpu_us_per_msg" // of the three servers together
	serverRSS  = "server_peak_rss_mib"   // likewise
	otherShare = "other_cpu_pct"         // of the machine: neither servers nor harness
	stealShare = "steal_pct"
)

func newResult(workload, params string) *Result {
	return &Result{Time: time.Now().UTC(), Workload: workload, Params: params, Metrics: map[string]float64{}}
}

func (r *Result) fail(err error) {
	if err != nil && r.Err == "" {
		r.Err = err.Error()
	}
}

func (r *Result) rate(n, size int, took time.Duration) {
	m := r.Metrics
	m[figures.Messages], m[figures.Seconds] = float64(n), took.Seconds()
	m[figures.MsgsPerS] = float64(n) / took.Seconds()
	m[figures.MBPerS] = float64(n) * float64(size) / took.Seconds() / 1e6
}

func (r *Result) quantiles(prefix string, l *lockedHist) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Metrics[prefix+figures.P50MS], r.Metrics[prefix+figures.P99MS] = l.h.AtMS(50), l.h.AtMS(99)
	r.Metrics[prefix+figures.P999MS] = l.h.AtMS(99.9)
}

// emit appends the result to the file and shows it on stderr.
func (r *Result) emit() error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%-16s %-12s %-22s rep %d  %s msg/s  p50 %s p99 %s ms  others %.0f %%  %s\n", r.Peer, r.Workload, r.Params, r.Rep,
		figures.Number(r.Metrics[figures.MsgsPerS]), figures.Number(r.Metrics[figures.P50MS]), figures.Number(r.Metrics[figures.P99MS]),
		r.Metrics[otherShare]+r.Metrics[stealShare], r.Err)
	f, err := os.OpenFile(*outFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// readResults reads what emit has written.
func readResults(path string) ([]Result, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no results in %s: run `peers record` first", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseResults(f)
}

func parseResults(in io.Reader) ([]Result, error) {
	var all []Result
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, lines.Err()
}
