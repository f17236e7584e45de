package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// maxMessageBytes is the largest line that is read; the brokers may take less.
const maxMessageBytes = 16 << 20

// source yields messages; an error is the last thing it yields. A message's
// memory is valid until the next one.
type source iter.Seq2[client.Message, error]

// newSource opens the input; size is its length in bytes when it is known, else 0.
func (p *program) newSource(files []string) (src source, size int64, err error) {
	f := &p.flags
	if f.bench {
		return benchSource(int64(f.count), int(f.size)), 0, nil
	}
	delimiter, err := unescape(f.delimiter)
	if err != nil {
		return nil, 0, err
	}
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		if name == "-" {
			size = 0
			break
		}
		info, err := os.Stat(name)
		if err != nil {
			return nil, 0, cli.Exit(cli.ExitUsage, err)
		}
		size += info.Size()
	}
	return func(yield func(client.Message, error) bool) {
		for _, name := range files {
			if !p.readFile(name, delimiter, yield) {
				return
			}
		}
	}, size, nil
}

// readFile yields the messages of one file; false ends reading.
func (p *program) readFile(name string, delimiter []byte, yield func(client.Message, error) bool) bool {
	in := p.streams.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return yield(client.Message{}, err)
		}
		defer file.Close()
		in = file
	}
	if p.flags.input.Value == "raw" {
		return p.readRaw(name, in, yield)
	}
	return p.readLines(name, in, delimiter, yield)
}

func (p *program) readRaw(name string, in io.Reader, yield func(client.Message, error) bool) bool {
	value, err := io.ReadAll(io.LimitReader(in, maxMessageBytes+1))
	if err == nil && len(value) > maxMessageBytes {
		err = tooLong(name, 1)
	}
	m := client.Message{Value: value}
	p.dress(&m)
	return yield(m, err)
}

func tooLong(name string, line int64) error {
	return &cli.Error{
		Exit: cli.ExitFailed, Code: string(client.CodeMessageTooLarge),
		Err: fmt.Errorf("%s: message %d is longer than %d bytes", name, line, maxMessageBytes),
	}
}

func (p *program) readLines(name string, in io.Reader, delimiter []byte, yield func(client.Message, error) bool) bool {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxMessageBytes+len(delimiter))
	lines.Split(splitAt(delimiter))
	n := int64(0)
	for lines.Scan() {
		n++
		m, err := p.parse(lines.Bytes())
		if err != nil {
			err = cli.Exit(cli.ExitUsage, fmt.Errorf("%s:%d: %w", name, n, err))
		}
		if !yield(m, err) {
			return false
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return yield(client.Message{}, tooLong(name, n+1))
	case err != nil:
		return yield(client.Message{}, fmt.Errorf("%s: %w", name, err))
	}
	return true
}

// splitAt cuts at each delimiter and keeps every other byte, carriage returns
// included. What follows the last delimiter is a line if it is not empty.
func splitAt(delimiter []byte) bufio.SplitFunc {
	return func(data []byte, atEOF bool) (advance int, token []byte, err error) {
		if i := bytes.Index(data, delimiter); i >= 0 {
			return i + len(delimiter), data[:i:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	}
}

func (p *program) parse(line []byte) (m client.Message, err error) {
	switch {
	case p.flags.input.Value == "jsonl":
		m, err = cli.FromJSON(line)
	case p.flags.keyDelimiter != "":
		key, value, found := bytes.Cut(line, []byte(p.flags.keyDelimiter))
		if m.Value = line; found {
			m.Key, m.Value = key, value
		}
	default:
		m.Value = line
	}
	p.dress(&m)
	return m, err
}

// dress gives a message what the command line says of it.
func (p *program) dress(m *client.Message) {
	if p.flags.queue >= 0 {
		m.Queue = &p.flags.queue
	}
	if p.flags.delay > 0 || p.flags.at != "" { // the command line wins over jsonl
		m.DeliverAt, m.Delay = p.flags.deliverAt, p.flags.delay
	}
	p.flags.fields.complete(m)
}

// benchSource yields n messages of the same random-looking bytes.
func benchSource(n int64, size int) source {
	value := make([]byte, size)
	x := uint32(2463534242)
	for i := range value { // xorshift: hard to compress, the same in each run
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		value[i] = byte(x)
	}
	return func(yield func(client.Message, error) bool) {
		for range n {
			if !yield(client.Message{Value: value}, nil) {
				return
			}
		}
	}
}
