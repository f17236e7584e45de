package chaos

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/history"
)

// record is what the clients of a run saw. It is safe for concurrent use.
type record struct {
	began  time.Time // of the clock: every time is ns since then, monotonic
	file   *os.File
	writer *history.Writer
	mu     struct {
		sync.Mutex
		acks     []time.Duration // when acknowledgements came in
		problems []string        // what no client should ever see
		refusals map[string]int  // errors of sends, by code
	}
}

func newRecord(path string) (*record, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	r := &record{began: time.Now(), file: file, writer: history.NewWriter(file)}
	r.mu.refusals = map[string]int{}
	return r, nil
}

func (r *record) now() int64 { return int64(time.Since(r.began)) }

// unknown is an operation of which nothing is known yet.
func unknown(op history.Kind, who string, queue int) history.Operation {
	return history.Operation{
		Op: op, Client: who, Topic: topic, Queue: queue, Outcome: history.OK,
		Sequence: history.Unknown, Offset: history.Unknown, Index: history.Unknown, Term: history.Unknown,
	}
}

func (r *record) write(o history.Operation) error {
	if o.Op == history.Send && o.Outcome == history.OK {
		r.mu.Lock()
		r.mu.acks = append(r.mu.acks, time.Duration(o.Complete))
		r.mu.Unlock()
	}
	return r.writer.Write(o)
}

// Now, Write and Problem make it a workload.Recorder.
func (r *record) Now() int64 { return r.now() }

// Write is write.
func (r *record) Write(o history.Operation) error { return r.write(o) }

// Problem is problem.
func (r *record) Problem(format string, args ...any) { r.problem(format, args...) }

// problem notes what is wrong whatever the checker says.
func (r *record) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.problems) < 100 {
		r.mu.problems = append(r.mu.problems, fmt.Sprintf(format, args...))
	}
}

func (r *record) problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.mu.problems)
}

// refused counts the error of a send.
func (r *record) refused(err *client.Error) {
	kind := "definite "
	if err.Indefinite {
		kind = "indefinite "
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.refusals[kind+string(err.Code)]++
}

// refusals lists the errors of sends.
func (r *record) refusals() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, code := range slices.Sorted(maps.Keys(r.mu.refusals)) {
		all = append(all, fmt.Sprintf("%d %s", r.mu.refusals[code], code))
	}
	if all == nil {
		return "none"
	}
	return strings.Join(all, ", ")
}

// acksAfter counts the acknowledgements since a time.
func (r *record) acksAfter(at time.Duration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, ack := range r.mu.acks {
		if ack > at {
			n++
		}
	}
	return n
}

// sortedAcks are the times of all acknowledgements.
func (r *record) sortedAcks() []time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.mu.acks))
}

// close ends the history and judges what stands in its file.
func (r *record) close(options history.Options) (history.Report, error) {
	if err := firstError(r.writer.Flush, r.file.Close); err != nil {
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
