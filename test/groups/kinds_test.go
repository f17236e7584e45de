package groups

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	consumers "github.com/ledgermq/ledgermq/pkg/group"
)

// dialed starts brokers and a client with a topic.
func dialed(t *testing.T, timing broker.GroupTiming) (*client.Client, []*member) {
	t.Helper()
	members, seeds := startBrokers(t, timing)
	c, err := client.Dial(t.Context(), client.Config{Seeds: seeds})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Admin().CreateTopic(t.Context(), "t", queues)
	require.NoError(t, err)
	return c, members
}

// number publishes messages from one number on to all queues.
func number(t *testing.T, c *client.Client, from, to int) {
	t.Helper()
	p, err := c.Producer(t.Context(), client.ProducerConfig{Topic: "t"})
	require.NoError(t, err)
	for n := from; n < to; n++ {
		for q := range queues {
			p.Publish(t.Context(), client.Message{Queue: &q, Value: fmt.Append(nil, n)})
		}
	}
	require.NoError(t, p.Close(t.Context()))
}

// read takes messages from one number on up to another of some queues and checks that
// they come in order, each once, and of no other queue.
func read(ctx context.Context, g *client.GroupConsumer, of []int, from, to int) error {
	next := map[int]int{}
	for _, q := range of {
		next[q] = from
	}
	for left := len(of) * (to - from); left > 0; left-- {
		m, err := g.Next(ctx)
		if err != nil {
			return err
		}
		want, known := next[*m.Queue]
		if !known || string(m.Value) != fmt.Sprint(want) {
			return fmt.Errorf("queue %d gives %s where %d is due (read: %v)", *m.Queue, m.Value, want, of)
		}
		next[*m.Queue]++
	}
	return nil
}

// TestStaticGroupOverAFailover: each member reads the queues that it names and no others,
// before and after the leader is killed; what is committed does not come again.
func TestStaticGroupOverAFailover(t *testing.T) {
	c, members := dialed(t, broker.GroupTiming{})
	number(t, c, 0, 50)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	join := func(name string, of []int) *client.GroupConsumer {
		g, err := c.GroupConsumer(ctx, client.GroupConfig{Group: "g", Topic: "t", Member: name, Assignment: client.AssignStatic, Queues: of, CommitEvery: time.Hour})
		require.NoError(t, err)
		return g
	}
	parts := map[string][]int{"a": {0, 3}, "b": {1}, "c": {2}}
	all := map[string]*client.GroupConsumer{}
	var tasks errgroup.Group
	for name, of := range parts {
		g := join(name, of)
		all[name] = g
		tasks.Go(func() error { return read(ctx, g, of, 0, 50) })
	}
	require.NoError(t, tasks.Wait())
	late := join("late", []int{1}) // which b has
	_, ok, err := late.TryNext(ctx)
	require.NoError(t, err)
	require.False(t, ok)
	killLeader(t, c, members)
	number(t, c, 50, 100)
	for name, of := range parts {
		tasks.Go(func() error { return read(ctx, all[name], of, 50, 100) })
	}
	require.NoError(t, tasks.Wait())
	_, ok, err = late.TryNext(ctx)
	require.NoError(t, err)
	require.False(t, ok)
	for name, of := range parts { // the last message of each is in hand, and not finished
		require.NoError(t, all[name].Commit(ctx))
		require.ElementsMatch(t, of, all[name].Queues())
	}
	d, err := c.Admin().DescribeGroup(ctx, "g")
	require.NoError(t, err)
	require.Equal(t, client.AssignStatic, d.Assignment)
	require.LessOrEqual(t, d.Lag, int64(3))
	require.NoError(t, all["b"].Close(ctx))
	m, err := late.Next(ctx) // b's queue is free, and only what b had in hand comes again
	require.NoError(t, err)
	require.Equal(t, []string{"1", "99"}, []string{fmt.Sprint(*m.Queue), string(m.Value)})
	for _, g := range []*client.GroupConsumer{all["a"], all["c"], late} {
		require.NoError(t, g.Close(ctx))
	}
}

// TestBroadcastGroupOverAFailover: every member reads everything once, in order, before
// and after the leader is killed; the group keeps no progress.
func TestBroadcastGroupOverAFailover(t *testing.T) {
	c, members := dialed(t, broker.GroupTiming{})
	number(t, c, 0, 50)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	every := []int{0, 1, 2, 3}
	var all []*client.GroupConsumer
	var tasks errgroup.Group
	for n := range 3 {
		g, err := c.GroupConsumer(ctx, client.GroupConfig{Group: "g", Topic: "t", Member: fmt.Sprint("m", n), Assignment: client.AssignBroadcast})
		require.NoError(t, err)
		all = append(all, g)
		tasks.Go(func() error { return read(ctx, g, every, 0, 50) })
	}
	require.NoError(t, tasks.Wait())
	killLeader(t, c, members)
	number(t, c, 50, 100)
	for _, g := range all {
		tasks.Go(func() error { return read(ctx, g, every, 50, 100) })
	}
	require.NoError(t, tasks.Wait())
	d, err := c.Admin().DescribeGroup(ctx, "g")
	require.NoError(t, err)
	require.Equal(t, client.AssignBroadcast, d.Assignment)
	require.Empty(t, d.QueueList)
	require.Len(t, d.MemberList, 3)
	_, err = c.Admin().ResetGroup(ctx, client.Reset{Group: "g", To: client.Latest()})
	require.ErrorIs(t, err, client.ErrGroupMismatch)
	for _, g := range all {
		require.NoError(t, g.Close(ctx))
	}
}

// TestPausedGroupOverAFailover: a group that is paused is given nothing, by the next leader
// neither, and goes on where it was when it is resumed.
func TestPausedGroupOverAFailover(t *testing.T) {
	c, members := dialed(t, broker.GroupTiming{})
	number(t, c, 0, 10)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	g, err := c.GroupConsumer(ctx, client.GroupConfig{Group: "g", Topic: "t"})
	require.NoError(t, err)
	every := []int{0, 1, 2, 3}
	require.NoError(t, read(ctx, g, every, 0, 10))
	require.NoError(t, c.Admin().PauseGroup(ctx, "g", true))
	killLeader(t, c, members)
	number(t, c, 10, 20)
	soon, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	m, err := g.Next(soon)
	require.ErrorIs(t, err, context.DeadlineExceeded, "%s", m.Value)
	require.NoError(t, g.Commit(ctx), "what was in hand is committed")
	d, err := c.Admin().DescribeGroup(ctx, "g")
	require.NoError(t, err)
	require.True(t, d.Paused)
	require.EqualValues(t, queues*10, d.Lag)
	require.NoError(t, c.Admin().PauseGroup(ctx, "g", false))
	require.NoError(t, read(ctx, g, every, 10, 20))
	require.NoError(t, g.Close(ctx))
}

// TestResetOverAFailover: a group is set back while a member reads, and the leader is
// killed at once: the member goes on at the new place, once; the preview said where.
func TestResetOverAFailover(t *testing.T) {
	// The next leader waits for so long for whoever owns the queues under the epoch of the
	// reset, of which the member may not have heard.
	c, members := dialed(t, broker.GroupTiming{Timing: consumers.Timing{Unhealthy: 2 * time.Second, Removed: 30 * time.Second, Release: 30 * time.Second}})
	number(t, c, 0, 30)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	every := []int{0, 1, 2, 3}
	g, err := c.GroupConsumer(ctx, client.GroupConfig{Group: "g", Topic: "t"})
	require.NoError(t, err)
	require.NoError(t, read(ctx, g, every, 0, 30))
	require.NoError(t, g.Commit(ctx))
	back := client.Reset{Group: "g", Topic: "t", To: client.Offset(10), DryRun: true}
	planned, err := c.Admin().ResetGroup(ctx, back)
	require.NoError(t, err)
	back.DryRun = false
	done, err := c.Admin().ResetGroup(ctx, back)
	require.NoError(t, err)
	killLeader(t, c, members)
	require.Len(t, done, queues)
	for i := range done { // the last message of a queue may have been finished in between
		require.Equal(t, planned[i].After, done[i].After)
		require.EqualValues(t, 10, done[i].After)
	}
	require.NoError(t, read(ctx, g, every, 10, 30))
	require.NoError(t, g.Close(ctx))
	// Another group takes over the places, from the next leader.
	taken, err := c.Admin().ResetGroup(ctx, client.Reset{Group: "g", Shift: -5})
	require.NoError(t, err)
	other, err := c.GroupConsumer(ctx, client.GroupConfig{Group: "other", Topic: "t", From: client.Latest()})
	require.NoError(t, err)
	_, _, err = other.TryNext(ctx)
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := c.Admin().DescribeGroup(ctx, "other"); return err == nil }, patience, time.Millisecond)
	like, err := c.Admin().ResetGroup(ctx, client.Reset{Group: "other", OtherGroup: "g"})
	require.NoError(t, err)
	require.Len(t, like, queues)
	for i := range like {
		require.Equal(t, taken[i].After, like[i].After)
	}
	m, err := other.Next(ctx)
	require.NoError(t, err)
	require.Equal(t, taken[*m.Queue].After, m.Offset)
	require.NoError(t, other.Close(ctx))
}
