package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
)

// growing is what is known while a topic grows: by message group, in the order of
// publishing, where each message is.
type growing struct {
	t *testing.T
	c *client.Client

	mu struct {
		sync.Mutex
		stored   map[string][]client.Receipt // by message group
		seen     map[string]int              // deliveries by value
		inQueue  map[string]int              // by queue and group: the newest number that was delivered first
		disorder []string
	}
}

// publish sends messages of 24 groups, in rounds, until ctx is done; up to 50 rounds are on
// their way at a time.
func (g *growing) publish(ctx context.Context, p *client.Producer) error {
	var under []map[string]*client.Result
	pace := time.NewTicker(500 * time.Microsecond)
	defer pace.Stop()
	for n := 0; ctx.Err() == nil || len(under) > 0; n++ {
		if ctx.Err() == nil {
			results := map[string]*client.Result{}
			for k := range 24 {
				group := fmt.Sprint("g", k)
				results[group] = p.Publish(g.t.Context(), client.Message{MessageGroup: group, Value: fmt.Appendf(nil, "%s:%d", group, n)})
			}
			under = append(under, results)
			<-pace.C
		}
		if len(under) < 50 && ctx.Err() == nil {
			continue
		}
		for group, r := range under[0] {
			receipt, err := r.Get(g.t.Context())
			if err != nil {
				return fmt.Errorf("a message of %s: %w", group, err)
			}
			g.mu.Lock()
			g.mu.stored[group] = append(g.mu.stored[group], receipt)
			g.mu.Unlock()
		}
		under = under[1:]
	}
	return nil
}

// consume is one member of the consumer group.
func (g *growing) consume(ctx context.Context, gc *client.GroupConsumer) error {
	for {
		m, err := gc.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return gc.Close(g.t.Context())
		}
		if err != nil {
			return err
		}
		g.saw(&m)
	}
}

func (g *growing) saw(m *client.Message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var n int
	if _, err := fmt.Sscanf(string(m.Value), m.MessageGroup+":%d", &n); err != nil {
		g.t.Errorf("%q of group %q", m.Value, m.MessageGroup)
	}
	first := g.mu.seen[string(m.Value)] == 0
	g.mu.seen[string(m.Value)]++
	place := fmt.Sprint(*m.Queue, " ", m.MessageGroup)
	newest, known := g.mu.inQueue[place]
	if first && known && n < newest {
		g.mu.disorder = append(g.mu.disorder, fmt.Sprintf("%s came after %d in queue %d", m.Value, newest, *m.Queue))
	}
	if first {
		g.mu.inQueue[place] = n
	}
}

// used is how many queues have messages.
func (g *growing) used() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	queues := map[int]bool{}
	for _, all := range g.mu.stored {
		for _, r := range all {
			queues[r.Queue] = true
		}
	}
	return len(queues)
}

// missing counts messages that are stored and that no member has seen.
func (g *growing) missing() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	stored := 0
	for _, all := range g.mu.stored {
		stored += len(all)
	}
	return stored - len(g.mu.seen)
}

// TestTopicGrowsWhileItIsUsed: the leader dies in the middle of each growth. No message is
// lost, none stored twice, each message group is in the ledger in the order of publishing,
// within each queue it is delivered in that order, and nobody who runs is told an error.
func TestTopicGrowsWhileItIsUsed(t *testing.T) {
	members, seeds := startBrokers(t, broker.GroupTiming{})
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopicWith(t.Context(), "t", 2, client.TopicSettings{Type: client.FIFOTopic})
	require.NoError(t, err)
	g := &growing{t: t, c: c}
	g.mu.stored, g.mu.seen, g.mu.inQueue = map[string][]client.Receipt{}, map[string]int{}, map[string]int{}

	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "t", TopicRefresh: 100 * time.Millisecond})
	require.NoError(t, err)
	var tasks errgroup.Group
	consuming, stopConsuming := context.WithCancel(t.Context())
	for i := range 2 {
		gc, err := c.GroupConsumer(t.Context(), client.GroupConfig{Group: "g", Topic: "t", Member: fmt.Sprint("c", i), From: client.Latest()})
		require.NoError(t, err)
		tasks.Go(func() error { return g.consume(consuming, gc) })
	}
	awaitOwners(t, c, 2)
	publishing, stopPublishing := context.WithCancel(t.Context())
	var publisher errgroup.Group
	publisher.Go(func() error { return g.publish(publishing, p) })
	for _, n := range []int{5, 8} {
		require.Eventually(t, func() bool { return g.used() > 1 }, patience, time.Millisecond)
		altered := make(chan error, 1)
		go func() {
			_, err := c.Admin().AlterTopic(t.Context(), "t", client.TopicChange{Queues: n})
			altered <- err
		}()
		killed := killLeader(t, c, members)
		require.NoError(t, <-altered)
		require.Eventually(t, func() bool { return g.used() == n }, patience, 5*time.Millisecond, "%d queues are used", n)
		killed.start()
		awaitOwners(t, c, n)
	}
	stopPublishing()
	require.NoError(t, publisher.Wait())
	require.NoError(t, p.Close(t.Context()))
	require.Eventually(t, func() bool { return g.missing() == 0 }, patience, 10*time.Millisecond)
	stopConsuming()
	require.NoError(t, tasks.Wait())
	g.judge(p)
}

// judge holds what was acknowledged against the order of publishing.
func (g *growing) judge(p *client.Producer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	stored, places := 0, map[string]bool{}
	for group := range maps.Keys(g.mu.stored) {
		var before client.Receipt
		for n, r := range g.mu.stored[group] {
			stored++
			places[fmt.Sprint(r.Queue, "@", r.Offset)] = true
			rises := r.LedgerIndex > before.LedgerIndex || r.LedgerIndex == before.LedgerIndex && r.Queue == before.Queue && r.Offset > before.Offset
			if n > 0 && r.LedgerIndex >= 0 && before.LedgerIndex >= 0 && !rises {
				g.t.Errorf("%s:%d is at %+v, the one before at %+v", group, n, r, before)
			}
			before = r
		}
	}
	require.Empty(g.t, g.mu.disorder)
	require.Len(g.t, places, stored, "each has a place of its own")
	require.Len(g.t, g.mu.seen, stored, "nothing was made up")
	again := 0
	for _, n := range g.mu.seen {
		again += n - 1
	}
	stats := p.Stats()
	require.Zero(g.t, stats.Failed+stats.Unknown)
	g.t.Logf("%d messages, %d deliveries again, %+v", stored, again, stats)
}

// awaitOwners waits until n queues of the topic have owners.
func awaitOwners(t *testing.T, c *client.Client, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		d, err := c.Admin().DescribeGroup(t.Context(), "g")
		if err != nil {
			return false
		}
		owned := 0
		for _, q := range d.QueueList {
			if q.Owner != "" {
				owned++
			}
		}
		return owned == n
	}, patience, 5*time.Millisecond, "%d queues have owners", n)
}

// TestDeletedTopicComesBackWithItsReaders: the leader dies in the middle of the delete and of
// the undelete; then producer and consumer group go on where they were.
func TestDeletedTopicComesBackWithItsReaders(t *testing.T) {
	members, seeds := startBrokers(t, broker.GroupTiming{})
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(t.Context(), "t", 1)
	require.NoError(t, err)
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "t"})
	require.NoError(t, err)
	gc, err := c.GroupConsumer(t.Context(), client.GroupConfig{Group: "g", Topic: "t"})
	require.NoError(t, err)
	send := func(value string) error {
		_, err := p.Publish(t.Context(), client.Message{Value: []byte(value)}).Get(t.Context())
		return err
	}
	require.NoError(t, send("before"))
	m, err := gc.Next(t.Context())
	require.NoError(t, err)
	require.Equal(t, "before", string(m.Value))
	gc.Finish(&m)

	inTheMiddle := func(do func() error) {
		done := make(chan error, 1)
		go func() { done <- do() }()
		killed := killLeader(t, c, members)
		require.NoError(t, <-done)
		killed.start()
	}
	inTheMiddle(func() error { return c.Admin().DeleteTopic(t.Context(), "t") })
	require.ErrorIs(t, send("refused"), client.ErrTopicDeleted)
	require.ErrorIs(t, c.Admin().DeleteTopic(t.Context(), "t"), client.ErrTopicDeleted, "once")
	inTheMiddle(func() error { _, err := c.Admin().UndeleteTopic(t.Context(), "t"); return err })
	require.NoError(t, send("after"))
	for m, err = gc.Next(t.Context()); err == nil && string(m.Value) == "before"; m, err = gc.Next(t.Context()) {
		gc.Finish(&m) // the leader may have died before it was committed
	}
	require.NoError(t, err)
	require.Equal(t, "after", string(m.Value))
	require.Equal(t, int64(1), m.Offset)
	gc.Finish(&m)
	require.NoError(t, gc.Close(t.Context()))
	require.NoError(t, p.Close(t.Context()))
	_, err = c.Admin().TrimTopic(t.Context(), "t", map[int]int64{0: 2})
	require.NoError(t, err)
	until, err := c.Admin().DeleteTopicWithGrace(t.Context(), "t", 0)
	require.NoError(t, err)
	require.Zero(t, until)
}
