package broker

import (
	"fmt"
	"strings"
)

// Rate is a number of bytes per second. As text it is a Size, or "off" or "0",
// which are RateOff: zero itself stands for the default.
type Rate int64

// RateOff is no rate at all: what it is the rate of is not done.
const RateOff Rate = -1

// UnmarshalText parses a size, "0" or "off".
func (r *Rate) UnmarshalText(text []byte) error {
	if word := strings.ToLower(strings.TrimSpace(string(text))); word == "off" || word == "0" {
		*r = RateOff
		return nil
	}
	var size Size
	if err := size.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, or off", err)
	}
	*r = Rate(size)
	return nil
}

// MarshalText writes it as UnmarshalText reads it.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the rate as a size, or "off".
func (r Rate) String() string {
	if r <= 0 {
		return "off"
	}
	return Size(r).String()
}
