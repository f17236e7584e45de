package mixed

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/history"
	"github.com/ledgermq/ledgermq/test/cluster"
)

var (
	killsFlag = flag.Int("mixed.kills", 0, "so many leaders are killed; 0: three, with short lives of clients")
	seedFlag  = flag.Uint64("mixed.seed", 0, "what the clients do follows from it, and when leaders die; 0: from the clock")
)

// TestMain prints the verdict after everything else.
func TestMain(m *testing.M) { cluster.Main(m) }

// TestMixed kills leaders under mixed load.
func TestMixed(t *testing.T) {
	kills, lives := *killsFlag, [2]time.Duration{2 * time.Second, 8 * time.Second}
	if kills == 0 {
		kills, lives = 3, [2]time.Duration{300 * time.Millisecond, 1200 * time.Millisecond}
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again: go test ./test/mixed -run TestMixed -v -args -mixed.kills %d -mixed.seed %d", kills, seed)
	r := newRun(t, seed, lives)
	r.start(*killsFlag > 0)
	r.await(kinds(), nil)
	for i := range kills {
		r.killLeader(i)
	}
	r.await(seldom(), nil)
	r.finish(*killsFlag > 0)
	r.drain()
	report, err := r.record.Judge(history.Options{})
	require.NoError(t, err)
	r.judge(report, kills)
}

// judge prints the verdict and fails the test if anything is wrong, or was not tried.
func (r *run) judge(report history.Report, kills int) {
	t := r.t
	for _, p := range r.record.Problems() {
		t.Error(p)
	}
	for _, a := range report.Examples {
		t.Error(a)
	}
	counts := r.scene.Counts()
	t.Logf("%d operations: %d sends unknown (%d of them stored), %d pulled, %d drained from %d copies; counts %v",
		r.record.Len(), report.Info, report.InfoFound, report.Pulled, report.Drained, report.Copies, counts)
	fmt.Println(verdict(report, kills, r.dead))
	if !report.Clean() || report.Unjudged > 0 || report.Copies != len(r.cluster.Nodes()) {
		t.Errorf("anomalies %v, %d unjudged, %d copies", report.Anomalies, report.Unjudged, report.Copies)
	}
	for what, n := range map[string]int{
		"delayed": report.Delayed, "recalled": report.Recalled, "committed": report.Committed, "rolled back": report.RolledBack,
		"checks": counts["transactional check"], "hand-overs": report.HandOvers,
		"dead letters": r.dead, "given back": counts["work nack"],
	} {
		if n == 0 {
			t.Errorf("a run that proves nothing: %s 0", what)
		}
	}
	if t.Failed() {
		keep(t, r.record.Path())
	}
}

// verdict is the run in one line.
func verdict(r history.Report, kills, dead int) string {
	n := r.Sum
	return fmt.Sprintf("mixed: %d leader kills, %d acknowledged, %d lost, %d doubled, %d out of order, %d phantom, "+
		"group offsets gone back %d, committed ones given again %d, two owners %d, "+
		"%d delayed (%d recalled): early %d, recalled and delivered %d, "+
		"%d transactions committed, %d rolled back: half-visible %d, rolled back and delivered %d, torn %d, "+
		"%d received by workers, %d dead letters: acknowledged and received again %d, not done with %d, message groups out of order %d, attempts gone down %d, "+
		"other %d; given again between commit and hand-over %d, at %d hand-overs",
		kills, r.Acked, r.Lost(), r.Doubled(), r.OutOfOrder(), n(history.Phantom, history.Aborted),
		n(history.ProgressBack, history.ProgressPhantom), n(history.CommittedAgain), n(history.TwoOwners),
		r.Delayed, r.Recalled, n(history.Early), n(history.Recalled),
		r.Committed, r.RolledBack, n(history.HalfVisible), n(history.RolledBack), n(history.Torn, history.TwoEnds),
		r.Received, dead, n(history.AckedAgain), n(history.WorkLost), n(history.FifoOrder), n(history.AttemptsBack),
		n(history.InconsistentOffset, history.Misplaced, history.DrainGap, history.DrainDiffers, history.Unseen),
		r.Again, r.HandOvers)
}

// keep copies a history to where it outlives the test.
func keep(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "ledgermq-mixed-")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/history.jsonl", text, 0o600))
	t.Logf("the history is kept: broker verify history %s/history.jsonl", dir)
}

// await waits until as much was done as is asked for, counted from before; nil: from
// nothing.
func (r *run) await(wanted, before map[string]int) {
	r.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var idle []string
		now := r.scene.Counts()
		for what, n := range wanted {
			if now[what] < before[what]+n {
				idle = append(idle, what)
			}
		}
		if len(idle) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			slices.Sort(idle)
			r.t.Fatalf("nothing was done for %v of: %s", patience, strings.Join(idle, ", "))
		}
	}
}

// killLeader kills the leader somewhere in the middle of what it does, waits until the
// next one works, and starts the killed one again.
func (r *run) killLeader(i int) {
	r.t.Helper()
	leader := r.cluster.Leader()
	moment := time.NewTimer(time.Duration(r.rng.Int64N(int64(200 * time.Millisecond))))
	<-moment.C
	leader.Kill9()
	killed := time.Now()
	r.await(kinds(), r.scene.Counts())
	without := time.Since(killed)
	leader.Start()
	r.await(kinds(), r.scene.Counts()) // also while it comes back
	r.t.Logf("kill %d, %s: everything went on within %v, and with it within %v", i+1, leader.ID, without, time.Since(killed))
	if i%5 == 4 {
		r.ask()
	}
}

func newRand(seed, part uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, part)) }
