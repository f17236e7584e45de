package figures

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHistogramKeepsThreeDigits(t *testing.T) {
	h := NewHistogram()
	for i := 1; i <= 1000; i++ {
		h.Record(time.Duration(i) * time.Millisecond)
	}
	h.Record(-time.Second) // counts as the shortest
	h.Record(time.Hour)    // counts as the longest
	require.EqualValues(t, 1002, h.Count())
	require.InDelta(t, 500, h.AtMS(50), 1)
	require.InDelta(t, 990, h.AtMS(99), 2)
	require.InDelta(t, 600_000, h.AtMS(100), 600)
	other := NewHistogram()
	other.Record(time.Millisecond)
	h.Merge(other)
	require.EqualValues(t, 1003, h.Count())
}

func TestMedianLiesInTheMiddle(t *testing.T) {
	require.Equal(t, Spread{3, 3, 3}, SpreadOf([]float64{3}))
	require.Equal(t, Spread{2, 1, 3}, SpreadOf([]float64{3, 1, 2}))
	require.Equal(t, Spread{2.5, 1, 4}, SpreadOf([]float64{4, 1, 3, 2}))
}

func repetitions() []*Result {
	var all []*Result
	for _, rate := range []int64{100_000, 300_000, 200_000} {
		r := NewResult("publish", "10 producers", 1024)
		r.Rate(rate, time.Second)
		r.Metrics[OthersBusy] = 0.02
		r.Metrics["gap_ms"] = float64(rate) / 1000
		all = append(all, r)
	}
	failed := NewResult("publish", "10 producers", 1024)
	failed.Failed = "no leader"
	return append(all, failed, NewResult("drain", "", 128))
}

func TestRepetitionsAreOneRow(t *testing.T) {
	sums := Summarize(repetitions())
	require.Len(t, sums, 2)
	require.Equal(t, 3, sums[0].Runs)
	require.Equal(t, []string{"no leader"}, sums[0].Failed)
	require.Equal(t, Spread{200_000, 100_000, 300_000}, sums[0].Metrics[MsgsPerS])
	var table strings.Builder
	(&Report{Results: repetitions(), Scale: 1}).Table(&table)
	require.Contains(t, table.String(), "| publish, 10 producers | 1 KiB | 3 (1 failed: no leader) | 200,000 [100,000–300,000] | 205 |")
	require.Contains(t, table.String(), "gap_ms 200 [100–300] | 2 % |")
	for line := range strings.Lines(table.String()) {
		if strings.HasPrefix(line, "|") {
			require.Equal(t, 14, strings.Count(line, "|"), line)
		}
	}
}

func TestReportComesBackAndForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	empty, err := Load(path)
	require.NoError(t, err)
	require.Empty(t, empty.Results)
	r := &Report{Machine: Machine{CPU: "x", Cores: 2}, Scale: 0.5, Results: repetitions()}
	require.NoError(t, r.Save(path))
	back, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, r, back)
	back.Forget(func(name string) bool { return name == "publish" })
	require.Len(t, back.Results, 1)
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	_, err = Load(path)
	require.ErrorContains(t, err, path)
}

func TestSectionIsReplacedAndNothingElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	const before = "a\n<!-- bench: generated, do not edit -->\nold\n<!-- bench: end -->\nz\n"
	require.NoError(t, os.WriteFile(path, []byte(before), 0o600))
	for range 2 { // the same again changes nothing
		require.NoError(t, ReplaceSection(path, "bench", "\nnew\n"))
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "a\n<!-- bench: generated, do not edit -->\n\nnew\n\n<!-- bench: end -->\nz\n", string(text))
	}
	require.ErrorContains(t, ReplaceSection(path, "peers", ""), "no section")
}

func TestNumbersAreShort(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.0004: "0.0004", 0.123: "0.12", 5: "5", 9.87: "9.87", 45.67: "45.7", 123.4: "123", 1234: "1,234", 385_271: "385,300", 2_901_234: "2,901,200",
	} {
		require.Equal(t, want, Number(v))
	}
	require.Equal(t, []string{"", "16 B", "1 KiB", "4 MiB"}, []string{Bytes(0), Bytes(16), Bytes(1024), Bytes(4 << 20)})
}

func TestPlotIsWellFormedAndHoldsItsPoints(t *testing.T) {
	p := Plot{
		Title: "rate <&> size", XLabel: "bytes", YLabel: "msg/s", LogX: true, LogY: true, XBytes: true,
		Series: []Series{
			{Name: "publish", Points: []Point{{X: 16, Y: 3e6, Lowest: 2e6, Highest: 4e6}, {X: 1024, Y: 3e5}, {X: 4 << 20, Y: 80}}},
			{Name: "none", Points: []Point{{X: 0, Y: 1}, {X: 16, Y: 0}}}, // not on a logarithmic axis
		},
	}
	var svg strings.Builder
	require.NoError(t, p.SVG(&svg))
	require.Equal(t, 3, strings.Count(svg.String(), "<circle"))
	require.Contains(t, svg.String(), "rate &lt;&amp;&gt; size")
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.ErrorContains(t, (&Plot{Title: "empty"}).SVG(io.Discard), "no point")
}

func TestAxesShowTheirPoints(t *testing.T) {
	for _, values := range [][]float64{{1}, {0, 7}, {3, 1000}, {0.2, 0.9}} {
		for _, log := range []bool{false, true} {
			a := axis{log: log, from: 0, to: 100}
			for _, v := range values {
				a.include(v)
			}
			require.True(t, a.settle(false))
			for _, v := range values {
				if a.shows(v) {
					require.GreaterOrEqual(t, a.at(v), -1e-6)
					require.LessOrEqual(t, a.at(v), 100+1e-6)
				}
			}
			require.Less(t, len(a.ticks), 12)
		}
	}
}
