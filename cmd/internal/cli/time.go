package cli

import (
	"fmt"
	"time"
)

// timeLayouts are the ways to write a time; without a zone it is the local one.
var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
	"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", time.DateOnly,
}

// ParseTime reads a point in time: a date with or without a time of day, or how long
// before now it was, such as 10m.
func ParseTime(s string, now time.Time) (time.Time, error) {
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if age, err := time.ParseDuration(s); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	return time.Time{}, fmt.Errorf("time %q: want such as 2026-11-22T09:30, 2026-11-22T09:30:00.250Z or, for how long ago, 10m", s)
}
