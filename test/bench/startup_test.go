package bench

import (
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ledgermq/ledgermq/test/bench/figures"
	"github.com/ledgermq/ledgermq/test/cluster"
)

// startup is how long a broker takes from its start until it serves, against the size
// of its log. It is a group of one: what a member does by itself is the same, and three
// logs of 10 GB would be too much for many disks.
func startup(s *session) {
	for _, gb := range []float64{1, 10} {
		s.startupWith(int64(*scale * gb * 1e9))
	}
}

// startupWith measures with a log of so many bytes, after a clean stop and after a kill
// in the middle of a load.
func (s *session) startupWith(bytes int64) {
	s.t.Helper()
	bytes = max(bytes, 1<<20)
	if !s.hasRoom(bytes) {
		return
	}
	s.start(cluster.Config{Members: 1})
	topic := s.topic("log", 1)
	s.fill(topic, 1024, bytes/1024)
	node := s.c.Leader()
	gb := float64(bytes) / 1e9
	require.Zero(s.t, node.Terminate())
	s.serveAgain("after a clean stop", node, gb)
	s.fill(topic, 1024, share(100_000)) // what no checkpoint covers
	node.Kill9()
	s.serveAgain("after kill -9", node, gb)
	s.stop()
}

// hasRoom tells whether the disk has room for so many bytes and some to spare; if not it
// says so in the report.
func (s *session) hasRoom(bytes int64) bool {
	s.t.Helper()
	var fs unix.Statfs_t
	require.NoError(s.t, unix.Statfs(s.t.TempDir(), &fs))
	free := int64(fs.Bavail) * fs.Bsize
	if free > bytes*5/4+(5<<30) {
		return true
	}
	r := s.result(fmt.Sprintf("%.3g GB", float64(bytes)/1e9), 0)
	r.Failed = fmt.Sprintf("no room: %.1f GB are free", float64(free)/1e9)
	return false
}

// serveAgain starts a broker and measures until it serves.
func (s *session) serveAgain(variant string, node *cluster.Node, gb float64) {
	s.t.Helper()
	dropPageCache(s.t, s.c)
	began := time.Now()
	node.Start()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if st, err := node.Status(s.ctx); err == nil && st.GetServing() {
			break
		}
		require.NoError(s.t, s.ctx.Err())
		<-tick.C
	}
	took := time.Since(began).Seconds()
	s.findLeader()
	r := s.result(fmt.Sprintf("%.3g GB, %s", gb, variant), 0)
	r.X = gb
	r.Metrics["serving_after_s"], r.Metrics[figures.LeaderRSS] = took, s.peak(node.Pid())
	s.t.Logf("%s: serves after %.3f s", r.Variant, took)
}
