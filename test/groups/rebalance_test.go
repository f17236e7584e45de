package groups

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/history"
	"github.com/ledgermq/ledgermq/test/workload"
)

// TestRebalances has members come, go and crash, and a leader killed in the middle. What
// is given again is what was given and not committed when a queue was handed over: the
// judge finds anything below a commit, and the rest is counted.
func TestRebalances(t *testing.T) {
	const commitEach, slots = 40, 4
	brokers, seeds := startBrokers(t, broker.GroupTiming{
		Timing:    group.Timing{Unhealthy: 500 * time.Millisecond, Removed: time.Second, Release: time.Second},
		Heartbeat: 50 * time.Millisecond,
	})
	dial := func(ctx context.Context) (*client.Client, error) {
		return client.Dial(ctx, client.Config{Seeds: seeds})
	}
	c, err := dial(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(t.Context(), "t", queues)
	require.NoError(t, err)
	record, err := workload.NewRecord(filepath.Join(t.TempDir(), "history.jsonl"))
	require.NoError(t, err)
	scene := workload.NewScene(workload.Config{
		Dial: dial, Recorder: record, Note: t.Logf, Lives: [2]time.Duration{200 * time.Millisecond, 600 * time.Millisecond}, Strict: true,
	})
	var sources, members errgroup.Group
	publishing, stopPublishing := context.WithCancel(t.Context())
	reading, stopReading := context.WithCancel(t.Context())
	defer stopPublishing()
	defer stopReading()
	p := workload.Producer{Source: workload.Source{Scene: scene, Who: "p", Topic: "t", Queues: queues, Rate: 500, Rng: rand.New(rand.NewPCG(1, 0))}}
	sources.Go(func() error { return p.Work(publishing) })
	for i := range slots {
		m := workload.Member{Scene: scene, Who: fmt.Sprint("m", i), Group: "g", Topic: "t", CommitEach: commitEach, CrashOne: 3, Rng: rand.New(rand.NewPCG(2, uint64(i)))}
		members.Go(func() error { return m.Work(reading) })
	}
	await := func(what string, n int) {
		t.Helper()
		require.Eventually(t, func() bool { return scene.Counts()[what] >= n }, patience, 5*time.Millisecond, what)
	}
	await("crashed members", 2)
	killed := killLeader(t, c, brokers)
	await("t pull", scene.Counts()["t pull"]+200)
	killed.start()
	await("crashed members", 4)
	stopPublishing()
	require.NoError(t, sources.Wait())
	require.Eventually(t, func() bool { _, n := scene.Missing(); return n == 0 }, patience, 5*time.Millisecond)
	stopReading()
	require.NoError(t, members.Wait())
	_, err = scene.AskProgress(t.Context(), c, "watcher", "g", "t")
	require.NoError(t, err)

	report, err := record.Judge(history.Options{})
	require.NoError(t, err)
	require.Empty(t, record.Problems())
	require.Empty(t, report.Anomalies, "%+v", report.Examples)
	crashed := scene.Counts()["crashed members"]
	t.Logf("%d acknowledged, %d given, %d hand-overs of queues, %d members crashed: %d messages were given again", report.Acked, report.Pulled, report.HandOvers, crashed, report.Again)
	require.Positive(t, report.HandOvers)
	// Who leaves commits; who crashes, or is given up because a busy machine kept it silent for
	// a second, has at most so many given and not committed.
	require.LessOrEqual(t, report.Again, commitEach*report.HandOvers)
}
