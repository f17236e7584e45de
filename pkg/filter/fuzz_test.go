package filter

import (
	"errors"
	"testing"
)

// FuzzParseSQL: anything is an expression or an *Error; what is one is evaluated
// without a panic, twice alike, and within its steps.
func FuzzParseSQL(f *testing.F) {
	for _, sql := range []string{
		"a = 'x' AND b > 10", "NOT (a IN ('x','y') OR b NOT BETWEEN -1 AND 2.5e3)", "a LIKE '_%x!%' ESCAPE '!'", "a IS NOT NULL", "TRUE",
		"a CONTAINS 'x' OR a STARTSWITH '' OR a ENDSWITH 'ü'", "a /* c */ <> -- d\n 5L", "((((a))))", "a = - - 9223372036854775808", "'", hostile(),
	} {
		f.Add(sql, "x", "10")
	}
	f.Fuzz(func(t *testing.T, sql, a, b string) {
		e, err := ParseSQL(sql)
		if err != nil {
			var own *Error
			if !errors.As(err, &own) || own.Column < 1 {
				t.Fatalf("%q: %v", sql, err)
			}
			return
		}
		m, msg := e.Matcher(), message{"a": Text(a), "b": Text(b)}
		first, firstErr := m.Match(msg)
		if m.Steps() > MaxSteps && firstErr == nil {
			t.Fatalf("%q took %d steps", sql, m.Steps())
		}
		if again, err := m.Match(msg); again != first || !errors.Is(err, firstErr) {
			t.Fatalf("%q: %v, %v and then %v, %v", sql, first, firstErr, again, err)
		}
	})
}

// FuzzLike compares the pattern matcher with what LIKE means.
func FuzzLike(f *testing.F) {
	f.Add("%a_b%", "xaxbx")
	f.Add("gr__e", "größe")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 24 {
			return // the naive one takes for ever
		}
		elements, err := likeElements(token{text: pattern, column: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		valid := []rune(s)
		for _, r := range append(valid, []rune(pattern)...) {
			if r == '\uFFFD' {
				return // a byte that is not UTF-8 is like no character of a pattern
			}
		}
		if got, want := newPattern(elements).match(s), naiveLike([]rune(pattern), valid); got != want {
			t.Fatalf("%q LIKE %q: %v", s, pattern, got)
		}
		if got, want := newAutomaton(elements).match(s), naiveLike([]rune(pattern), valid); got != want {
			t.Fatalf("%q LIKE %q by automaton: %v", s, pattern, got)
		}
	})
}
