package filter

import (
	"strings"
	"testing"
)

// BenchmarkMatch is what one message costs.
func BenchmarkMatch(b *testing.B) {
	for _, bc := range []struct{ name, sql string }{
		{"equal", "region = 'EU'"},
		{"two", "region = 'EU' AND price > 10"},
		{"six", "region IN ('EU', 'US') AND price BETWEEN 10 AND 1e3 AND name LIKE '_x%y' AND note CONTAINS 'late' AND flag = TRUE AND count IN (1,2,3)"},
		{"like", "note LIKE '%too_late%'"},
	} {
		b.Run(bc.name, func(b *testing.B) {
			e, err := ParseSQL(bc.sql)
			if err != nil {
				b.Fatal(err)
			}
			m, msg := e.Matcher(), sample()
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := m.Match(msg); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// BenchmarkHostile is the worst that one message can cost: an expression of the
// costliest operators over the longest property, up to the limit of steps.
func BenchmarkHostile(b *testing.B) {
	for name, one := range map[string]string{
		"like":     "a LIKE '%" + strings.Repeat("_b", 100) + "_a%z'",
		"short":    "a LIKE '%_z'",
		"contains": "a CONTAINS '" + strings.Repeat("ab", 30) + "z'",
		"unicode":  "u LIKE '%_ä_z'",
	} {
		b.Run(name, func(b *testing.B) {
			sql := one
			for len(sql)+len(one)+4 < MaxBytes {
				sql += " OR " + one
			}
			if n := strings.Count(sql, " OR "); n > MaxNodes/2-1 {
				sql = strings.Repeat(one+" OR ", MaxNodes/2-1) + one
			}
			e, err := ParseSQL(sql)
			if err != nil {
				b.Fatal(err)
			}
			m := e.Matcher()
			msg := message{"a": Text(strings.Repeat("ab", 32<<10)), "u": Text(strings.Repeat("äö", 16<<10))}
			for b.Loop() {
				_, _ = m.Match(msg)
			}
			b.ReportMetric(float64(m.Steps()), "steps/op")
		})
	}
}
