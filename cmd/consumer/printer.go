package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// printer writes one message.
type printer func(w *bufio.Writer, m *client.Message) error

func newPrinter(p *program) printer {
	switch p.flags.output.Value {
	case "value":
		return printValue
	case "jsonl":
		return printJSON
	}
	dim, plain := "", ""
	if p.colors() {
		dim, plain = "\x1b[2m", "\x1b[0m"
	}
	return func(w *bufio.Writer, m *client.Message) error { return printPretty(w, m, dim, plain) }
}

// printValue writes the value as it is and a newline.
func printValue(w *bufio.Writer, m *client.Message) error {
	if _, err := w.Write(m.Value); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

// printJSON writes a line that `producer -i jsonl` reads back exactly.
func printJSON(w *bufio.Writer, m *client.Message) error {
	line, err := json.Marshal(cli.ToJSON(m))
	if err != nil {
		return err
	}
	if _, err := w.Write(line); err != nil {
		return err
	}
	return w.WriteByte('\n')
}

// printPretty writes a line for people.
func printPretty(w *bufio.Writer, m *client.Message, dim, plain string) error {
	fmt.Fprintf(w, "%s%s/%d@%d  %s", dim, m.Topic, *m.Queue, m.Offset, m.Timestamp.Local().Format("2006-01-02 15:04:05.000"))
	if m.Tag != "" {
		fmt.Fprintf(w, "  tag=%s", readable([]byte(m.Tag)))
	}
	if m.MessageGroup != "" {
		fmt.Fprintf(w, "  group=%s", readable([]byte(m.MessageGroup)))
	}
	if m.Key != nil {
		fmt.Fprintf(w, "  key=%s", readable(m.Key))
	}
	for _, h := range m.Headers {
		fmt.Fprintf(w, "  %s=%s", readable([]byte(h.Key)), readable(h.Value))
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", plain, readable(m.Value))
	return err
}

// readable shows text as it is and anything that could upset a terminal quoted.
func readable(b []byte) string {
	s := string(b)
	unsafe := func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }
	if !utf8.ValidString(s) || strings.IndexFunc(s, unsafe) >= 0 {
		return strconv.Quote(s)
	}
	return s
}
