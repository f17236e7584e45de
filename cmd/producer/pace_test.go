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
				due, err := p.wait(t.Context())
				if err != nil || due.Sub(began) != time.Duration(i+1)*time.Millisecond || due.After(time.Now()) {
					t.Fatalf("message %d was due after %v, %v", i, due.Sub(began), err)
				}
			}
			<-time.After(time.Second) // held up
			sent := 0
			for held := time.Now(); time.Now().Equal(held); sent++ {
				if _, err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if want := map[bool]int{true: 1001, false: 102}[bench]; sent < want-1 || sent > want+1 {
				t.Errorf("bench %t: %d messages at once after a second's hold-up, want about %d", bench, sent, want)
			}
		})
	}
}
