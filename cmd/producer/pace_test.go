package main

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestPaceIsKept: a hold-up is caught up with, in a benchmark wholly, so that the
// times at which messages were due stay those of the asked rate.
func TestPaceIsKept(t *testing.T) {
	for _, bench := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace(&flags{rate: 1000, bench: bench})
			began := time.Now()
			for i := range 100 {
				due, timed, err := p.wait(t.Context())
				if err != nil || !timed || due.Sub(began) != time.Duration(i+1)*time.Millisecond || due.After(time.Now()) {
					t.Fatalf("message %d was due after %v, %v", i, due.Sub(began), err)
				}
			}
			<-time.After(time.Second) // held up
			sent := 0
			for held := time.Now(); time.Now().Equal(held); sent++ {
				if _, _, err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if want := map[bool]int{true: 1001, false: 102}[bench]; sent < want-1 || sent > want+1 {
				t.Errorf("bench %t: %d messages at once after a second's hold-up, want about %d", bench, sent, want)
			}
		})
	}
}

// TestFullSpeedIsSampled: a benchmark looks at the clock for some of its messages only;
// receipts are for all.
func TestFullSpeedIsSampled(t *testing.T) {
	for _, tc := range []struct {
		bench bool
		want  int
	}{{true, 10}, {false, 10 * sampleEvery}} {
		p, timed := newPace(&flags{bench: tc.bench}), 0
		for range 10 * sampleEvery {
			_, looked, err := p.wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if looked {
				timed++
			}
		}
		if timed != tc.want {
			t.Errorf("bench %t: %d messages timed, want %d", tc.bench, timed, tc.want)
		}
	}
}
