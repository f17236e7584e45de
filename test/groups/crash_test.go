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

	cfg := client.GroupConfig{Group: "g", Topic: "t", Manual: true, CommitEvery: time.Hour}
	first, err := doomed.GroupConsumer(t.Context(), cfg)
	require.NoError(t, err)
	for i := range 30 {
		m, err := first.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(i), m.Offset)
		first.Finish(&m)
		if i == 19 {
			require.NoError(t, first.Commit(t.Context()))
		}
	}
	require.NoError(t, doomed.Close()) // without a word to the group
	killLeader(t, c, members)
	second, err := c.GroupConsumer(t.Context(), cfg)
	require.NoError(t, err)
	for i := 20; i < 100; i++ {
		m, err := second.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(i), m.Offset)
		second.Finish(&m)
	}
	require.NoError(t, second.Close(t.Context()))
	d, err := c.Admin().DescribeGroup(t.Context(), "g")
	require.NoError(t, err)
	require.Zero(t, d.Lag)
}
