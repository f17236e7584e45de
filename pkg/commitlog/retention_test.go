package commitlog_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// What a reader was given stays as it is, whatever happens to the log.
func TestFramesAreNeverRecycled(t *testing.T) {
	l := mustOpen(t, config(newFS()))
	appendN(t, l, 1, 5, 300)
	f, err := l.Read(0, 4, 1<<20)
	require.NoError(t, err)
	before := bytes.Clone(f.Bytes)
	require.Equal(t, len(f.Bytes), cap(f.Bytes)) // an append to it cannot reach the log
	mustTruncate(t, l, 2)
	for range 20 {
		appendN(t, l, 2, 3, 700)
		mustSync(t, l)
	}
	require.NoError(t, l.Close())
	require.Equal(t, before, f.Bytes)
}

// The clock jumps back; append times do not.
func TestAppendTimeNeverRunsBackwards(t *testing.T) {
	cfg := config(newFS())
	now := time.Unix(1_700_000_000, 0)
	cfg.Clock = func() time.Time { return now }
	l := mustOpen(t, cfg)
	appendN(t, l, 1, 1, 10)
	now = now.Add(-time.Hour)
	appendN(t, l, 1, 1, 10)
	require.NoError(t, l.Close())
	l = mustOpen(t, cfg)
	appendN(t, l, 1, 1, 10)
	now = now.Add(2 * time.Hour)
	appendN(t, l, 1, 1, 10)
	mustTruncate(t, l, 3)
	now = now.Add(-2 * time.Hour)
	appendN(t, l, 1, 1, 10)
	var times []int64
	for _, e := range requireCount(t, l, 4) {
		h, err := commitlog.ParseHeader(e)
		require.NoError(t, err)
		times = append(times, h.AppendTime/1e9)
	}
	require.Equal(t, []int64{1_700_000_000, 1_700_000_000, 1_700_000_000, 1_700_003_600}, times)
}

func TestPurgeKeepsWholeSegments(t *testing.T) {
	l := mustOpen(t, config(newFS()))
	for term := range Term(6) {
		appendN(t, l, term+1, 2, 10_000) // one group fills a segment
		mustSync(t, l)
	}
	require.NoError(t, l.PurgeBefore(5))
	require.Equal(t, Index(4), l.Begin())
	require.Equal(t, Term(2), l.PrevTerm())
	require.Equal(t, Term(3), l.Runs()[0].Term)
	for _, i := range []Index{0, 3} {
		_, err := l.Read(i, i, 1)
		require.ErrorIs(t, err, commitlog.ErrPurged)
	}
	_, err := l.TermAt(2)
	require.ErrorIs(t, err, commitlog.ErrPurged)
	term, err := l.TermAt(3)
	require.NoError(t, err)
	require.Equal(t, Term(2), term)
	_, err = l.TermAt(12)
	require.ErrorIs(t, err, commitlog.ErrBeyondEnd)
	require.NoError(t, l.PurgeBefore(1000))
	require.Equal(t, Index(10), l.Begin()) // the active segment stays
	l.BecomeSlave(6)
	require.ErrorIs(t, l.TruncateFrom(9), commitlog.ErrPurged)
	require.ErrorIs(t, l.TruncateFrom(13), commitlog.ErrBeyondEnd)
	require.NoError(t, l.TruncateFrom(12))
	require.Zero(t, l.Epoch())
	require.NoError(t, l.TruncateFrom(10))
	require.Equal(t, uint64(1), l.Epoch())
	i, term := l.End()
	require.Equal(t, Index(9), i)
	require.Equal(t, Term(5), term)
	require.Empty(t, l.Runs())
}

// The next segment is asked for once the active one is half full.
func TestNeedSegment(t *testing.T) {
	l := mustOpen(t, config(newFS()))
	asked := func() bool {
		select {
		case <-l.NeedSegment():
			return true
		default:
			return false
		}
	}
	appendN(t, l, 1, 1, 100)
	mustSync(t, l)
	require.False(t, asked())
	appendN(t, l, 1, 1, 15_000)
	mustSync(t, l)
	require.True(t, asked())
	require.NoError(t, l.PrepareSegment())
	require.NoError(t, l.PrepareSegment())
	appendN(t, l, 1, 1, 100)
	mustSync(t, l)
	require.False(t, asked())
}

// The longest body there is makes a group of its own, in a segment that is too small for it.
func TestLongestBody(t *testing.T) {
	cfg := config(newFS())
	l := mustOpen(t, cfg)
	appendN(t, l, 1, 1, 10)
	appendN(t, l, 1, 2, commitlog.MaxBodyBytes)
	appendN(t, l, 1, 1, 10)
	p, err := l.Sync()
	require.NoError(t, err)
	require.Equal(t, Index(0), p.Index)
	mustSync(t, l)
	require.ErrorIs(t, l.AppendMaster(1, 4, []commitlog.Body{body(0, commitlog.MaxBodyBytes+1)}), commitlog.ErrInvalidEntry)
	requireCount(t, l, 4)
	l.Abandon()
	l = mustOpen(t, cfg)
	requireCount(t, l, 4)
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	cfg := config(newFS())
	cfg.Registerer = registry
	l := mustOpen(t, cfg)
	appendN(t, l, 1, 3, 100)
	mustSync(t, l)
	require.NoError(t, l.Close())
	mustOpen(t, cfg) // a log that is opened again goes on with them
	series, err := testutil.GatherAndCount(registry)
	require.NoError(t, err)
	require.Equal(t, 14, series, "one metric of reads for each kind of readers")
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*commitlog.Config){
		"no dir":         func(c *commitlog.Config) { c.Dir = "" },
		"no cluster":     func(c *commitlog.Config) { c.ClusterID = "" },
		"long group":     func(c *commitlog.Config) { c.Group = string(make([]byte, 255)) },
		"small segment":  func(c *commitlog.Config) { c.SegmentBytes = 4096 },
		"odd segment":    func(c *commitlog.Config) { c.SegmentBytes = 100_000 },
		"negative cache": func(c *commitlog.Config) { c.TailCacheBytes = -1 },
		"huge group":     func(c *commitlog.Config) { c.MaxGroupBytes = 2 << 30 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(newFS())
			change(&cfg)
			_, err := commitlog.Open(cfg)
			require.Error(t, err)
		})
	}
}
