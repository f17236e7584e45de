package chaos

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ledgermq/ledgermq/pkg/history"
)

// tally is what came of all rounds.
type tally struct {
	report  history.Report // of all histories, without examples
	faults  int
	outages []outage
	quiet   time.Duration // the longest gap without any fault
	counts  counts
	left    []kind // of the last round's deck: the next one begins with them
}

// counts are what happened besides faults, of which one may want to know that it did.
type counts struct {
	name []string
	n    map[string]int
}

// add counts something; the names are printed in the order in which they first came.
func (c *counts) add(name string, n int) {
	if c.n == nil {
		c.n = map[string]int{}
	}
	if !slices.Contains(c.name, name) {
		c.name = append(c.name, name)
	}
	c.n[name] += n
}

// judge prints what came of a round, adds it to all, and fails the test if anything is
// wrong.
func (r *run) judge(report history.Report, all *tally) {
	for _, p := range r.record.problems() {
		r.t.Error(p)
	}
	for _, a := range report.Examples {
		r.t.Error(a)
	}
	if !report.Clean() {
		r.t.Errorf("anomalies: %v", report.Anomalies)
	}
	if report.Unjudged > 0 || report.Copies != len(r.hosts) || report.Acked == 0 || len(r.faults) == 0 {
		r.t.Errorf("a run that proves nothing: %d unjudged, %d copies, %d acknowledged, %d faults", report.Unjudged, report.Copies, report.Acked, len(r.faults))
	}
	acks := r.record.sortedAcks()
	r.logLongest(acks)
	r.note("errors of sends: %s", r.record.refusals())
	r.note("history: %d operations, %d sends acknowledged, %d failed, %d unknown (%d of them stored), %d pulled, %d drained from %d members' disks",
		r.record.writer.Len(), report.Acked, report.Failed, report.Info, report.InfoFound, report.Pulled, report.Drained, report.Copies)
	n, unknown, err := r.registers.judge()
	if err != nil {
		r.t.Error(err)
	}
	all.counts.add("operations on topics", n)
	all.counts.add("of them of unknown outcome", unknown)
	for _, name := range r.nemesis.counts.name {
		all.counts.add(name, r.nemesis.counts.n[name])
	}
	seeded := 0
	for _, h := range r.hosts {
		seeded += strings.Count(h.node.Logs(), `"msg":"seed installed"`)
	}
	all.counts.add("seeds installed", seeded)
	all.take(report, r.faults, acks)
}

// take adds one round's history and faults.
func (a *tally) take(report history.Report, faults []fault, acks []time.Duration) {
	sum := &a.report
	sum.Acked += report.Acked
	sum.Failed += report.Failed
	sum.Info += report.Info
	sum.InfoFound += report.InfoFound
	sum.Pulled += report.Pulled
	sum.Drained += report.Drained
	if sum.Anomalies == nil {
		sum.Anomalies = map[history.Class]int{}
	}
	for class, n := range report.Anomalies {
		sum.Anomalies[class] += n
	}
	a.faults += len(faults)
	a.outages = append(a.outages, outagesOf(faults, acks)...)
	a.quiet = max(a.quiet, quietGap(faults, acks))
}

// print prints everything but the last line.
func (a *tally) print(w io.Writer) {
	printOutages(w, a.outages)
	fmt.Fprintf(w, "worst gap without any fault: %v\n", toMilli(a.quiet))
	for _, name := range a.counts.name {
		fmt.Fprintf(w, "%s: %d\n", name, a.counts.n[name])
	}
	r := &a.report
	fmt.Fprintf(w, "histories: %d sends acknowledged, %d failed, %d unknown (%d of them stored), %d pulled, %d drained\n", r.Acked, r.Failed, r.Info, r.InfoFound, r.Pulled, r.Drained)
	if n := r.Other(); n > 0 {
		fmt.Fprintf(w, "chaos: and %d anomalies of other classes\n", n)
	}
}

// verdict is the last line.
func (a *tally) verdict() string {
	r := &a.report
	return fmt.Sprintf("chaos: %d acknowledged, %d lost, %d doubled, %d out of order, %d phantom, %d faults",
		r.Acked, r.Lost(), r.Doubled(), r.OutOfOrder(), r.Phantoms(), a.faults)
}
