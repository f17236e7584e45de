package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func checking(c *Config) {
	c.Transactions = TransactionConfig{CheckAfter: 10 * time.Millisecond, CheckInterval: 10 * time.Millisecond, MaxChecks: 3, ExpireAfter: time.Hour}
}

// TestOnlyAnswersCount: a transaction is not rolled back after max_checks because its
// questions were on their way to somebody who did not answer: too busy, hung, or gone.
func TestOnlyAnswersCount(t *testing.T) {
	n := startSingle(t, checking)
	queue := n.createTopic("t", 1)[0]
	busy, quick := n.group("busy"), n.group("quick")
	var handles []string
	for i := range 40 {
		handles = append(handles, n.half(queue, busy, fmt.Sprint(i)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hung := n.watch(ctx, busy)
	var has []string
	for range watcherRoom {
		check, err := hung.Recv()
		require.NoError(t, err)
		has = append(has, check.GetHandle())
	}
	// Time enough for many more questions than three: another group's are answered.
	stream := n.watch(ctx, quick)
	for range 5 {
		handle := n.half(queue, quick, "x")
		for i := range 3 {
			check, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, []any{handle, uint32(i + 1)}, []any{check.GetHandle(), check.GetTimes()})
			n.putOff(handle, false)
		}
		require.Eventually(t, func() bool { return n.b.store.Waiting().Transactions == len(handles) }, patience, time.Millisecond)
	}
	cancel() // the hung one is gone: its questions go to whoever comes

	ctx, cancel = context.WithTimeout(context.Background(), patience)
	defer cancel()
	next := n.watch(ctx, busy)
	seen := map[string]uint32{}
	for len(seen) < len(handles) {
		check, err := next.Recv()
		require.NoError(t, err)
		require.Equal(t, seen[check.GetHandle()]+1, check.GetTimes(), "%s was asked about before", check.GetHandle())
		seen[check.GetHandle()]++
		n.putOff(check.GetHandle(), false)
	}
	require.Contains(t, seen, has[0])
	require.Contains(t, seen, has[1])
}

// TestFailedChecksDoNotCount, however often a producer was not able to look.
func TestFailedChecksDoNotCount(t *testing.T) {
	n := startSingle(t, checking)
	queue := n.createTopic("t", 1)[0]
	group := n.group("shop")
	handle := n.half(queue, group, "x")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream := n.watch(ctx, group)
	for range 10 {
		check, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, uint32(1), check.GetTimes())
		n.putOff(handle, true)
	}
	res, err := n.end(handle, true)
	require.NoError(t, err)
	require.Zero(t, res.GetBaseOffset())
}

// TestManyChecks: hundreds of open transactions are asked about by one producer that takes
// one at a time, all of them before any is rolled back.
func TestManyChecks(t *testing.T) {
	n := startSingle(t, checking)
	queue := n.createTopic("t", 1)[0]
	group := n.group("shop")
	const many = 300
	all := make([]byte, 0, many*200)
	for range many {
		all = append(all, makeBatch(t, batch.Stamp{Queue: queue, TransactionGroup: group}, "x")...)
	}
	res, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: all})
	require.NoError(t, err)
	require.Len(t, res.GetResults(), many)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream := n.watch(ctx, group)
	times := map[string]int{}
	for len(times) < many {
		check, err := stream.Recv()
		require.NoError(t, err)
		times[check.GetHandle()]++
		require.LessOrEqual(t, times[check.GetHandle()], 3)
		n.putOff(check.GetHandle(), false)
	}
}
