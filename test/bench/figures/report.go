package figures

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"
)

// Machine says where a run took place.
type Machine struct {
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	MemoryMiB  int64  `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"file_system"`
	Go         string `json:"go"`
}

// String is the description in one line.
func (m Machine) String() string {
	return fmt.Sprintf("%s · %d cores · %d MiB · %s · %s · %s", m.CPU, m.Cores, m.MemoryMiB, m.Kernel, m.FileSystem, m.Go)
}

// Report is what a run leaves.
type Report struct {
	Machine   Machine    `json:"machine"`
	Commit    string     `json:"commit,omitempty"`
	Scale     float64    `json:"scale"`
	Summaries []*Summary `json:"summaries"` // made by Save
	Results   []*Result  `json:"results"`
}

// Load reads a report; where there is no file there are no results either.
func Load(path string) (*Report, error) {
	r := &Report{}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, r)
	}
	if err != nil {
		return nil, fmt.Errorf("report %s: %w; delete it to begin anew", path, err)
	}
	return r, nil
}

// Forget drops what is known of workloads, before they are measured anew.
func (r *Report) Forget(workload func(name string) bool) {
	r.Results = slices.DeleteFunc(r.Results, func(x *Result) bool { return workload(x.Workload) })
}

// Save writes the report as JSON, with medians.
func (r *Report) Save(path string) error {
	r.Summaries = Summarize(r.Results)
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Times are when the first and the last result were taken.
func (r *Report) Times() (first, last time.Time) {
	for _, x := range r.Results {
		if first.IsZero() || x.At.Before(first) {
			first = x.At
		}
		if x.At.After(last) {
			last = x.At
		}
	}
	return first, last
}
