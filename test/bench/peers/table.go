package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

// ours is the peer that the others are compared with.
const ours = "ledgermq"

// writeTables writes a Markdown table for each workload: medians with the lowest and the
// highest, and how many times as fast we were.
func writeTables(results []Result, w io.Writer) {
	versions := map[string]string{}
	type key struct{ workload, params string }
	var order []key
	byKey := map[key][]*figures.Result{}
	for i := range results {
		r := &results[i]
		versions[r.Peer] = r.Version
		if r.Workload == "start" && r.Err == "" {
			continue
		}
		k := key{r.Workload, r.Params}
		if byKey[k] == nil {
			order = append(order, k)
		}
		byKey[k] = append(byKey[k], &figures.Result{Workload: r.Peer, At: r.Time, Failed: r.Err, Metrics: r.Metrics})
	}
	first, last := span(results)
	if machine, err := figures.DescribeMachine(os.TempDir()); err == nil {
		fmt.Fprintf(w, "%s\n\n", machine)
	}
	fmt.Fprintf(w, "%s to %s UTC. ", first, last)
	var named []string
	for _, p := range peerNames() {
		if v := versions[p]; v != "" {
			named = append(named, fmt.Sprintf("%s: %s", p, v))
		}
	}
	fmt.Fprintf(w, "%s.\n", strings.Join(named, "; "))
	writeSummary(w, results)
	slices.SortStableFunc(order, func(a, b key) int { return strings.Compare(a.workload, b.workload) })
	for _, k := range order {
		writeTable(w, k.workload+", "+k.params, figures.Summarize(byKey[k]))
	}
}

func span(results []Result) (first, last string) {
	for _, r := range results {
		at := r.Time.Format("2006-01-02 15:04")
		if first == "" || at < first {
			first = at
		}
		last = max(last, at)
	}
	return first, last
}

func writeTable(w io.Writer, title string, sums []*figures.Summary) {
	var own *figures.Summary
	for _, s := range sums {
		if s.Workload == ours {
			own = s
		}
	}
	slices.SortStableFunc(sums, func(a, b *figures.Summary) int { return strings.Compare(a.Workload, b.Workload) })
	fmt.Fprintf(w, "\n**%s**\n\n| peer | runs | msg/s | ours is so many times | p50 / p99 / p99.9 ms | our p99 is so many times | delivery p50 / p99 ms | CPU µs a message: servers + client | disk bytes a message | RSS MiB, three servers | others |\n|%s\n",
		title, strings.Repeat("---|", 11))
	for _, s := range sums {
		runs := fmt.Sprint(s.Runs)
		if len(s.Failed) > 0 {
			runs += fmt.Sprintf(" (%d failed: %s)", len(s.Failed), s.Failed[0])
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", s.Workload, runs, spread(s, figures.MsgsPerS),
			times(own, s, figures.MsgsPerS), list(s, " / ", figures.P50MS, figures.P99MS, figures.P999MS), times(own, s, figures.P99MS),
			list(s, " / ", "delivery_"+figures.P50MS, "delivery_"+figures.P99MS), list(s, " + ", serverCPU, figures.ClientCPU),
			list(s, "", figures.Written), list(s, "", serverRSS), others(s))
	}
}

// headline is one row of the summary.
type headline struct {
	title, workload, size, metric string
	lower                         bool // is better
}

var headlines = []headline{
	{"publish 1 KiB, msg/s", "throughput", "1 KiB", figures.MsgsPerS, false},
	{"publish 128 B, msg/s", "throughput", "128 B", figures.MsgsPerS, false},
	{"drain 1 KiB, msg/s", "drain", "1 KiB", figures.MsgsPerS, false},
	{"drain 128 B, msg/s", "drain", "128 B", figures.MsgsPerS, false},
	{"one in flight, p50 ms", "one in flight", "1 KiB", figures.P50MS, true},
	{"one in flight, p99 ms", "one in flight", "1 KiB", figures.P99MS, true},
	{"5,000/s, p50 ms", "end to end", "1 KiB", figures.P50MS, true},
	{"5,000/s, p99 ms", "end to end", "1 KiB", figures.P99MS, true},
	{"5,000/s, delivery p99 ms", "end to end", "1 KiB", "delivery_" + figures.P99MS, true},
}

// writeSummary is a table of medians: a column for each peer, and in brackets what
// ours is of theirs. Of several windows each peer's best counts.
func writeSummary(w io.Writer, results []Result) {
	bySum := map[string][]*figures.Result{} // by peer and workload with its parameters
	var names []string
	for _, r := range results {
		if !slices.Contains(names, r.Peer) {
			names = append(names, r.Peer)
		}
		bySum[r.Peer] = append(bySum[r.Peer], &figures.Result{Workload: r.Workload, Variant: r.Params, Failed: r.Err, Metrics: r.Metrics})
	}
	slices.Sort(names)
	fmt.Fprintf(w, "\n| median (ours as so many times theirs) | %s |\n|%s\n", strings.Join(names, " | "), strings.Repeat("---|", len(names)+1))
	for _, h := range headlines {
		own, _ := h.best(figures.Summarize(bySum[ours]))
		fmt.Fprintf(w, "| %s |", h.title)
		for _, name := range names {
			v, ok := h.best(figures.Summarize(bySum[name]))
			switch {
			case !ok:
				fmt.Fprint(w, " – |")
			case name == ours || own == 0:
				fmt.Fprintf(w, " %s |", figures.Number(v))
			default:
				fmt.Fprintf(w, " %s (%s ×) |", figures.Number(v), figures.Number(own/v))
			}
		}
		fmt.Fprintln(w)
	}
}

// best is the best median among a peer's results with these parameters.
func (h headline) best(sums []*figures.Summary) (v float64, ok bool) {
	for _, s := range sums {
		m, has := s.Metrics[h.metric]
		if s.Workload != h.workload || !has || s.Variant != h.size && !strings.HasPrefix(s.Variant, h.size+",") {
			continue
		}
		if !ok || h.lower && m.Median < v || !h.lower && m.Median > v {
			v, ok = m.Median, true
		}
	}
	return v, ok
}

// times is our figure over theirs.
func times(own, s *figures.Summary, metric string) string {
	if own == nil || own == s || own.Median(metric) == 0 || s.Median(metric) == 0 {
		return ""
	}
	return figures.Number(own.Median(metric)/s.Median(metric)) + " ×"
}

func spread(s *figures.Summary, metric string) string {
	v, ok := s.Metrics[metric]
	if !ok {
		return ""
	}
	text := figures.Number(v.Median)
	if lo, hi := figures.Number(v.Lowest), figures.Number(v.Highest); lo != hi {
		text += fmt.Sprintf(" [%s–%s]", lo, hi)
	}
	return text
}

func list(s *figures.Summary, between string, metrics ...string) string {
	var cells []string
	for _, m := range metrics {
		v, ok := s.Metrics[m]
		if !ok {
			return ""
		}
		cells = append(cells, figures.Number(v.Median))
	}
	return strings.Join(cells, between)
}

func others(s *figures.Summary) string {
	if _, ok := s.Metrics[otherShare]; !ok {
		return ""
	}
	return fmt.Sprintf("%.0f %%", s.Median(otherShare)+s.Median(stealShare))
}
