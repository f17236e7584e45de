package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestFindOffsets compares what is found at every time around a queue's messages with
// what going through all of them finds; then the same at the next leader.
func TestFindOffsets(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	ids := leader.createTopic("t", 2)
	for i := range 150 { // more than two posting blocks
		if i%10 == 0 {
			<-time.After(2 * time.Millisecond) // the stamps' own clock must go on
		}
		require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: ids[0]}, fmt.Sprint(i), "b")).GetError())
	}
	var stamps []int64 // by offset
	for next := int64(0); next < 300; {
		resp, err := leader.messaging.Pull(leader.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: next})
		require.NoError(t, err)
		for _, info := range resp.GetInfos() {
			stamps = append(stamps, info.GetAppendTimeUnixMs(), info.GetAppendTimeUnixMs())
		}
		next = int64(len(stamps))
	}
	require.Greater(t, stamps[299]-stamps[0], int64(20))
	check := func(n *node, at int64) {
		want := brokerv1.FoundOffset{Offset: 300, EndOffset: 300}
		for offset, stamp := range stamps {
			if stamp >= at {
				want.Offset, want.AppendTimeUnixMs = int64(offset), stamp
				break
			}
		}
		resp, err := brokerv1.NewQueryServiceClient(n.conn).FindOffsets(n.ctx(), &brokerv1.FindOffsetsRequest{Topic: "t", TimeUnixMs: at})
		require.NoError(t, err)
		require.Len(t, resp.GetOffsets(), 2)
		got := resp.GetOffsets()[0]
		require.Equal(t, [3]int64{want.Offset, want.AppendTimeUnixMs, 300}, [3]int64{got.GetOffset(), got.GetAppendTimeUnixMs(), got.GetEndOffset()}, "at %d", at)
		empty := resp.GetOffsets()[1]
		require.EqualValues(t, 1, empty.GetQueue())
		require.Zero(t, empty.GetOffset()+empty.GetAppendTimeUnixMs())
	}
	step := 1 + (stamps[299]-stamps[0])/2000 // a machine under load may have taken long for them
	for at := stamps[0] - 1; at <= stamps[299]+1; at += step {
		check(leader, at)
	}
	check(leader, stamps[299]+1)
	leader.kill()
	check(followers[0], stamps[150])
	check(followers[1], stamps[299]+1)
	for _, req := range []*brokerv1.FindOffsetsRequest{{Topic: "t", Queues: []uint32{2}}, {Topic: "nope"}} {
		_, err := brokerv1.NewQueryServiceClient(followers[0].conn).FindOffsets(followers[0].ctx(), req)
		require.Error(t, err)
	}
}
