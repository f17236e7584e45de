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

// outage is the unavailability that clients saw around one fault.
type outage struct {
	kind    string
	targets int
	gap     time.Duration
}

// worstGap is the longest time without an acknowledgement that overlaps a span.
func worstGap(acks []time.Duration, from, to time.Duration) time.Duration {
	first, _ := slices.BinarySearch(acks, from)
	var worst time.Duration
	for i := max(1, first); i < len(acks) && acks[i-1] <= to; i++ {
		worst = max(worst, acks[i]-acks[i-1])
	}
	return worst
}

// outagesOf finds for each fault the longest gap between two acknowledgements of any
// producers around it. When several faults overlap, a gap counts for each of them.
func outagesOf(faults []fault, acks []time.Duration) (all []outage) {
	for _, f := range faults {
		all = append(all, outage{f.kind, len(f.targets), worstGap(acks, f.began, f.ended+aftermath)})
	}
	return all
}

// printOutages prints faults by kind, each with median and worst of its gaps.
func printOutages(w io.Writer, outages []outage) {
	gaps := map[string][]time.Duration{}
	targets := map[string]int{}
	for _, o := range outages {
		gaps[o.kind] = append(gaps[o.kind], o.gap)
		targets[o.kind] += o.targets
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FAULT\tTIMES\tTARGETS\tMEDIAN GAP\tWORST GAP")
	for _, name := range slices.Sorted(maps.Keys(gaps)) {
		g := slices.Sorted(slices.Values(gaps[name]))
		fmt.Fprintf(table, "%s\t%d\t%d\t%v\t%v\n", name, len(g), targets[name], toMilli(g[len(g)/2]), toMilli(g[len(g)-1]))
	}
	_ = table.Flush()
}

// quietGap is the longest gap that no fault answers for.
func quietGap(faults []fault, acks []time.Duration) (quiet time.Duration) {
	for i := 1; i < len(acks); i++ {
		if !slices.ContainsFunc(faults, func(f fault) bool { return f.began <= acks[i] && acks[i-1] <= f.ended+aftermath }) {
			quiet = max(quiet, acks[i]-acks[i-1])
		}
	}
	return quiet
}

func toMilli(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// logLongest notes the longest gaps with the faults that were under way, so that one
// that should not have been can be told from one that had to be.
func (r *run) logLongest(acks []time.Duration) {
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
		for _, f := range r.faults {
			if f.began <= g.to && g.from <= f.ended {
				under = append(under, fmt.Sprintf("%s of %s (%.1f to %.1f s)", f.kind, strings.Join(f.targets, " "), f.began.Seconds(), f.ended.Seconds()))
			}
		}
		r.note("nothing acknowledged from %.1f to %.1f s: %s", g.from.Seconds(), g.to.Seconds(), strings.Join(under, ", "))
	}
}
