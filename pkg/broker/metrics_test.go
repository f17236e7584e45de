package broker

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

const metricsDocument = "../../docs/metrics.md"

var descPattern = regexp.MustCompile(`fqName: "([^"]*)", help: "((?:[^"\\]|\\.)*)", unit: "[^"]*", constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// TestMetricsDocument compares docs/metrics.md with everything that a broker's
// process registers, children or not.
func TestMetricsDocument(t *testing.T) {
	n := startSingle(t, nil)
	descs := make(chan *prometheus.Desc, 1024)
	n.b.metrics.registry.Describe(descs)
	close(descs)
	rows := make(map[string]string)
	for d := range descs {
		m := descPattern.FindStringSubmatch(d.String())
		require.NotNil(t, m, d.String())
		name, help := m[1], strings.ReplaceAll(m[2], `\"`, `"`)
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		rows[name] = fmt.Sprintf("| `%s` | %s | %s |\n", name, labelsOf(m[3], m[4]), help)
	}
	table := "| name | labels | meaning |\n|---|---|---|\n"
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		table += rows[name]
	}
	compareDocument(t, metricsDocument, table)
}

// labelsOf lists a metric's labels, as PromQL writes the fixed ones.
func labelsOf(fixed, variable string) string {
	var labels []string
	for _, l := range strings.FieldsFunc(fixed+","+variable, func(r rune) bool { return r == ',' || r == ' ' }) {
		labels = append(labels, "`"+l+"`")
	}
	return strings.Join(labels, ", ")
}

// TestMetricsAreClean runs Prometheus' linter over a broker that has worked.
func TestMetricsAreClean(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "x", "y")).GetError())
	require.Len(t, n.pullAll("t", 0), 2)
	problems, err := testutil.GatherAndLint(n.b.metrics.registry)
	require.NoError(t, err)
	require.Empty(t, problems)

	m := n.b.metrics
	require.InDelta(t, 2, testutil.ToFloat64(m.received.WithLabelValues("t")), 0)
	require.InDelta(t, 2, testutil.ToFloat64(m.deliveries.WithLabelValues("t")), 0)
}

func TestTopicSeriesAreBounded(t *testing.T) {
	m := newMetrics(DefaultConfig(), newDiskGuard(DefaultConfig(), t.TempDir(), testLogger(t)))
	for i := range maxTopicSeries {
		require.NotEqual(t, otherTopics, m.topic(fmt.Sprint(i)))
	}
	require.Equal(t, otherTopics, m.topic("one more"))
	require.Equal(t, "7", m.topic("7"))
}
