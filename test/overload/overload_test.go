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

// recovery is how soon after the load a message must be acknowledged again. It takes a
// moment; a machine that is busy with other things stalls for seconds.
const recovery = 60 * time.Second

// No broker takes more memory than its cap, whatever comes; none ends; what is refused
// is refused by a code; and when the load is over the cluster works at once.
func TestPeakMemoryUnderOverload(t *testing.T) {
	var limit broker.Size
	require.NoError(t, limit.UnmarshalText([]byte(*memory)))
	c := cluster.Start(t, cluster.Config{Args: []string{"--config", configFile(t), "--log-level", "warn"}})
	l := &load{t: t, topic: "busy"}
	c.Admin("topic", "create", "busy", "--queues", "4")
	c.Admin("topic", "create", "quiet", "--queues", "1")
	clients := l.prepare(t, c)
	leader := c.Leader() // under load it may not find the time to say so
	follower := followerOf(c, leader)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.begin(ctx, t, leader)
	wait(ctx, *duration/4)
	follower.Pause()
	wait(ctx, *duration/4)
	follower.Resume()
	wait(ctx, *duration/2)
	c.Eventually("something to get through", func(context.Context) bool { return l.acked.Load() > 0 })
	cancel()
	l.end()

	t.Logf("acknowledged %d MiB, pulls parked again %d times, refused: %s", l.acked.Load()>>20, l.parks.Load(), counts(l.refusals()))
	for code := range l.refusals() {
		require.True(t, strings.HasSuffix(code, "definite"), "a refusal without an outcome: %s", code)
	}
	requireRecovery(t, clients[0])
	report(t, c, limit)
}

// prepare makes the clients and what they publish with, while there is no load yet.
func (l *load) prepare(t *testing.T, c *cluster.Cluster) (clients []*client.Client) {
	t.Helper()
	for range 4 {
		cl, err := client.Dial(t.Context(), client.Config{Seeds: strings.Split(c.Servers(), ",")})
		require.NoError(t, err)
		t.Cleanup(func() { _ = cl.Close() })
		clients = append(clients, cl)
		for range 2 {
			p, err := cl.Producer(t.Context(), client.ProducerConfig{Topic: l.topic})
			require.NoError(t, err)
			l.producers = append(l.producers, p)
		}
	}
	topics, err := clients[0].Admin().DescribeTopic(t.Context(), "busy")
	require.NoError(t, err)
	require.Len(t, topics.Queues, 4)
	l.queue = 1 // ids are given in the order of creation
	return clients
}

// begin sets everything going. The load is aimed at the leader.
func (l *load) begin(ctx context.Context, t *testing.T, leader *cluster.Node) {
	t.Helper()
	scale := 10
	if testing.Short() {
		scale = 1 // a machine that only runs the tests has other things to do
	}
	require.NoError(t, l.idle(leader.Client, 200*scale)) // before this process is busy itself
	for i, p := range l.producers {
		l.produce(ctx, p, []int{1 << 20, 200}[i%2])
	}
	for range scale {
		l.flood(ctx, leader.Client, 20, 1<<20)
		l.park(ctx, leader.Client, 500)
	}
	for range 5 * scale {
		l.ignore(ctx, leader.Client)
	}
}

// configFile gives the brokers their cap.
func configFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, "limits:\n  memory: %s\n  max_connections: 2200\n  max_held_pulls: 5200\n", *memory), 0o600))
	return path
}

func followerOf(c *cluster.Cluster, leader *cluster.Node) *cluster.Node {
	i := slices.IndexFunc(c.Nodes(), func(n *cluster.Node) bool { return n != leader })
	return c.Nodes()[i]
}

// wait lets the load go on for a time.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
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
