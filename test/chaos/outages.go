package chaos

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// aftermath is how long after its end a fault still answers for a gap.
const aftermath = 3 * time.Second

// worstGap is the longest time without an acknowledgement that overlaps a span.
func worstGap(acks []time.Duration, from, to time.Duration) time.Duration {
	first, _ := slices.BinarySearch(acks, from)
	var worst time.Duration
	for i := max(1, first); i < len(acks) && acks[i-1] <= to; i++ {
		worst = max(worst, acks[i]-acks[i-1])
	}
	return worst
}

// printOutages prints faults by kind, each with the unavailability that clients saw:
// the longest gap between two acknowledgements of any producers around each fault. When
// several faults overlap, a gap counts for each of them.
func printOutages(w io.Writer, faults []fault, acks []time.Duration) {
	gaps := map[string][]time.Duration{}
	targets := map[string]int{}
	for _, f := range faults {
		gaps[f.kind] = append(gaps[f.kind], worstGap(acks, f.began, f.ended+aftermath))
		targets[f.kind] += len(f.targets)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FAULT\tTIMES\tTARGETS\tMEDIAN GAP\tWORST GAP")
	for _, name := range slices.Sorted(maps.Keys(gaps)) {
		g := slices.Sorted(slices.Values(gaps[name]))
		fmt.Fprintf(table, "%s\t%d\t%d\t%v\t%v\n", name, len(g), targets[name], round(g[len(g)/2]), round(g[len(g)-1]))
	}
	_ = table.Flush()
	var quiet time.Duration
	for i := 1; i < len(acks); i++ {
		alone := !slices.ContainsFunc(faults, func(f fault) bool { return f.began <= acks[i] && acks[i-1] <= f.ended+aftermath })
		if alone {
			quiet = max(quiet, acks[i]-acks[i-1])
		}
	}
	fmt.Fprintf(w, "worst gap without any fault: %v\n", round(quiet))
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// printLongest prints the longest gaps with the faults that were under way, so that
// one that should not have been can be told from one that had to be.
func printLongest(w io.Writer, faults []fault, acks []time.Duration) {
	type gap struct{ from, to time.Duration }
	var gaps []gap
	for i := 1; i < len(acks); i++ {
		if acks[i]-acks[i-1] > time.Second {
			gaps = append(gaps, gap{acks[i-1], acks[i]})
		}
	}
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(b.to-b.from, a.to-a.from) })
	for _, g := range gaps[:min(5, len(gaps))] {
		var under []string
		for _, f := range faults {
			if f.began <= g.to && g.from <= f.ended {
				under = append(under, fmt.Sprintf("%s of %s (%.1f to %.1f s)", f.kind, strings.Join(f.targets, " "), f.began.Seconds(), f.ended.Seconds()))
			}
		}
		fmt.Fprintf(w, "nothing acknowledged from %.1f to %.1f s: %s\n", g.from.Seconds(), g.to.Seconds(), strings.Join(under, ", "))
	}
}
