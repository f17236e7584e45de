package filter

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The naive evaluator: it makes an expression together with a function that says what
// it must yield, without parser, steps or automata.

// want is what a part of an expression must yield: nil is unknown.
type want func(message) *bool

type maker struct{ *rand.Rand }

func (r maker) pick(of ...string) string { return of[r.IntN(len(of))] }

func yes(b bool) *bool { return &b }

// condition makes an expression of some depth.
func (r maker) condition(depth int) (string, want) {
	if depth == 0 {
		return r.predicate()
	}
	left, wantLeft := r.condition(depth - 1)
	switch r.IntN(4) {
	case 0:
		return "NOT (" + left + ")", func(m message) *bool {
			if l := wantLeft(m); l != nil {
				return yes(!*l)
			}
			return nil
		}
	case 1:
		right, wantRight := r.condition(depth - 1)
		return "(" + left + ") AND (" + right + ")", func(m message) *bool { return naiveAnd(wantLeft(m), wantRight(m)) }
	case 2:
		right, wantRight := r.condition(depth - 1)
		return "((" + left + ")or(" + right + "))", func(m message) *bool {
			l, s := wantLeft(m), wantRight(m)
			switch {
			case l != nil && *l || s != nil && *s:
				return yes(true)
			case l == nil || s == nil:
				return nil
			}
			return yes(false)
		}
	}
	return r.predicate()
}

func naiveAnd(l, r *bool) *bool {
	switch {
	case l != nil && !*l || r != nil && !*r:
		return yes(false)
	case l == nil || r == nil:
		return nil
	}
	return yes(true)
}

var naiveNumbers = []string{"0", "-1", "2", "2.5", "1e3", "-0.125", "9223372036854775807", "9223372036854775806", "-9223372036854775808", "9.3e18", ".5", "5."}

func naiveNumber(m message, name string) *big.Rat {
	v, ok := m[name]
	if !ok {
		return nil
	}
	if v.whole {
		return big.NewRat(v.integer, 1)
	}
	if !strings.ContainsAny(v.text, "0123456789") || strings.ContainsAny(v.text, "abc/_%") {
		return nil
	}
	n, ok := new(big.Rat).SetString(v.text)
	if !ok {
		return nil
	}
	return n
}

// predicate makes one comparison.
func (r maker) predicate() (string, want) {
	name := r.pick("a", "b", "c")
	switch r.IntN(5) {
	case 0:
		sign := r.pick("=", "<>", "<", "<=", ">", ">=")
		text := r.pick(naiveNumbers...)
		n, _ := new(big.Rat).SetString(text)
		return name + sign + text, func(m message) *bool {
			v := naiveNumber(m, name)
			if v == nil {
				return nil
			}
			c := v.Cmp(n)
			return yes(map[string]bool{"=": c == 0, "<>": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[sign])
		}
	case 1:
		return name + " IS NULL", func(m message) *bool {
			_, ok := m[name]
			return yes(!ok)
		}
	case 2:
		text := r.text(6, "abc_%")
		return fmt.Sprintf("%s LIKE '%s'", name, text), textual(name, func(s string) bool { return naiveLike([]rune(text), []rune(s)) })
	case 3:
		text, word := r.text(3, "abc"), r.pick("CONTAINS", "STARTSWITH", "ENDSWITH")
		return fmt.Sprintf("%s %s '%s'", name, word, text), textual(name, func(s string) bool {
			return map[string]bool{"CONTAINS": strings.Contains(s, text), "STARTSWITH": strings.HasPrefix(s, text), "ENDSWITH": strings.HasSuffix(s, text)}[word]
		})
	}
	x, y := r.text(2, "abc"), r.text(2, "abc")
	return fmt.Sprintf("%s NOT IN ('%s','%s')", name, x, y), textual(name, func(s string) bool { return s != x && s != y })
}

func textual(name string, test func(string) bool) want {
	return func(m message) *bool {
		v, ok := m[name]
		if !ok || v.whole {
			return nil
		}
		return yes(test(v.text))
	}
}

func (r maker) text(most int, of string) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteByte(of[r.IntN(len(of))])
	}
	return b.String()
}

// naiveLike is what LIKE means, word for word; it takes exponential time.
func naiveLike(pattern, s []rune) bool {
	switch {
	case len(pattern) == 0:
		return len(s) == 0
	case pattern[0] == '%':
		return naiveLike(pattern[1:], s) || len(s) > 0 && naiveLike(pattern, s[1:])
	case len(s) == 0:
		return false
	}
	return (pattern[0] == '_' || pattern[0] == s[0]) && naiveLike(pattern[1:], s[1:])
}

func (r maker) message() message {
	m := message{}
	for _, name := range []string{"a", "b", "c"} {
		switch r.IntN(5) {
		case 0:
		case 1:
			m[name] = Text(r.pick(naiveNumbers...))
		case 2:
			m[name] = Integer(int64(r.IntN(5) - 2))
		default:
			m[name] = Text(r.text(6, "abc_%"))
		}
	}
	return m
}

func TestAgainstTheNaiveEvaluator(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 4_000
	}
	r := maker{rand.New(rand.NewPCG(5, 6))}
	seen := map[truth]int{}
	for range rounds {
		sql, want := r.condition(r.IntN(4))
		e, err := ParseSQL(sql)
		require.NoError(t, err, sql)
		matcher := e.Matcher()
		for range 4 {
			m := r.message()
			expected := unknown
			if w := want(m); w != nil {
				expected = truthOf(*w)
			}
			got := truthIn(t, sql, m)
			require.Equal(t, expected, got, "%s of %v", sql, m)
			matches, err := matcher.Match(m)
			require.NoError(t, err)
			require.Equal(t, got == isTrue, matches, "%s of %v: a matcher that is used again", sql, m)
			seen[got]++
		}
	}
	for _, value := range []truth{isTrue, isFalse, unknown} {
		require.Greater(t, seen[value], rounds/5, "the comparison is about all three truths")
	}
}

// TestLongPatterns compares automata of several words with the naive matcher.
func TestLongPatterns(t *testing.T) {
	r := maker{rand.New(rand.NewPCG(7, 8))}
	matched := 0
	for range 2_000 {
		text := r.text(120, "ab")
		pattern := []byte(strings.Repeat(text, 2))
		for range r.IntN(40) {
			if len(pattern) > 0 {
				pattern[r.IntN(len(pattern))] = '_'
			}
		}
		if len(pattern) > 4 {
			pattern[r.IntN(len(pattern))] = '%'
		}
		e, err := ParseSQL("a LIKE '" + string(pattern) + "'")
		require.NoError(t, err)
		s := text + r.text(3, "ab") + text
		got, err := e.Matcher().Match(message{"a": Text(s)})
		require.NoError(t, err)
		require.Equal(t, naiveLike([]rune(string(pattern)), []rune(s)), got, "%s LIKE %s", s, pattern)
		if got {
			matched++
		}
	}
	require.Greater(t, matched, 100)
}
