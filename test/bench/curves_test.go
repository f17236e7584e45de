package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// grows are the curves of `make bench-curves`: each is one workload, whose results are
// its points.
var grows = []workload{
	{name: "by-size", seconds: 40, run: bySize},
	{name: "by-rate", seconds: 24, run: byRate},
	{name: "by-producers", seconds: 26, run: byProducers},
	{name: "by-queues", seconds: 30, run: byQueues},
	{name: "by-consumers", seconds: 16, run: byConsumers},
	{name: "by-backlog", seconds: 90, most: 1, run: byBacklog},
	{name: "by-members", seconds: 25, run: byMembers},
	{name: "by-log", seconds: 70, most: 1, run: byLog},
}

// TestCurves measures how figures grow and draws that.
func TestCurves(t *testing.T) {
	if !*curves {
		t.Skip("curves are not asked for")
	}
	b := newBench(t, grows)
	b.section = "curves"
	b.run(t)
	b.print(t)
	if *page == "" {
		return
	}
	text, err := drawAll(b.report, filepath.Join(filepath.Dir(*page), "performance"))
	require.NoError(t, err)
	var table strings.Builder
	b.report.Table(&table)
	require.NoError(t, figures.ReplaceSection(*page, b.section, text+"\n<details><summary>the figures</summary>\n\n"+table.String()+"\n</details>"))
}

// bySize publishes and drains values from 16 B to 3 MiB; a batch of one message and its
// header must stay below limits.max_batch_bytes, 4 MiB.
func bySize(s *session) {
	s.start(cluster.Config{})
	for _, size := range []int{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4<<20 - 1<<10} {
		n := share(min(3_000_000, max(64, 384<<20/int64(size))))
		topic := s.topic(fmt.Sprintf("of-%d", size), 1)
		s.publish("publish", topic, size, n, max(1, min(sampleEvery, n/1000))).X = float64(size)
		s.drain("drain", topic, size, n, 1).X = float64(size)
		s.oneInFlight("one in flight", topic, size, share(200)).X = float64(size)
	}
}

// byRate raises the rate of an open loop.
func byRate(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("rates", 1)
	for _, rate := range []int{500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 150_000} {
		r := s.atRate(topic, 1024, rate, lasting(2*time.Second))
		r.X, r.Variant = float64(rate), "open loop"
	}
}

func byProducers(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("shared", 1)
	for _, n := range []int{1, 2, 5, 10, 30, 100, 300, 1000} {
		s.manyProducers(topic, n, messages(1024)/2).Variant = "publish"
	}
}

// byQueues has 100 clients publish to more and more queues, eight to a topic.
func byQueues(s *session) {
	s.start(cluster.Config{Env: []string{"LEDGERMQ_LIMITS_MAX_QUEUES=20000"}}) // of all points together
	for _, n := range []int{1, 8, 64, 512, 4096, 8000} {
		s.manyQueues(max(1, n/8), min(n, 8), min(100, max(1, n)), messages(1024)/2).Variant = "publish"
	}
}

func byConsumers(s *session) {
	s.start(cluster.Config{})
	for _, n := range []int{1, 3, 10, 30, 100} {
		s.fanOutTo(n, share(1_000_000/int64(max(2, n/2)))).Variant = "deliveries"
	}
}

// byBacklog lets one queue grow, and looks at what a new message costs, what a consumer
// at the end and one at the beginning see, and what the brokers' memory does.
func byBacklog(s *session) {
	s.start(cluster.Config{})
	topic := s.topic("backlog", 1)
	var all int64
	for _, gb := range []float64{0.25, 1, 2, 4, 8} {
		more := max(1000, int64(*scale*gb*1e9))/1024 - all
		if !s.hasRoom(3 * more * 1024) {
			return
		}
		s.publish("publish", topic, 1024, more, sampleEvery).X = gb
		all += more
		s.oneInFlight("one in flight", topic, 1024, share(500)).X = gb
		all += share(500)
		dropPageCache(s.t, s.c)
		s.drain("drain from the beginning", topic, 1024, min(all, share(500_000)), 1).X = gb
		p := s.consumerAt(topic, all-min(all, share(30_000)))
		s.measure("read the end", 1024, func(r *figures.Result) {
			began := time.Now()
			require.NoError(s.t, read(s.ctx, p, min(all, share(30_000)), nil))
			r.Rate(min(all, share(30_000)), time.Since(began))
		}).X = gb
	}
}

func (s *session) consumerAt(topic string, offset int64) *client.Consumer {
	s.t.Helper()
	return s.consumer(topic, client.Offset(offset))
}

func byMembers(s *session) {
	for _, n := range []int{1, 3, 5} {
		s.groupOf(n)
		for _, r := range s.report.Results[len(s.report.Results)-2:] {
			_, r.Variant, _ = strings.Cut(r.Variant, "members")
			if r.Variant = strings.TrimPrefix(r.Variant, ", "); r.Variant == "" {
				r.Variant = "publish"
			}
		}
	}
}

// byLog is the time to start against the size of the log.
func byLog(s *session) {
	for _, gb := range []float64{0.1, 1, 4, 10} {
		first := len(s.report.Results)
		s.startupWith(int64(*scale * gb * 1e9))
		for _, r := range s.report.Results[first:] {
			if _, after, ok := strings.Cut(r.Variant, ", "); ok {
				r.Variant = after
			}
		}
	}
}

// chart is a plot of what a curve has measured, and what is to be seen on it.
type chart struct {
	file, workload string
	lines          []line
	plot           figures.Plot
	bends          string
}

type line struct {
	variant, metric, name string
}

func publishAndDrain(metric string) []line {
	return []line{{"publish", metric, "publish"}, {"drain", metric, "drain"}}
}

func percentiles(variant string) []line {
	return []line{{variant, figures.P50MS, "p50"}, {variant, figures.P99MS, "p99"}, {variant, figures.P999MS, "p99.9"}}
}

var charts = []chart{
	{
		file: "size-rate", workload: "by-size", lines: publishAndDrain(figures.MsgsPerS),
		plot:  figures.Plot{Title: "messages a second against their size", XLabel: "bytes of a value", YLabel: "messages/s", LogX: true, LogY: true, XBytes: true},
		bends: "Small messages cost what a message costs (client and record header), whatever their size; from about 1 KiB on bytes decide, and the rate halves when the size doubles.",
	}, {
		file: "size-bytes", workload: "by-size", lines: publishAndDrain(figures.MBPerS),
		plot:  figures.Plot{Title: "bytes a second against message size", XLabel: "bytes of a value", YLabel: "MB/s", LogX: true, XBytes: true},
		bends: "The other side of the same: the curve is flat where copies, checksums and the disk decide. Values above 1 MiB travel as batches of one.",
	}, {
		file: "size-latency", workload: "by-size", lines: percentiles("one in flight")[:2],
		plot:  figures.Plot{Title: "one message in flight against its size", XLabel: "bytes of a value", YLabel: "ms", LogX: true, LogY: true, XBytes: true},
		bends: "Flat while a sync and its wake-ups decide, then the time to copy, send three times and write the bytes.",
	}, {
		file: "rate-latency", workload: "by-rate", lines: percentiles("open loop"),
		plot:  figures.Plot{Title: "latency against the offered rate, 1 KiB", XLabel: "messages/s offered", YLabel: "ms", LogX: true, LogY: true},
		bends: "Groups grow with the rate, so that p50 hardly moves until the machine is full; then a queue builds and everything waits in it.",
	}, {
		file: "producers", workload: "by-producers", lines: []line{{"publish", figures.MsgsPerS, "publish"}},
		plot:  figures.Plot{Title: "messages a second against producers on one queue, 1 KiB", XLabel: "producers", YLabel: "messages/s", LogX: true},
		bends: "Each producer has a stream and bytes in flight of its own: with a hundred and more, what is in flight is more than the tail holds, followers read from the disk what has left it (read_bytes_per_msg in the table), and the leader's memory grows.",
	}, {
		file: "queues", workload: "by-queues", lines: []line{{"publish", figures.MsgsPerS, "publish"}},
		plot:  figures.Plot{Title: "messages a second against queues, round robin, 1 KiB", XLabel: "queues", YLabel: "messages/s", LogX: true},
		bends: "Eight queues have more in flight than one and go faster. With many, batches get smaller and the index has an entry for each; followers fall out of the tail and read from the disk (read_bytes_per_msg in the table).",
	}, {
		file: "consumers", workload: "by-consumers", lines: []line{{"deliveries", figures.MsgsPerS, "deliveries"}, {"deliveries", "published_msgs_per_s", "published"}},
		plot:  figures.Plot{Title: "fan-out: deliveries against consumers of one queue, 1 KiB", XLabel: "consumers", YLabel: "messages/s", LogX: true},
		bends: "Deliveries come from the tail in memory and grow until the consumers' own decoding takes the machine; publishing pays for it.",
	}, {
		file: "backlog-rate", workload: "by-backlog", lines: []line{
			{"publish", figures.MsgsPerS, "publish"}, {"drain from the beginning", figures.MsgsPerS, "drain, disk"}, {"read the end", figures.MsgsPerS, "read the end"},
		},
		plot:  figures.Plot{Title: "rates against the backlog of a queue, 1 KiB", XLabel: "GB in each log", YLabel: "messages/s", LogX: true},
		bends: "Flat lines are the aim: neither writing nor reading looks at what lies between.",
	}, {
		file: "backlog-latency", workload: "by-backlog", lines: percentiles("one in flight")[:2],
		plot:  figures.Plot{Title: "one message in flight against the backlog, 1 KiB", XLabel: "GB in each log", YLabel: "ms", LogX: true},
		bends: "Flat for the same reason.",
	}, {
		file: "backlog-memory", workload: "by-backlog", lines: []line{{"publish", figures.LeaderRSS, "leader"}, {"publish", figures.FollowerRSS, "follower"}},
		plot:  figures.Plot{Title: "peak memory of a broker against the backlog", XLabel: "GB in each log", YLabel: "MiB", LogX: true},
		bends: "The tail, the buffers of the streams and the state store's caches are bounded; the backlog is not in memory.",
	}, {
		file: "members-rate", workload: "by-members", lines: []line{{"publish", figures.MsgsPerS, "publish"}},
		plot:  figures.Plot{Title: "messages a second against members of the group, 1 KiB", XLabel: "members", YLabel: "messages/s"},
		bends: "All members share one machine here: each further one takes its part of the cores and of the disk. On machines of their own the leader's network decides.",
	}, {
		file: "members-latency", workload: "by-members", lines: percentiles("one in flight")[:2],
		plot:  figures.Plot{Title: "one message in flight against members of the group, 1 KiB", XLabel: "members", YLabel: "ms"},
		bends: "One member waits for its own disk, three for the second fastest, five for the third.",
	}, {
		file: "startup", workload: "by-log", lines: []line{{"after a clean stop", "serving_after_s", "clean stop"}, {"after kill -9", "serving_after_s", "kill -9"}},
		plot:  figures.Plot{Title: "time until a broker serves against its log", XLabel: "GB in the log", YLabel: "s", LogX: true},
		bends: "A start reads one or two segments of the commit log, however long it is. Flat lines are the aim.",
	},
}

// drawAll writes a plot for each chart that has points and returns their part of the page.
func drawAll(rep *figures.Report, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	sums := figures.Summarize(rep.Results)
	var page strings.Builder
	first, last := rep.Times()
	fmt.Fprintf(&page, "%s\n\n%s to %s UTC, commit %s, scale %g\n", rep.Machine, first.Format("2006-01-02 15:04"), last.Format("15:04"), rep.Commit, rep.Scale)
	for _, c := range charts {
		p := c.plot
		for _, l := range c.lines {
			if s := l.series(sums, c.workload); len(s.Points) > 0 {
				p.Series = append(p.Series, s)
			}
		}
		if len(p.Series) == 0 {
			continue // it was not measured
		}
		f, err := os.Create(filepath.Join(dir, c.file+".svg"))
		if err != nil {
			return "", err
		}
		if err := p.SVG(f); err != nil {
			return "", err
		}
		if err := f.Close(); err != nil {
			return "", err
		}
		fmt.Fprintf(&page, "\n![%s](performance/%s.svg)\n\n%s\n", p.Title, c.file, c.bends)
	}
	return page.String(), nil
}

// series is the points of a line.
func (l line) series(sums []*figures.Summary, workload string) figures.Series {
	s := figures.Series{Name: l.name}
	for _, sum := range sums {
		v, ok := sum.Metrics[l.metric]
		if sum.Workload == workload && sum.Variant == l.variant && ok {
			s.Points = append(s.Points, figures.Point{X: sum.X, Y: v.Median, Lowest: v.Lowest, Highest: v.Highest})
		}
	}
	return s
}
