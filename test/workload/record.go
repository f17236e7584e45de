package workload

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/history"
)

// Record is a Recorder that writes a file. It is safe for concurrent use.
type Record struct {
	began  time.Time // of the clock: every time is ns since then, monotonic
	file   *os.File
	writer *history.Writer
	mu     struct {
		sync.Mutex
		problems []string
	}
}

// NewRecord begins a history at a path.
func NewRecord(path string) (*Record, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &Record{began: time.Now(), file: file, writer: history.NewWriter(file)}, nil
}

// Now is ns on the history's clock.
func (r *Record) Now() int64 { return int64(time.Since(r.began)) }

// At is a time with a monotonic reading on the history's clock.
func (r *Record) At(t time.Time) int64 { return int64(t.Sub(r.began)) }

// Path is where the file is.
func (r *Record) Path() string { return r.file.Name() }

// Len is the number of operations so far.
func (r *Record) Len() int { return r.writer.Len() }

// Write notes an operation that has ended.
func (r *Record) Write(o history.Operation) error { return r.writer.Write(o) }

// Problem notes what is wrong whatever the judge says.
func (r *Record) Problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.problems) < 100 {
		r.mu.problems = append(r.mu.problems, fmt.Sprintf(format, args...))
	}
}

// Problems lists them, at most 100.
func (r *Record) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mu.problems)
}

// Judge ends the history and judges what stands in its file.
func (r *Record) Judge(options history.Options) (history.Report, error) {
	if err := errors.Join(r.writer.Flush(), r.file.Close()); err != nil {
		return history.Report{}, err
	}
	file, err := os.Open(r.file.Name())
	if err != nil {
		return history.Report{}, err
	}
	defer file.Close()
	checker, reader := history.NewChecker(options), history.NewReader(file)
	for {
		o, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return checker.Report(), nil
		}
		if err == nil {
			err = checker.Add(o)
		}
		if err != nil {
			return history.Report{}, fmt.Errorf("%s:%d: %w", file.Name(), reader.Line(), err)
		}
	}
}
