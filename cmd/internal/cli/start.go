package cli

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
)

// Start is a flag for where reading begins.
type Start struct {
	Text string
	At   client.StartAt
}

// String returns the flag's text.
func (f *Start) String() string { return f.Text }

// Type is what --help shows as the kind of the value.
func (f *Start) Type() string { return "earliest|latest|@OFFSET|TIME|AGE" }

// Set reads earliest, latest, @OFFSET, a time, or how long ago.
func (f *Start) Set(s string) error {
	f.Text = s
	switch s {
	case "earliest":
		f.At = client.Earliest()
		return nil
	case "latest":
		f.At = client.Latest()
		return nil
	}
	if number, ok := strings.CutPrefix(s, "@"); ok {
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n >= 0 {
			f.At = client.Offset(n)
			return nil
		}
	}
	if at, err := ParseTime(s, time.Now()); err == nil {
		f.At = client.Timestamp(at)
		return nil
	}
	return errors.New("want earliest, latest, @OFFSET such as @812, a time such as 2026-11-22T09:30 or 2026-11-22T09:30:00.250Z, or an age such as 10m")
}
