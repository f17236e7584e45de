package filter

import (
	"cmp"
	"math"
	"strconv"
)

// Bounds of a number's text. Within them it always fits into a float64, so that
// reading one never makes an error.
const (
	maxNumberBytes = 32
	maxExponent    = 270
)

// number is an integer, kept exactly, or a floating point number.
type number struct {
	float   float64
	integer int64
	whole   bool // integer is it
}

// textNumber reads a number as it stands in expressions and in properties: an
// optional sign, digits with at most one dot, an optional exponent.
func textNumber(s string) (number, bool) {
	whole, ok := numberShape(s)
	if !ok {
		return number{}, false
	}
	if whole {
		if n, ok := textInteger(s); ok {
			return number{integer: n, whole: true}, true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return number{float: f}, err == nil && !math.IsInf(f, 0)
}

// numberShape says whether s has the form of a number, and whether of a whole one.
func numberShape(s string) (whole, ok bool) {
	if len(s) > maxNumberBytes {
		return false, false
	}
	i, digits := 0, 0
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	whole = true
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case digit(c):
			digits++
		case c == '.' && whole:
			whole = false
		case (c == 'e' || c == 'E') && digits > 0:
			return false, exponent(s[i+1:])
		default:
			return false, false
		}
	}
	return whole, digits > 0
}

// exponent says whether s is one that is not too large.
func exponent(s string) bool {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	n := 0
	for i := range len(s) {
		if !digit(s[i]) || n > maxExponent {
			return false
		}
		n = 10*n + int(s[i]-'0')
	}
	return s != "" && n <= maxExponent
}

// textInteger reads a whole number that fits into 64 bits.
func textInteger(s string) (n int64, ok bool) {
	negative := s[0] == '-'
	if negative || s[0] == '+' {
		s = s[1:]
	}
	for i := range len(s) {
		d := int64(s[i] - '0')
		if n < (math.MinInt64+d)/10 { // counted below zero, where there is room for one more
			return 0, false
		}
		n = 10*n - d
	}
	if negative {
		return n, true
	}
	return -n, n != math.MinInt64
}

// compare orders two numbers exactly.
func (a number) compare(b number) int {
	switch {
	case a.whole && b.whole:
		return cmp.Compare(a.integer, b.integer)
	case a.whole:
		return compareMixed(a.integer, b.float)
	case b.whole:
		return -compareMixed(b.integer, a.float)
	}
	return cmp.Compare(a.float, b.float)
}

// compareMixed orders an integer and a float without rounding either.
func compareMixed(n int64, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	floor := math.Floor(f)
	if c := cmp.Compare(n, int64(floor)); c != 0 {
		return c
	}
	if f > floor {
		return -1
	}
	return 0
}
