package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// Count is a flag for a number of things: 1000, 10k, 2.5M.
type Count int64

// String returns the number.
func (c *Count) String() string { return strconv.FormatInt(int64(*c), 10) }

// Type is what --help shows as the kind of the value.
func (c *Count) Type() string { return "N" }

// Set reads a number with an optional k, M or G.
func (c *Count) Set(s string) error {
	n, err := parseCount(s)
	*c = Count(n)
	return err
}

func parseCount(s string) (int64, error) {
	number, factor := s, 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9} {
		if head, ok := strings.CutSuffix(s, suffix); ok {
			number, factor = head, f
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if n := f * factor; err == nil && n >= 0 && n < 1<<62 {
		return int64(n), nil
	}
	return 0, fmt.Errorf("want a number such as 1000, 10k or 2M")
}

// Rate is a flag for messages per second: 500, 5k/s. 0 is no limit.
type Rate int64

// String returns the rate with its unit.
func (r *Rate) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*r), 10) + "/s"
}

// Type is what --help shows as the kind of the value.
func (r *Rate) Type() string { return "N/s" }

// Set reads a count with an optional /s.
func (r *Rate) Set(s string) error {
	n, err := parseCount(strings.TrimSuffix(s, "/s"))
	if err != nil || n == 0 {
		return fmt.Errorf("want messages per second such as 500/s or 5k/s")
	}
	*r = Rate(n)
	return nil
}

// Bytes is a flag for a size: 512, 64KiB, 1MB.
type Bytes uint64

// String returns the size in bytes.
func (b *Bytes) String() string { return strconv.FormatUint(uint64(*b), 10) }

// Type is what --help shows as the kind of the value.
func (b *Bytes) Type() string { return "SIZE" }

// Set reads a size.
func (b *Bytes) Set(s string) error {
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<40 {
		return fmt.Errorf("want a size such as 512, 64KiB or 1MB")
	}
	*b = Bytes(n)
	return nil
}
