package history

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// read reads a whole file, and its error if it is not io.EOF.
func read(text []byte) (ops []Operation, err error) {
	r := NewReader(bytes.NewReader(text))
	for {
		o, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return ops, nil
		case err != nil:
			return ops, err
		}
		ops = append(ops, o)
	}
}

func write(t testing.TB, ops []Operation) []byte {
	t.Helper()
	var file bytes.Buffer
	w := NewWriter(&file)
	for _, o := range ops {
		if err := w.Write(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if w.Len() != len(ops) {
		t.Errorf("Len %d after %d operations", w.Len(), len(ops))
	}
	return file.Bytes()
}

func TestReadsWhatWasWritten(t *testing.T) {
	for seed := range uint64(50) {
		ops := generate(seed)
		got, err := read(write(t, ops))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, ops) {
			t.Fatalf("seed %d: what was read differs from what was written", seed)
		}
	}
	for _, b := range slices.Concat(broken, brokenGroups, brokenWaiting, brokenWork) {
		ops := parse(t, b.script)
		if got, err := read(write(t, ops)); err != nil || !reflect.DeepEqual(got, ops) {
			t.Fatalf("%s: what was read differs from what was written: %v", b.name, err)
		}
	}
}

// TestWriterIsConcurrent has several clients write at once; each line stays whole.
func TestWriterIsConcurrent(t *testing.T) {
	var file bytes.Buffer
	w := NewWriter(&file)
	ops := generate(1)
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for _, o := range ops {
				if err := w.Write(o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got, err := read(file.Bytes())
	if err != nil || len(got) != 4*len(ops) {
		t.Errorf("read %d operations of %d: %v", len(got), 4*len(ops), err)
	}
}

func TestReaderRefuses(t *testing.T) {
	const head = `{"format":"ledgermq-history","version":1}` + "\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "line 1"},
		"no header":         {`{"op":"heal","invoke":0,"complete":0,"outcome":"ok"}`, "line 1: not a history"},
		"another version":   {`{"format":"ledgermq-history","version":2}`, "version 2"},
		"cut off":           {head + `{"op":"heal","invoke":0,"comp`, "line 2"},
		"unknown key":       {head + `{"op":"heal","invoke":0,"complete":0,"outcome":"ok","offest":1}`, "offest"},
		"two in a line":     {head + `{"op":"heal","invoke":0,"complete":0,"outcome":"ok"} {}`, "more than one"},
		"empty line":        {head + "\n", "line 2"},
		"no operation":      {head + `{"op":"poll","client":"c","topic":"t","invoke":0,"complete":0,"outcome":"ok"}`, "poll"},
		"message of three":  {head + `{"op":"pull","client":"c","topic":"t","invoke":0,"complete":0,"outcome":"ok","messages":[[1,"a",2]]}`, "line 2"},
		"a line too long":   {head + strings.Repeat("x", MaxLineBytes+1), "longer"},
		"time runs back":    {head + `{"op":"heal","invoke":5,"complete":0,"outcome":"ok"}`, "line 2"},
		"offset below zero": {head + `{"op":"send","client":"c","topic":"t","value":"v","invoke":5,"complete":6,"outcome":"ok","offset":-2}`, "negative"},
	} {
		if _, err := read([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	w := NewWriter(io.Discard)
	if err := w.Write(Operation{Op: "poll"}); err == nil {
		t.Error("an operation that no reader takes was written")
	}
	big := Operation{Op: Send, Client: "c", Topic: "t", Value: strings.Repeat("x", MaxLineBytes), Outcome: OK, Sequence: Unknown, Offset: Unknown, Index: Unknown, Term: Unknown}
	if err := w.Write(big); err == nil {
		t.Error("a line that no reader takes was written")
	}
}

// TestWriteErrorStays fails every operation after a failed write: a history with a
// hole would be judged as if nothing had happened there.
func TestWriteErrorStays(t *testing.T) {
	w := NewWriter(failing{})
	ops := generate(3)
	for range 3 {
		for _, o := range ops {
			_ = w.Write(o)
		}
		if err := w.Flush(); !errors.Is(err, errFull) {
			t.Fatalf("Flush: %v", err)
		}
	}
}

var errFull = errors.New("disk full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// FuzzReader reads anything without a panic; what it takes, it writes and reads back
// as the same, and the checker judges it or refuses it.
func FuzzReader(f *testing.F) {
	f.Add(write(f, generate(2)[:20]))
	for _, b := range slices.Concat(broken[:5], brokenGroups, brokenWaiting, brokenWork) {
		f.Add(write(f, parse(f, b.script)))
	}
	f.Add([]byte(`{"format":"ledgermq-history","version":1}` + "\n" + `{"op":"pull","client":"c","topic":"t","invoke":0,"complete":0,"outcome":"ok","messages":[[9223372036854775807,"a"]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		ops, err := read(text)
		if err == nil {
			again, err := read(write(t, ops))
			if err != nil || len(again) != len(ops) || len(ops) > 0 && !reflect.DeepEqual(again, ops) {
				t.Fatalf("%v: what was written reads differently", err)
			}
		}
		c := NewChecker(Options{})
		for _, o := range ops {
			if c.Add(o) != nil {
				return
			}
		}
		_ = c.Report()
	})
}
