package figures

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// tabled are the metrics with a column of their own, or none on purpose.
var tabled = []string{
	MsgsPerS, MBPerS, Messages, Seconds, P50MS, P99MS, P999MS, MaxMS, LeaderCPU, FollowerCPU, ClientCPU, Written,
	LeaderAllocs, ClientAllocs, LeaderRSS, FollowerRSS, OfBare, OfDisk, OfStream, OfSync, OthersBusy,
}

// Table writes a report as Markdown: medians, with the lowest and the highest where
// there are several.
func (r *Report) Table(w io.Writer) {
	first, last := r.Times()
	fmt.Fprintf(w, "%s\n\n%s to %s UTC", r.Machine, first.Format("2006-01-02 15:04"), last.Format("15:04"))
	if r.Commit != "" {
		fmt.Fprintf(w, ", commit %s", r.Commit)
	}
	fmt.Fprintf(w, ", scale %g\n\n", r.Scale)
	fmt.Fprintln(w, "| workload | size | runs | msg/s | MB/s | p50 / p99 / p99.9 ms | CPU µs a message: leader + followers + client | "+
		"disk bytes a message | allocs a message: leader, client | RSS MiB: leader, follower | of bare, disk, stream, sync | else | others |")
	fmt.Fprintln(w, "|"+strings.Repeat("---|", 13))
	for _, s := range Summarize(r.Results) {
		s.row(w)
	}
}

func (s *Summary) row(w io.Writer) {
	name := s.Workload
	if s.Variant != "" {
		name += ", " + s.Variant
	}
	if s.X != 0 && s.X != float64(s.Size) && strings.HasPrefix(s.Workload, "by-") {
		name += fmt.Sprintf(", at %.6g", s.X) // a point of a curve
	}
	runs := fmt.Sprint(s.Runs)
	if len(s.Failed) > 0 {
		runs += fmt.Sprintf(" (%d failed: %s)", len(s.Failed), s.Failed[0])
	}
	cells := []string{
		name, Bytes(s.Size), runs, s.spread(MsgsPerS), s.each("", MBPerS), s.each(" / ", P50MS, P99MS, P999MS),
		s.each(" + ", LeaderCPU, FollowerCPU, ClientCPU), s.spread(Written), s.each(", ", LeaderAllocs, ClientAllocs),
		s.each(", ", LeaderRSS, FollowerRSS), s.each(", ", OfBare, OfDisk, OfStream, OfSync), s.others(), s.percent(OthersBusy),
	}
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// spread is a median with its bounds.
func (s *Summary) spread(metric string) string {
	v, ok := s.Metrics[metric]
	if !ok {
		return ""
	}
	text := Number(v.Median)
	if lo, hi := Number(v.Lowest), Number(v.Highest); lo != hi {
		text += fmt.Sprintf(" [%s–%s]", lo, hi)
	}
	return text
}

// each is the medians of some metrics, a dash for one that is missing.
func (s *Summary) each(between string, metrics ...string) string {
	var cells []string
	some := false
	for _, m := range metrics {
		v, ok := s.Metrics[m]
		if some = some || ok; !ok {
			cells = append(cells, "–")
			continue
		}
		cells = append(cells, Number(v.Median))
	}
	if !some {
		return ""
	}
	return strings.Join(cells, between)
}

func (s *Summary) percent(metric string) string {
	v, ok := s.Metrics[metric]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*v.Median)
}

// others are the metrics without a column.
func (s *Summary) others() string {
	var cells []string
	for _, name := range slices.Sorted(maps.Keys(s.Metrics)) {
		if !slices.Contains(tabled, name) && (name != Read || s.Median(name) >= 1) {
			cells = append(cells, name+" "+s.spread(name))
		}
	}
	return strings.Join(cells, "; ")
}

// Number writes a figure with about three digits; large ones whole, with thin groups.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case a >= 1e4:
		return grouped(int64(math.Round(v/100) * 100))
	case a >= 100 || v == math.Trunc(v):
		return grouped(int64(math.Round(v)))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.01:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.1g", v)
	}
}

func grouped(v int64) string {
	text := fmt.Sprint(v)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// Bytes writes a size in its largest whole unit, nothing for 0.
func Bytes(n int) string {
	switch {
	case n == 0:
		return ""
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
