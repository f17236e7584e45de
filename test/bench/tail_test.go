package bench

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// rare are settings with which no work in the background happens while a tail is measured.
var rare = []string{
	"LEDGERMQ_STORAGE_SEGMENT_BYTES=1GiB",
	"LEDGERMQ_STORAGE_SCRUB_RATE=64KiB",
	"GOGC=400",
}

// cause is a kind of work in the background that is made frequent while all else is rare.
type cause struct {
	name    string
	env     []string // beyond rare
	keys    bool     // each message has a key of its own, which the state indexes
	filled  int64    // bytes in the ledger before
	restart bool     // after that, so that the scrub begins
	base    string   // what it is compared with, where that is not the first
}

// allRare is what nearly every cause is compared with.
const allRare = "all rare"

// causes are in this order. The second "all rare" tells how far two runs differ that do
// not differ in anything, and keys with large tables what an index takes by itself.
var causes = []cause{
	{name: allRare},
	{name: "as it comes", env: []string{"LEDGERMQ_STORAGE_SEGMENT_BYTES=256MiB", "LEDGERMQ_STORAGE_SCRUB_RATE=8MiB", "GOGC="}},
	{name: "collections", env: []string{"GOGC=20"}},
	{name: "rolls", env: smallSegments},
	{
		name: "purges", env: append([]string{"LEDGERMQ_RETENTION_SIZE=16MiB", "LEDGERMQ_RETENTION_CHECK_INTERVAL=100ms"}, smallSegments...),
		filled: 64 << 20, base: "rolls",
	},
	{name: "scrub, 8 MiB/s", env: []string{"LEDGERMQ_STORAGE_SEGMENT_BYTES=256MiB", "LEDGERMQ_STORAGE_SCRUB_RATE=8MiB"}, filled: 1 << 30, restart: true},
	{name: "scrub, 64 MiB/s", env: []string{"LEDGERMQ_STORAGE_SEGMENT_BYTES=256MiB", "LEDGERMQ_STORAGE_SCRUB_RATE=64MiB"}, filled: 1 << 30, restart: true},
	{name: "scrub, 1 GiB/s", env: []string{"LEDGERMQ_STORAGE_SEGMENT_BYTES=256MiB", "LEDGERMQ_STORAGE_SCRUB_RATE=1GiB"}, filled: 1 << 30, restart: true},
	{name: "keys, large tables", env: []string{"LEDGERMQ_LIMITS_MEMORY=4GiB"}, keys: true},
	{name: "keys, small tables", env: []string{"LEDGERMQ_LIMITS_MEMORY=256MiB"}, keys: true, base: "keys, large tables"},
	{name: "all rare, again"},
}

// smallSegments are the smallest that there may be beside batches of the default size.
var smallSegments = []string{"LEDGERMQ_STORAGE_SEGMENT_BYTES=8MiB"}

// tailLasts is less than 256 MiB of messages, after which the state is flushed anyway.
const tailLasts = 12 * time.Second

// tail is what work in the background takes of the slowest messages: the same open loop,
// each time beside much of one kind of it.
func tail(s *session) {
	seen := map[string]float64{}
	for _, c := range causes {
		r := s.tailBeside(c)
		seen[c.name] = r.Metrics[figures.P999MS]
		base := c.base
		if base == "" {
			base = allRare
		}
		ratio(r.Metrics, "p999_of_base", seen[c.name], seen[base])
		s.t.Logf("%s: p99.9 %s, %s times that of %s", c.name, figures.Number(seen[c.name]), figures.Number(r.Metrics["p999_of_base"]), base)
	}
}

func (s *session) tailBeside(c cause) *figures.Result {
	s.t.Helper()
	s.start(cluster.Config{Env: append(append([]string{}, rare...), c.env...)})
	defer s.stop()
	if c.filled > 0 {
		s.fill(s.topic("before", 1), liveSize, share(c.filled)/liveSize)
	}
	if c.restart {
		for _, n := range s.c.Nodes() {
			require.Zero(s.t, n.Terminate())
		}
		for _, n := range s.c.Nodes() {
			n.Start()
		}
		s.findLeader()
	}
	_, err := s.client.Admin().CreateTopicWith(s.ctx, "tail", 1, client.TopicSettings{KeyIndex: c.keys})
	require.NoError(s.t, err)
	p := s.producer("tail")
	s.publishTail(p, c, tailLasts/24) // connections, memory, the first zeros
	r := s.measure(c.name, liveSize, func(r *figures.Result) {
		before := s.background()
		began := time.Now()
		h, n := s.publishTail(p, c, tailLasts)
		r.Rate(n, time.Since(began))
		r.Latencies(h)
		for name, count := range s.background() {
			r.Metrics[name] = count - before[name]
		}
		r.Metrics["worst_ms"] = r.Metrics[figures.MaxMS]
	})
	require.NoError(s.t, p.Close(s.ctx))
	return r
}

// publishTail is an open loop of one producer at the rate of a live load.
func (s *session) publishTail(p *client.Producer, c cause, lasts time.Duration) (*figures.Histogram, int64) {
	s.t.Helper()
	n := int64(lasting(lasts).Seconds() * liveRate)
	loop := loop{size: liveSize, perSecond: liveRate, n: n}
	if c.keys {
		loop.key = func() []byte { s.keyed++; return scattered(s.keyed) }
	}
	h, done, err := loop.publish(s.ctx, p)
	require.NoError(s.t, err)
	return h, done
}

// scattered is a key that has nothing to do with the one before, as ids have not: so what
// is indexed goes to all tables.
func scattered(nth int64) []byte {
	return fmt.Appendf(nil, "%016x", uint64(nth)*0x9e3779b97f4a7c15)
}

// background is how often the leader has done what it does in the background.
func (s *session) background() map[string]float64 {
	s.t.Helper()
	m := s.leaderMetrics()
	purged := m["broker_retention_purged_segments_total"]
	return map[string]float64{
		"rolls":       m["broker_commitlog_segments"] + purged,
		"purged":      purged,
		"collections": m["go_gc_duration_seconds_count"],
		"flushes":     m["broker_state_flushes_total"],
		"compactions": m["broker_state_compactions_total"],
		"scrubbed_mb": m["broker_commitlog_scrubbed_bytes_total"] / 1e6,
		"zeroed_mb":   m["broker_commitlog_zeroed_bytes_total"] / 1e6,
	}
}
