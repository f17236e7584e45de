package filter

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// pattern is a compiled LIKE pattern, or what CONTAINS, STARTSWITH and ENDSWITH look
// for. Matching it takes time linear in the value.
//
// Without _ it is parts that must follow one another, the first at the beginning and
// the last at the end: the leftmost place is always good enough, so each part is
// searched once. With _ (or with a long part) it is an automaton of one state per
// character of the pattern, all of them advanced at once in a few words of bits: no
// value makes it go back.
type pattern struct {
	parts []string // nil: use the automaton
	auto  *automaton
}

// maxPart is how long a part may be for the search of package strings, which
// compares so many bytes at a time.
const maxPart = 63

// element is one character of a pattern.
type element struct {
	char rune
	wild bool // _ : any one character
	many bool // % : any characters, or none
}

func newPattern(elements []element) *pattern {
	if parts, ok := partsOf(elements); ok {
		return &pattern{parts: parts}
	}
	return &pattern{auto: newAutomaton(elements)}
}

// partsOf cuts at the %; not ok if there is a _ or a part is long.
func partsOf(elements []element) (parts []string, ok bool) {
	var part strings.Builder
	for _, e := range elements {
		switch {
		case e.wild:
			return nil, false
		case e.many:
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteRune(e.char)
		}
	}
	parts = append(parts, part.String())
	return parts, !slices.ContainsFunc(parts, func(s string) bool { return len(s) > maxPart })
}

// cost is what matching a value of n bytes is counted as.
func (p *pattern) cost(n int) int {
	if p.parts != nil {
		return n/4 + len(p.parts)
	}
	return n*p.auto.words + 1
}

func (p *pattern) match(s string) bool {
	if p.parts == nil {
		return p.auto.match(s)
	}
	first, last := p.parts[0], p.parts[len(p.parts)-1]
	if len(p.parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, part := range p.parts[1 : len(p.parts)-1] {
		n := strings.Index(s, part)
		if n < 0 {
			return false
		}
		s = s[n+len(part):]
	}
	return true
}

// maxWords hold a state for each character of the longest pattern, and the end.
const maxWords = (MaxPattern + 1 + 63) / 64

// bitset is a set of states.
type bitset [maxWords]uint64

func (b *bitset) set(n int)      { b[n/64] |= 1 << (n % 64) }
func (b *bitset) has(n int) bool { return b[n/64]>>(n%64)&1 != 0 }

// automaton is in state n when the value up to here matches the first n characters of
// the pattern. The % are no states of their own: they make the state before them stay.
type automaton struct {
	words int
	end   int
	stay  bitset           // states in which any character is taken and nothing changes
	any   bitset           // states that go on with any character
	ascii [128]*bitset     // states that go on with this character; nil: as any
	other map[rune]*bitset // the same for any character
}

func newAutomaton(elements []element) *automaton {
	a := &automaton{other: make(map[rune]*bitset)}
	for _, e := range elements {
		switch {
		case e.many:
			a.stay.set(a.end)
			continue
		case e.wild:
			a.any.set(a.end)
		default:
			if a.other[e.char] == nil {
				a.other[e.char] = new(bitset)
			}
			a.other[e.char].set(a.end)
		}
		a.end++
	}
	a.words = a.end/64 + 1
	for char, set := range a.other {
		for w := range set {
			set[w] |= a.any[w]
		}
		if char < utf8.RuneSelf {
			a.ascii[char] = set
		}
	}
	return a
}

// step returns the states that go on with the character at the front of s, and its
// length. A byte that is not UTF-8 is a character that only _ and % match.
func (a *automaton) step(s string) (onward *bitset, size int) {
	if c := s[0]; c < utf8.RuneSelf {
		if set := a.ascii[c]; set != nil {
			return set, 1
		}
		return &a.any, 1
	}
	char, size := utf8.DecodeRuneInString(s)
	if set, ok := a.other[char]; ok && (char != utf8.RuneError || size > 1) {
		return set, size
	}
	return &a.any, size
}

func (a *automaton) match(s string) bool {
	if a.words == 1 {
		return a.matchWord(s)
	}
	var states bitset
	states.set(0)
	for s != "" {
		onward, size := a.step(s)
		s = s[size:]
		var carry, alive uint64
		for w := range a.words {
			moved := states[w] & onward[w]
			states[w] = states[w]&a.stay[w] | moved<<1 | carry
			carry = moved >> 63
			alive |= states[w]
		}
		if alive == 0 {
			return false
		}
	}
	return states.has(a.end)
}

// matchWord is match for patterns that one word holds.
func (a *automaton) matchWord(s string) bool {
	states := uint64(1)
	for s != "" {
		onward, size := a.step(s)
		s = s[size:]
		states = states&a.stay[0] | states&onward[0]<<1
		if states == 0 {
			return false
		}
	}
	return states>>a.end&1 != 0
}
