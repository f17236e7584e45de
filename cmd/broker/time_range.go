package main

import (
	"time"

	"github.com/ledgermq/ledgermq/cmd/internal/cli"
)

// timeRange is what --from and --to say; a time that was not given is zero.
type timeRange struct{ from, to time.Time }

// parseTimeRange reads the texts of --from and --to. A range that holds no time is wrong usage:
// what is looked for in it would look as if it were not there.
func parseTimeRange(from, to string, now time.Time) (r timeRange, err error) {
	if r.from, err = parseTimeFlag("--from", from, now); err != nil {
		return timeRange{}, err
	}
	if r.to, err = parseTimeFlag("--to", to, now); err != nil {
		return timeRange{}, err
	}
	if !r.from.IsZero() && !r.to.IsZero() && !r.from.Before(r.to) {
		return timeRange{}, cli.Usagef("--from %s is not before --to %s: no time lies between them", from, to)
	}
	return r, nil
}

// parseTimeFlag reads the time of one flag; zero: it was not given.
func parseTimeFlag(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := cli.ParseTime(text, now)
	if err != nil {
		return time.Time{}, cli.Usagef("%s: %w", flag, err)
	}
	return at, nil
}
