package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Choice is a flag that takes one word of a fixed list.
type Choice struct {
	Value   string
	allowed []string
}

// NewChoice makes a flag value; its first word is the default. A first word
// "" means that the command decides.
func NewChoice(words ...string) Choice { return Choice{Value: words[0], allowed: words} }

// String returns the chosen word.
func (c *Choice) String() string { return c.Value }

// Type is what --help shows as the kind of the value.
func (c *Choice) Type() string { return strings.Trim(strings.Join(c.allowed, "|"), "|") }

// Set takes one of the allowed words.
func (c *Choice) Set(s string) error {
	if s == "" || !slices.Contains(c.allowed, s) {
		return fmt.Errorf("want one of %s", strings.ReplaceAll(c.Type(), "|", ", "))
	}
	c.Value = s
	return nil
}

// NewOutput is the -o flag of a command that prints data: table or json.
func NewOutput() Choice { return NewChoice("table", "json") }

// PrintJSON writes one indented JSON document and a newline.
func PrintJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// PrintTable writes rows under a header, aligned, without a frame, so that it reads
// well on a terminal and splits well in a pipe.
func PrintTable(w io.Writer, header []any, rows [][]any) error {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft = ""
	style.Box.PaddingRight = "  "
	style.Format.Header = text.FormatUpper
	t.SetStyle(style)
	t.AppendHeader(table.Row(header))
	for _, r := range rows {
		t.AppendRow(table.Row(r))
	}
	t.SuppressTrailingSpaces()
	_, err := fmt.Fprintln(w, t.Render())
	return err
}
