package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is a message of a test.
type message map[string]Value

func (m message) Property(name string) (Value, bool) {
	v, ok := m[name]
	return v, ok
}

// truthIn evaluates an expression without the last step to yes or no.
func truthIn(t *testing.T, sql string, m message) truth {
	t.Helper()
	e, err := ParseSQL(sql)
	require.NoError(t, err, sql)
	matcher := e.Matcher()
	matcher.message = m
	return matcher.eval(e.root)
}

// TestTruthTables: NULL is neither true nor false, and AND, OR and NOT do with it
// what SQL says.
func TestTruthTables(t *testing.T) {
	m := message{"t": Text("TRUE"), "f": Text("false")}
	names := map[truth]string{isTrue: "t", isFalse: "f", unknown: "u"}
	and := map[string]truth{"tt": isTrue, "tf": isFalse, "tu": unknown, "ff": isFalse, "fu": isFalse, "uu": unknown}
	or := map[string]truth{"tt": isTrue, "tf": isTrue, "tu": isTrue, "ff": isFalse, "fu": unknown, "uu": unknown}
	for _, table := range []struct {
		word string
		want map[string]truth
	}{{"AND", and}, {"or", or}} {
		for pair, want := range table.want {
			a, b := pair[:1], pair[1:]
			require.Equal(t, want, truthIn(t, a+" "+table.word+" "+b, m), "%s %s %s", a, table.word, b)
			require.Equal(t, want, truthIn(t, b+" "+table.word+" "+a, m), "%s %s %s", b, table.word, a)
		}
	}
	for value, not := range map[truth]truth{isTrue: isFalse, isFalse: isTrue, unknown: unknown} {
		require.Equal(t, not, truthIn(t, "NOT "+names[value], m))
	}
}

// sqlCases are expressions and what they are of the message in TestSQL.
var sqlCases = map[string]truth{
	"region = 'EU' AND price > 10":           isTrue,
	"region='EU'AND price>10":                isTrue,
	"region <> 'EU'":                         isFalse,
	"region != 'US'":                         isTrue,
	"Region = 'EU'":                          unknown, // names are case-sensitive, words are not
	"nope = 'x' OR region = 'EU'":            isTrue,
	"NOT nope = 'x'":                         unknown,
	"nope <> 'x'":                            unknown,
	"nope IS NULL":                           isTrue,
	"nope is not null":                       isFalse,
	"region IS NOT NULL":                     isTrue,
	"empty IS NULL":                          isFalse,
	"empty = ''":                             isTrue,
	"price = 12.50":                          isTrue,
	"price = '12.50'":                        isFalse,
	"price = 1.25E1":                         isTrue,
	"count BETWEEN 7 AND 8":                  isTrue,
	"count NOT BETWEEN 7 AND 8":              isFalse,
	"word BETWEEN 1 AND 2":                   unknown,
	"count IN ('7', '8')":                    isTrue,
	"count IN (7.0, 8)":                      isTrue,
	"count NOT IN (1, 2)":                    isTrue,
	"nope NOT IN ('a')":                      unknown,
	"word IN (1, 2)":                         unknown,
	"neg = -3":                               isTrue,
	"neg = - - -3":                           isTrue,
	"neg < +0":                               isTrue,
	"big = 9223372036854775807":              isTrue,
	"big > 9223372036854775806L":             isTrue,
	"big < 9223372036854775808":              isTrue, // a float by then, and compared exactly
	"low = -9223372036854775808":             isTrue,
	"word > 5":                               unknown,
	"NOT (word > 5)":                         unknown,
	"yes":                                    isTrue,
	"yes = TRUE":                             isTrue,
	"TRUE = yes":                             isTrue,
	"yes <> TRUE":                            isFalse,
	"word = TRUE":                            unknown,
	"word":                                   unknown,
	"TRUE OR nope":                           isTrue,
	"FALSE":                                  isFalse,
	"name = 'O''Neil'":                       isTrue,
	"name LIKE 'O_Ne%'":                      isTrue,
	"uni LIKE 'gr__e'":                       isTrue,
	"uni LIKE 'gr___e'":                      isFalse,
	"raw LIKE 'a_b'":                         isTrue,
	"raw LIKE 'a�b'":                         isFalse,
	"word LIKE 'abc'":                        isTrue,
	"word LIKE 'ab'":                         isFalse,
	"word NOT LIKE '%z%'":                    isTrue,
	"nope LIKE '%'":                          unknown,
	"word LIKE 'a!%c' ESCAPE '!'":            isFalse,
	"word CONTAINS 'b'":                      isTrue,
	"word not contains 'b'":                  isFalse,
	"word STARTSWITH 'ab'":                   isTrue,
	"word ENDSWITH 'ab'":                     isFalse,
	"at > 1699 AND at <= 1700":               isTrue,
	"at = '1700'":                            isTrue,
	"at LIKE '17%'":                          unknown,
	"at IS NOT NULL":                         isTrue,
	"TAGS = 'A' AND NOT FALSE":               isTrue,
	"TAGS IN ('A','B')":                      isTrue,
	"region = word":                          isFalse,
	"count < price":                          isTrue,
	"1 = 1.0":                                isTrue,
	"/* what */ region -- a comment\n= 'EU'": isTrue,
	"f OR region = 'EU' AND word = 'x'":      unknown, // AND binds tighter
	"NOT region = 'US' AND count = 7":        isTrue,  // NOT binds tightest of the three
}

func TestSQL(t *testing.T) {
	m := message{
		"region": Text("EU"), "price": Text("12.5"), "count": Text("7"), "neg": Text("-3"), "word": Text("abc"), "yes": Text("true"),
		"big": Text("9223372036854775807"), "empty": Text(""), "name": Text("O'Neil"), "uni": Text("größe"), "at": Integer(1700), "raw": Text("a\xffb"),
		Tags: Text("A"), "low": Text("-9223372036854775808"),
	}
	for sql, want := range sqlCases {
		require.Equal(t, want, truthIn(t, sql, m), sql)
	}
}

func TestErrorsPointAtTheColumn(t *testing.T) {
	for sql, want := range map[string]string{
		"":                        "filter, column 1: a property, a text, a number, TRUE, FALSE, NOT or ( must stand here, not the end",
		"a =":                     "filter, column 4: a property, a text, a number, TRUE, FALSE, NOT or ( must stand here, not the end",
		"a = 'ü' 5":               "filter, column 9: 5 does not belong here: AND, OR or the end must follow",
		"a = 'x":                  "filter, column 5: the text has no end: ' is missing",
		"a ; b":                   "filter, column 3: ';' does not belong here",
		"a = NULL":                "filter, column 5: NULL stands only behind IS or IS NOT: nothing equals it",
		"a > 'x'":                 "filter, column 5: only numbers are greater or less than one another, not texts and booleans",
		"1 = 'x'":                 "filter, column 3: the two constants are of different kinds",
		"a BETWEEN 5 AND 3":       "filter, column 11: the lower bound of BETWEEN is above the upper one",
		"a BETWEEN 5 OR 3":        "filter, column 13: AND must stand between the bounds of BETWEEN, not OR",
		"a IN ('x', 5)":           "filter, column 12: the values of IN are all texts or all numbers",
		"a IN ()":                 "filter, column 7: a property, a text, a number, TRUE, FALSE, NOT or ( must stand here, not )",
		"'x' IN ('x')":            "filter, column 1: a property must stand before IN",
		"a NOT = 5":               "filter, column 7: BETWEEN, IN, LIKE, CONTAINS, STARTSWITH or ENDSWITH must stand behind NOT, not =",
		"(a = 5":                  "filter, column 7: ) must stand behind what ( begins, not the end",
		"a = 5)":                  "filter, column 6: ) does not belong here: AND, OR or the end must follow",
		"a = -b":                  "filter, column 6: a number must stand behind + and -, not b",
		"a = 1.2.3":               "filter, column 5: 1.2.3 is no number: at most 32 characters, and exponents up to 270",
		"a = 1e999":               "filter, column 5: 1e999 is no number: at most 32 characters, and exponents up to 270",
		"a = 5x":                  "filter, column 6: 'x' does not belong behind the number 5",
		"a LIKE b":                "filter, column 8: a text in quotes must stand behind LIKE, not b",
		"a LIKE 'x!' ESCAPE '!'":  "filter, column 8: the pattern ends with its escape character",
		"a LIKE 'x!y' ESCAPE '!'": "filter, column 8: '!' stands before 'y' in the pattern, and not before %, _ or itself",
		"a LIKE 'x' ESCAPE '%'":   "filter, column 19: ESCAPE names one character, neither % nor _",
		"5":                       "filter, column 2: a comparison must follow the constant, not the end",
		"5 IS NULL":               "filter, column 1: only a property can be NULL",
		"a IS 5":                  "filter, column 6: NULL must stand behind IS, not 5",
		"/* a":                    "filter, column 1: the comment has no end: */ is missing",
		"a = \xff":                "filter, column 1: the expression is not UTF-8",
		"a = 'x' AND AND b = 'y'": "filter, column 13: a property, a text, a number, TRUE, FALSE, NOT or ( must stand here, not AND",
	} {
		_, err := ParseSQL(sql)
		require.EqualError(t, err, want, sql)
		require.ErrorIs(t, err, ErrSyntax)
	}
}

func TestLimits(t *testing.T) {
	many := func(n int, part, between string) string { return strings.Repeat(part+between, n-1) + part }
	var names []string
	for i := range MaxProperties + 1 {
		names = append(names, "p"+strings.Repeat("x", i)+" IS NULL")
	}
	for name, tc := range map[string]struct {
		sql    string
		column int
	}{
		"bytes":      {"a = '" + strings.Repeat("x", MaxBytes) + "'", 1},
		"nodes":      {many(257, "a=1", " OR "), 1 + 256*7 - 3},
		"depth":      {strings.Repeat("(", MaxDepth+1) + "a" + strings.Repeat(")", MaxDepth+1), MaxDepth + 1},
		"not":        {strings.Repeat("NOT ", MaxDepth+1) + "a", 4*MaxDepth + 1},
		"properties": {strings.Join(names, " OR "), len(strings.Join(names[:MaxProperties], " OR ")) + 5},
		"pattern":    {"a LIKE '" + strings.Repeat("x", MaxPattern+1) + "'", 8},
	} {
		_, err := ParseSQL(tc.sql)
		require.ErrorIs(t, err, ErrLimit, name)
		var e *Error
		require.ErrorAs(t, err, &e)
		if name == "nodes" {
			continue // which of the two operators is the first too many is of no interest
		}
		require.Equal(t, tc.column, e.Column, "%s: %v", name, err)
	}
	for _, sql := range []string{
		many(256, "a=1", " OR "), strings.Repeat("(", MaxDepth) + "a" + strings.Repeat(")", MaxDepth), strings.Join(names[:MaxProperties], " OR "),
	} {
		_, err := ParseSQL(sql)
		require.NoError(t, err)
	}
}

func TestTags(t *testing.T) {
	for text, want := range map[string][3]bool{ // of a message tagged A, one tagged B, one without
		"":        {true, true, true},
		" * ":     {true, true, true},
		"A":       {true, false, false},
		"A || B":  {true, true, false},
		"C||  B ": {false, true, false},
		"a":       {false, false, false},
		"A||A":    {true, false, false},
	} {
		e, err := ParseTags(text)
		require.NoError(t, err, text)
		m := e.Matcher()
		for i, msg := range []message{{Tags: Text("A")}, {Tags: Text("B")}, {}} {
			got, err := m.Match(msg)
			require.NoError(t, err)
			require.Equal(t, want[i], got, "%q of message %d", text, i)
		}
	}
	for text, want := range map[string]string{
		"A || ":    "filter, column 5: a tag is missing between ||",
		"||A":      "filter, column 1: a tag is missing between ||",
		"A || *":   "filter, column 5: * stands for every message, so it stands alone",
		"ü||A | B": "filter, column 4: tags stand between ||, a single | is in none",
		"A\x00":    "filter, column 1: a tag has no control characters",
	} {
		_, err := ParseTags(text)
		require.EqualError(t, err, want, text)
	}
}

// TestStepsEnd: a message on which an expression would cost too much is an error, and
// found to be one before much is done.
func TestStepsEnd(t *testing.T) {
	e, err := ParseSQL(hostile())
	require.NoError(t, err)
	m := e.Matcher()
	_, err = m.Match(message{"a": Text(strings.Repeat("ab", 32<<10))})
	require.ErrorIs(t, err, ErrCost)
	require.Less(t, m.Steps(), 2*MaxSteps)
	got, err := m.Match(message{"a": Text("ab")})
	require.NoError(t, err, "the next message is not its fault")
	require.False(t, got)
	require.True(t, errors.Is(err, nil))
}

// hostile is an expression that costs as much as one can.
func hostile() string {
	one := "a LIKE '%" + strings.Repeat("_b", 100) + "_a%z'"
	return strings.Repeat(one+" OR ", 30) + one
}

func TestNoAllocations(t *testing.T) {
	e, err := ParseSQL("region IN ('EU', 'US') AND price BETWEEN 10 AND 1e3 AND name LIKE '_x%y' AND note CONTAINS 'late' AND flag = TRUE AND count IN (1,2,3)")
	require.NoError(t, err)
	m, msg := e.Matcher(), sample()
	got, err := m.Match(msg)
	require.NoError(t, err)
	require.True(t, got)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = m.Match(msg) }))
}

func sample() Message {
	return message{
		"region": Text("EU"), "price": Text("99.95"), "name": Text("axbcy"), "note": Text("it came too late again"), "flag": Text("true"), "count": Text("2"),
	}
}
