package sim

import (
	"testing"
	"time"
)

// TestExhaustive tries everything that can happen to small groups within some moves.
func TestExhaustive(t *testing.T) {
	skipIfSeed(t)
	for _, sc := range scopes(testing.Short()) {
		t.Run(sc.name, func(t *testing.T) {
			began := time.Now()
			s := exhaust(sc)
			if s.violation != "" {
				t.Fatal(s.violation)
			}
			if m := s.most; m.term < sc.want.term || m.committed < sc.want.committed || m.founded < sc.want.founded || m.groups < sc.want.groups || (sc.want.proven && !m.proven) {
				t.Errorf("%+v is all that came about, expected %+v: the scope is too small", m, sc.want)
			}
			t.Logf("%d states visited by %d moves, all within %d moves of the opening, terms up to %d, %d entries committed, %v",
				len(s.seen), s.moves, sc.depth, s.most.term, s.most.committed, time.Since(began).Round(time.Millisecond))
		})
	}
}
