package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestFindOffsetsPastDamage: a message that is damaged on every disk lets times be found all
// the same, before and behind it and in other queues.
func TestFindOffsetsPastDamage(t *testing.T) {
	c, want := startDamaged(t, 24)
	leader, _ := c.leader()
	other := leader.createTopic("u", 1)[0]
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: other}, "x")).GetError())
	var stamps []int64
	for next := 0; next < len(want); {
		resp, err := leader.messaging.Pull(leader.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: int64(next)})
		require.NoError(t, err)
		for _, info := range resp.GetInfos() {
			stamps = append(stamps, info.GetAppendTimeUnixMs())
		}
		next = len(stamps)
	}
	for _, n := range c.nodes {
		require.NoError(t, n.b.store.Flush())
		n.shutdown()
	}
	const bad = 12 // where the halving begins
	for _, n := range c.nodes {
		n.hurt(want[bad])
	}
	for _, n := range c.nodes {
		n.restart()
	}
	leader, _ = c.leader()
	find := func(topic string, at int64) *brokerv1.FoundOffset {
		var resp *brokerv1.FindOffsetsResponse
		var err error
		require.Eventually(t, func() bool { // the first look finds the damage
			resp, err = brokerv1.NewQueryServiceClient(leader.conn).FindOffsets(leader.ctx(), &brokerv1.FindOffsetsRequest{Topic: topic, TimeUnixMs: at})
			return err == nil
		}, patience, 5*time.Millisecond, "%v", err)
		return resp.GetOffsets()[0]
	}
	for _, at := range append([]int64{0, stamps[len(stamps)-1] + 1}, stamps...) {
		exact := len(stamps)
		for i, s := range stamps {
			if s >= at {
				exact = i
				break
			}
		}
		got := find("t", at).GetOffset()
		require.LessOrEqual(t, got, int64(exact), "nothing is skipped")
		require.True(t, got == int64(exact) || got == bad, "%d for %d: offset %d", at, exact, got)
	}
	require.Zero(t, find("u", 0).GetOffset())
}
