package chaos

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestWorstGap(t *testing.T) {
	acks := []time.Duration{10, 20, 30, 100, 110, 200}
	for _, test := range []struct{ from, to, want time.Duration }{
		{0, 5, 0},        // before the first acknowledgement nothing is known
		{12, 14, 10},     // within one gap
		{15, 50, 70},     // reaches into the long one
		{50, 60, 70},     // lies within it
		{105, 106, 10},   // after it
		{35, 150, 90},    // several
		{250, 300, 0},    // after the last one nothing is known
		{0, 1000, 90},    // all
		{100, 105, 70},   // an acknowledgement at the very beginning ends the gap before
		{101, 105, 10},   // after it
		{110, 110, 90},   // one instant between two gaps
		{199, 10000, 90}, /* to the end */
	} {
		if got := worstGap(acks, test.from, test.to); got != test.want {
			t.Errorf("worst gap from %d to %d is %d, want %d", test.from, test.to, got, test.want)
		}
	}
	if worstGap(nil, 0, 10) != 0 {
		t.Error("a gap without acknowledgements")
	}
}

func TestOutages(t *testing.T) {
	ms := time.Millisecond
	var acks []time.Duration
	for at := time.Duration(0); at < 20*time.Second; at += 10 * ms {
		if at < 5*time.Second || at > 7*time.Second {
			acks = append(acks, at)
		}
	}
	faults := []fault{
		{"kill", []string{"n1"}, 5 * time.Second, 6 * time.Second},
		{"kill", []string{"n2"}, 12 * time.Second, 12 * time.Second},
		{"pause", []string{"n1", "n2"}, 12 * time.Second, 12 * time.Second},
	}
	var out bytes.Buffer
	all := &tally{outages: outagesOf(faults, acks), quiet: quietGap(faults, acks)}
	all.print(&out)
	for _, want := range []string{"kill   2      2        2.02s       2.02s", "pause  1      2        10ms", "worst gap without any fault: 10ms"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
