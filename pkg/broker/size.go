package broker

import (
	"fmt"
	"strconv"
	"strings"
)

// Size is a number of bytes. As text it may carry a unit: B, KiB, MiB, GiB, TiB,
// KB, MB, GB or TB ("4MiB", "1.5GiB", "65536").
type Size int64

const (
	kibibyte Size = 1 << 10
	mebibyte Size = 1 << 20
	gibibyte Size = 1 << 30
)

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
}

// UnmarshalText parses a size with or without a unit.
func (s *Size) UnmarshalText(text []byte) error {
	number, scale := strings.ToLower(strings.TrimSpace(string(text))), 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, scale = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n*scale <= 1<<62) { // NaN is neither
		return fmt.Errorf("%q is not a size: write a number of bytes or, for example, 64KiB, 4MiB, 1GiB", text)
	}
	*s = Size(n * scale)
	return nil
}

// MarshalText writes the size in the largest binary unit that divides it.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String writes the size in the largest binary unit that divides it.
func (s Size) String() string {
	switch {
	case s != 0 && s%gibibyte == 0:
		return fmt.Sprintf("%dGiB", s/gibibyte)
	case s != 0 && s%mebibyte == 0:
		return fmt.Sprintf("%dMiB", s/mebibyte)
	case s != 0 && s%kibibyte == 0:
		return fmt.Sprintf("%dKiB", s/kibibyte)
	}
	return strconv.FormatInt(int64(s), 10)
}
