package bench

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/test/bench/figures"
)

func TestLongestGapEndsInItsSpan(t *testing.T) {
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	times := []time.Time{at(0), at(100), at(110), at(150), at(160)}
	require.InDelta(t, 40, longestGap(times, at(105), at(1000)), 1e-9)
	require.InDelta(t, 100, longestGap(times, at(50), at(1000)), 1e-9) // it began before the span
	require.InDelta(t, 10, longestGap(times, at(150), at(1000)), 1e-9)
	require.Zero(t, longestGap(nil, at(0), at(1)))
}

func TestPaceNeverForgivesLateness(t *testing.T) {
	var dues []time.Time
	done := pace(5, 1000, nil, func(due time.Time) {
		if len(dues) == 0 {
			for time.Since(due) < 10*time.Millisecond { // as an answer that is late
			}
		}
		dues = append(dues, due)
	})
	require.EqualValues(t, 5, done)
	for i := 1; i < len(dues); i++ {
		require.Equal(t, time.Millisecond, dues[i].Sub(dues[i-1]))
	}
	stop := make(chan struct{})
	close(stop)
	require.Zero(t, pace(5, 1000, stop, func(time.Time) {}))
}

func TestOthersIsWhatIsNotOurs(t *testing.T) {
	before := usage{at: epoch}
	after := usage{at: epoch.Add(time.Second), leader: 100 * time.Millisecond, followers: 200 * time.Millisecond, client: 300 * time.Millisecond, machine: 600 * time.Millisecond}
	require.Zero(t, after.others(before))
	after.machine = 700 * time.Millisecond
	require.Positive(t, after.others(before))
	require.Less(t, after.others(before), 0.11)
}

func TestCurvesDrawWhatWasMeasured(t *testing.T) {
	rep := &figures.Report{}
	for _, size := range []int{16, 1024} {
		for _, variant := range []string{"publish", "drain"} {
			r := figures.NewResult("by-size", variant, size)
			r.X = float64(size)
			r.Rate(1000, time.Second)
			rep.Results = append(rep.Results, r)
		}
	}
	dir := t.TempDir()
	text, err := drawAll(rep, dir)
	require.NoError(t, err)
	for _, file := range []string{"size-rate", "size-bytes"} {
		require.FileExists(t, dir+"/"+file+".svg")
		require.Contains(t, text, "performance/"+file+".svg")
	}
	require.NotContains(t, text, "startup.svg") // it was not measured
}

func TestEveryChartNamesACurve(t *testing.T) {
	for _, c := range charts {
		require.True(t, slices.ContainsFunc(grows, func(w workload) bool { return w.name == c.workload }), c.file)
		require.NotEmpty(t, c.bends, c.file)
	}
}

func TestValuesCarryWhenTheyWereDue(t *testing.T) {
	require.Equal(t, epoch, dueOf(make([]byte, 8)))
	require.NotEqual(t, value(64)[:32], value(64)[32:])
}

func TestMetricsAreSummedOverLabels(t *testing.T) {
	const text = `# HELP a_total What it is.
# TYPE a_total counter
a_total{kind="x y"} 2
a_total{kind="z"} 3.5
a_seconds_count 1e+06
`
	all, err := sumMetrics(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"a_total": 5.5, "a_seconds_count": 1e6}, all)
	_, err = sumMetrics(strings.NewReader("a_total two\n"))
	require.ErrorContains(t, err, "a_total two")
}

func TestCausesAreComparedWithEarlierOnes(t *testing.T) {
	seen := []string{allRare}
	for _, c := range causes {
		require.Contains(t, append(seen, ""), c.base, c.name)
		seen = append(seen, c.name)
	}
	require.Equal(t, allRare, causes[0].name)
}
