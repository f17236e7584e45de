package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Version of the format that is written and read.
const Version = 1

// MaxLineBytes bounds one line of a history, so that no file makes a reader take
// more memory than a few times this.
const MaxLineBytes = 16 << 20

const formatName = "ledgermq-history"

// header is the first line of each file.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

// Writer writes a history. It is safe for concurrent use.
type Writer struct {
	mu struct {
		sync.Mutex
		w   *bufio.Writer
		err error
		n   int
	}
}

// NewWriter begins a history on w.
func NewWriter(w io.Writer) *Writer {
	hw := &Writer{}
	hw.mu.w = bufio.NewWriterSize(w, 1<<20)
	first, err := json.Marshal(header{formatName, Version})
	if err != nil {
		panic(err) // a struct of a string and a number
	}
	hw.append(first, 0)
	return hw
}

// Write appends an operation. An operation that no reader would take is an error,
// and so is a failed write, from then on.
func (w *Writer) Write(o Operation) error {
	if err := o.validate(); err != nil {
		return fmt.Errorf("write history: %s of %s: %w", o.Op, o.Client, err)
	}
	text, err := json.Marshal(o.line())
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	if len(text) >= MaxLineBytes {
		return fmt.Errorf("write history: %s of %s has %d bytes, more than a line may have; spread it over several", o.Op, o.Client, len(text))
	}
	return w.append(text, 1)
}

func (w *Writer) append(text []byte, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err == nil {
		_, w.mu.err = w.mu.w.Write(append(text, '\n'))
		w.mu.n += n
	}
	return w.mu.err
}

// Len is the number of operations written.
func (w *Writer) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.n
}

// Flush hands everything to the writer below; the first error of all is returned.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.err == nil {
		w.mu.err = w.mu.w.Flush()
	}
	return w.mu.err
}

// Reader reads a history as a stream.
type Reader struct {
	scan   *bufio.Scanner
	number int
}

// NewReader reads a history from r.
func NewReader(r io.Reader) *Reader {
	scan := bufio.NewScanner(r)
	scan.Buffer(make([]byte, 64<<10), MaxLineBytes)
	return &Reader{scan: scan}
}

// Line is the number of the line that Next returned last, from 1.
func (r *Reader) Line() int { return r.number }

// Next returns the next operation, io.EOF after the last. Any other error names the
// line, and ends the reading: a history with a hole in it proves nothing.
func (r *Reader) Next() (Operation, error) {
	for r.scan.Scan() {
		r.number++
		text := r.scan.Bytes()
		if r.number == 1 {
			if err := checkHeader(text); err != nil {
				return Operation{}, fmt.Errorf("line 1: %w", err)
			}
			continue
		}
		var l line
		if err := decode(text, &l); err != nil {
			return Operation{}, fmt.Errorf("line %d: %w", r.number, err)
		}
		o := l.operation()
		if err := o.validate(); err != nil {
			return Operation{}, fmt.Errorf("line %d: %w", r.number, err)
		}
		return o, nil
	}
	switch err := r.scan.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return Operation{}, fmt.Errorf("line %d: longer than %d bytes", r.number+1, MaxLineBytes)
	case err != nil:
		return Operation{}, fmt.Errorf("line %d: %w", r.number+1, err)
	case r.number == 0:
		return Operation{}, errors.New("line 1: the file is empty: not even a header")
	}
	return Operation{}, io.EOF
}

func checkHeader(text []byte) error {
	var h header
	if err := json.Unmarshal(text, &h); err != nil || h.Format != formatName {
		return fmt.Errorf("not a history: want {\"format\":%q,\"version\":%d}", formatName, Version)
	}
	if h.Version != Version {
		return fmt.Errorf("history of version %d; this program reads version %d", h.Version, Version)
	}
	return nil
}

// decode takes one JSON object with nothing after it and no key that is unknown: a
// rule that a key carries must not be lost in silence.
func decode(text []byte, l *line) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(l); errors.Is(err, io.EOF) {
		return errors.New("empty line") // io.EOF would be taken for the end of the history
	} else if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}
