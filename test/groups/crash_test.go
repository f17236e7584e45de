package groups

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/group"
)

// TestCrashedConsumer dies with ten messages that it has finished and not committed, and
// with it the leader: exactly those come again, to the consumer that is left.
func TestCrashedConsumer(t *testing.T) {
	members, seeds := startBrokers(t, broker.GroupTiming{
		Timing:    group.Timing{Unhealthy: 500 * time.Millisecond, Removed: time.Second, Release: time.Second},
		Heartbeat: 50 * time.Millisecond,
	})
	dial := func() *client.Client {
		c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c, doomed := dial(), dial()
	_, err := c.Admin().CreateTopic(t.Context(), "t", 1)
	require.NoError(t, err)
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "t"})
	require.NoError(t, err)
	for i := range 100 {
		p.Publish(t.Context(), client.Message{Value: fmt.Append(nil, i)})
	}
	require.NoError(t, p.Flush(t.Context()))

	// Who is given the queue begins behind what is committed. On a machine that is busy with
	// other things that may happen more than once: a second of silence is much here.
	next, committed, given := int64(0), int64(0), false
	cfg := client.GroupConfig{
		Group: "g", Topic: "t", Manual: true, CommitEvery: time.Hour, OnAssigned: func([]int) { given = true },
	}
	read := func(g *client.GroupConsumer, n int64) {
		t.Helper()
		for until := next + n; next < until; next++ {
			m, err := g.Next(t.Context())
			require.NoError(t, err)
			if given {
				require.GreaterOrEqual(t, m.Offset, committed)
				require.LessOrEqual(t, m.Offset, next)
				next, given = m.Offset, false
			}
			require.Equal(t, next, m.Offset)
			g.Finish(&m)
		}
	}
	first, err := doomed.GroupConsumer(t.Context(), cfg)
	require.NoError(t, err)
	for committed == 0 {
		read(first, 20)
		require.NoError(t, first.Commit(t.Context()))
		if grant, err := first.Grant(0); err == nil { // else it has lost the queue, and gets it again
			committed = grant.Committed
		}
	}
	read(first, 10)
	require.NoError(t, doomed.Close()) // without a word to the group
	killLeader(t, c, members)
	second, err := c.GroupConsumer(t.Context(), cfg)
	require.NoError(t, err)
	next = committed
	read(second, 100-committed)
	require.NoError(t, second.Close(t.Context()))
	d, err := c.Admin().DescribeGroup(t.Context(), "g")
	require.NoError(t, err)
	require.Zero(t, d.Lag)
}
