package overload

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/test/cluster"
)

var (
	duration = flag.Duration("overload.for", 5*time.Second, "how long the load lasts")
	memory   = flag.String("overload.memory", "1GiB", "limits.memory of each broker")
)

func TestMain(m *testing.M) { cluster.Main(m) }

// recovery is how soon after the load a message must be acknowledged again.
const recovery = 10 * time.Second

// No broker takes more memory than its cap, whatever comes; none ends; what is refused
// is refused by a code; and when the load is over the cluster works at once.
func TestPeakMemoryUnderOverload(t *testing.T) {
	var limit broker.Size
	require.NoError(t, limit.UnmarshalText([]byte(*memory)))
	c := cluster.Start(t, cluster.Config{Args: []string{"--config", configFile(t), "--log-level", "warn"}})
	l := &load{t: t, topic: "busy"}
	c.Admin("topic", "create", "busy", "--queues", "4")
	c.Admin("topic", "create", "quiet", "--queues", "1")
	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()
	clients := l.begin(ctx, t, c)
	pauseFor(ctx, t, followerOf(c), *duration/4, *duration/2)
	<-ctx.Done()
	l.end()

	t.Logf("acknowledged %d MiB, pulls parked again %d times, refused: %s", l.acked.Load()>>20, l.parks.Load(), counts(l.refusals()))
	require.Positive(t, l.acked.Load(), "something got through")
	for code := range l.refusals() {
		require.True(t, strings.HasSuffix(code, "definite"), "a refusal without an outcome: %s", code)
	}
	requireRecovery(t, clients[0])
	report(t, c, limit)
}

// begin sets everything going. The load is aimed at the leader.
func (l *load) begin(ctx context.Context, t *testing.T, c *cluster.Cluster) (clients []*client.Client) {
	t.Helper()
	leader := c.Leader()
	for range 4 {
		cl, err := client.Dial(ctx, client.Config{Seeds: strings.Split(c.Servers(), ",")})
		require.NoError(t, err)
		t.Cleanup(func() { _ = cl.Close() })
		clients = append(clients, cl)
		l.produce(ctx, cl, 1<<20)
		l.produce(ctx, cl, 200)
	}
	topics, err := clients[0].Admin().DescribeTopic(ctx, "busy")
	require.NoError(t, err)
	require.Len(t, topics.Queues, 4)
	l.queue = 1 // ids are given in the order of creation
	scale := 10
	if testing.Short() {
		scale = 1 // a machine that only runs the tests has other things to do
	}
	for range scale {
		l.flood(ctx, leader.Client, 20, 1<<20)
		l.park(ctx, leader.Client, 500)
	}
	for range 5 * scale {
		l.ignore(ctx, leader.Client)
	}
	require.NoError(t, l.idle(leader.Client, 200*scale))
	return clients
}

// configFile gives the brokers their cap.
func configFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "limits:\n  memory: %s\n  max_connections: 2200\n  max_held_pulls: 5200\n", *memory), 0o600))
	return path
}

func followerOf(c *cluster.Cluster) *cluster.Node {
	leader := c.Leader()
	i := slices.IndexFunc(c.Nodes(), func(n *cluster.Node) bool { return n != leader })
	return c.Nodes()[i]
}

// pauseFor stops a process for a part of the time.
func pauseFor(ctx context.Context, t *testing.T, n *cluster.Node, from, to time.Duration) {
	t.Helper()
	for _, step := range []struct {
		after time.Duration
		do    func()
	}{{from, n.Pause}, {to - from, n.Resume}} {
		timer := time.NewTimer(step.after)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		step.do()
	}
}

// requireRecovery publishes one message with the load gone.
func requireRecovery(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	began := time.Now()
	p, err := c.Producer(ctx, client.ProducerConfig{Topic: "quiet"})
	require.NoError(t, err)
	_, err = p.Publish(ctx, client.Message{Value: []byte("over")}).Get(ctx)
	require.NoError(t, err)
	t.Logf("acknowledged %v after the end of the load", time.Since(began).Round(time.Millisecond))
}

// report prints each broker's peak and fails for one above the cap.
func report(t *testing.T, c *cluster.Cluster, limit broker.Size) {
	t.Helper()
	var all []string
	for _, n := range c.Nodes() {
		peak := n.PeakMemory()
		all = append(all, fmt.Sprintf("%s %.1f MiB", n.ID, float64(peak)/(1<<20)))
		require.LessOrEqual(t, peak, int64(limit), "peak resident memory of %s", n.ID)
	}
	fmt.Printf("overload: peak memory %s, cap %s\n", strings.Join(all, ", "), limit)
}

func counts(m map[string]int) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(all, ", ")
}
