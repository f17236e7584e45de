// Package failover measures how long a client waits when a leader goes away:
// the longest gap between two acknowledgements of a client that publishes every
// millisecond. It asserts that no message fails, not how fast it is.
//
//	go test -v ./test/e2e/failover -runs 10
package failover

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/cluster"
)

var runs = flag.Int("runs", 1, "failovers of each kind")

func TestMain(m *testing.M) {
	cluster.Main(m)
}

// A way is how a leader goes away, and comes back when the measurement is over.
type way struct {
	name   string
	after  time.Duration // how long to go on publishing afterwards
	strike func(*cluster.Node)
	mend   func(*testing.T, *cluster.Node)
}

var ways = []way{
	{
		name: "kill -9", after: time.Second,
		strike: func(n *cluster.Node) { n.Signal(syscall.SIGKILL) },
		mend:   func(_ *testing.T, n *cluster.Node) { n.Wait(); n.Start() },
	},
	{
		name: "SIGSTOP", after: 3 * time.Second,
		strike: func(n *cluster.Node) { n.Pause() },
		mend:   func(_ *testing.T, n *cluster.Node) { n.Resume() },
	},
	{
		name: "SIGTERM", after: time.Second,
		strike: func(n *cluster.Node) { n.Signal(syscall.SIGTERM) },
		mend: func(t *testing.T, n *cluster.Node) {
			if code := n.Wait(); code != 0 {
				t.Errorf("%s ended with exit code %d after SIGTERM", n.ID, code)
			}
			n.Start()
		},
	},
}

func TestFailover(t *testing.T) {
	c := cluster.Start(t, cluster.Config{})
	c.Admin("topic", "create", "ticks")
	var table strings.Builder
	for _, w := range ways {
		var gaps []time.Duration
		for i := range *runs {
			gap, phases := measure(t, c, w)
			t.Logf("%-8s run %2d: longest gap %7.1f ms   %s", w.name, i+1, ms(gap), phases)
			gaps = append(gaps, gap)
		}
		slices.Sort(gaps)
		fmt.Fprintf(&table, "%-8s  runs %2d  median %7.1f ms  worst %7.1f ms\n", w.name, len(gaps), ms(gaps[len(gaps)/2]), ms(gaps[len(gaps)-1]))
	}
	t.Logf("longest gap between two acknowledgements, one message every millisecond:\n%s", table.String())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// measure takes the leader away once and returns the longest gap, with what the
// new leader says of its election.
func measure(t *testing.T, c *cluster.Cluster, w way) (time.Duration, string) {
	t.Helper()
	settle(t, c)
	ctx := t.Context()
	cl, err := client.Dial(ctx, client.Config{Seeds: strings.Split(c.Servers(), ",")})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	producer, err := cl.Producer(ctx, client.ProducerConfig{Topic: "ticks"})
	if err != nil {
		t.Fatal(err)
	}
	leader := c.Leader()
	results := publishEveryMillisecond(ctx, producer, 500*time.Millisecond)
	struck := time.Now()
	w.strike(leader)
	results = append(results, publishEveryMillisecond(ctx, producer, w.after)...)
	if err := producer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	gap := longestGap(t, results, struck)
	successor := c.LeaderOtherThan(leader)
	phases := phasesOf(ctx, successor)
	w.mend(t, leader)
	return gap, fmt.Sprintf("%s → %s %s", leader.ID, successor.ID, phases)
}

// settle waits until all members are up and hold the same ledger.
func settle(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	c.Eventually("all members to be level", func(ctx context.Context) bool {
		commits := map[int64]bool{}
		for _, n := range c.Nodes() {
			s, err := n.Status(ctx)
			if err != nil || s.GetLeader() == "" || s.GetDurableIndex() < s.GetCommitIndex() {
				return false
			}
			commits[s.GetCommitIndex()] = true
		}
		return len(commits) == 1
	})
}

func publishEveryMillisecond(ctx context.Context, p *client.Producer, d time.Duration) []*client.Result {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.Now().Add(d)
	var results []*client.Result
	for now := range tick.C {
		if now.After(end) {
			break
		}
		results = append(results, p.Publish(ctx, client.Message{Value: []byte("tick")}))
	}
	return results
}

// longestGap is the longest time between two acknowledgements from half a
// second before the blow on.
func longestGap(t *testing.T, results []*client.Result, struck time.Time) time.Duration {
	t.Helper()
	var acks []time.Time
	for i, r := range results {
		receipt, err := r.Get(t.Context())
		if err != nil {
			t.Errorf("message %d: %v", i, err)
			continue
		}
		if receipt.AckTime.After(struck.Add(-500 * time.Millisecond)) {
			acks = append(acks, receipt.AckTime)
		}
	}
	slices.SortFunc(acks, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(acks); i++ {
		longest = max(longest, acks[i].Sub(acks[i-1]))
	}
	return longest
}

func phasesOf(ctx context.Context, n *cluster.Node) string {
	s, err := n.Status(ctx)
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, p := range s.GetLastFailover() {
		parts = append(parts, fmt.Sprintf("%s %.1f ms", p.GetName(), p.GetSeconds()*1000))
	}
	return strings.Join(parts, ", ")
}
