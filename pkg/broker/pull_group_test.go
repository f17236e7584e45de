package broker

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

func (n *node) pause(group string, paused bool) {
	n.t.Helper()
	_, err := n.groups().PauseGroup(n.ctx(), &brokerv1.PauseGroupRequest{Name: group, Paused: paused})
	require.NoError(n.t, err)
}

// TestPausedGroupIsGivenNothing: the broker does not rely on members to hold still. What is
// in hand can be committed, whoever reads without the group is not concerned, and the next
// leader goes by the pause, too. Pulls that wait go on when the group does.
func TestPausedGroupIsGivenNothing(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	leader.fillSingly(queue, 5)
	q := leader.awaitAssignment(leader.join("g", "a").GetSession(), owns(1)).GetQueues()[0]
	request := func(wait time.Duration) *brokerv1.PullRequest {
		return &brokerv1.PullRequest{Topic: "t", Group: "g", MaxWaitMs: int32(wait.Milliseconds())}
	}
	got := func(n *node, req *brokerv1.PullRequest) int {
		resp, err := n.messaging.Pull(n.ctx(), req)
		require.NoError(t, err)
		require.EqualValues(t, 5, resp.GetEndOffset())
		return len(resp.GetInfos())
	}
	require.Equal(t, 5, got(leader, request(0)))
	require.EqualValues(t, 5, testutil.ToFloat64(leader.b.metrics.readers.messages.WithLabelValues("g")))
	require.Equal(t, 1, testutil.CollectAndCount(leader.b.metrics.readers.age))
	followers[0].pause("g", true)
	check := func(n *node) {
		require.Zero(t, got(n, request(0)))
		require.Zero(t, got(n, request(30*time.Millisecond)))
		require.Equal(t, 5, got(n, &brokerv1.PullRequest{Topic: "t"}))
		require.Equal(t, 5, got(n, &brokerv1.PullRequest{Topic: "t", Group: "other"}))
	}
	check(leader)
	require.Nil(t, leader.commit("g", q, 3).GetError())
	leader.kill()
	next, rest := c.leader(followers...)
	check(next)
	require.Nil(t, next.commit("g", q, 4).GetError())
	waiting := make(chan int, 1)
	stream, err := next.messaging.PullStream(next.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", Group: "g", CreditBytes: 1 << 20}))
	var tasks errgroup.Group
	tasks.Go(func() error {
		resp, err := stream.Recv()
		waiting <- len(resp.GetInfos())
		return err
	})
	require.Eventually(t, func() bool { return next.b.hold.held.Load() == 1 }, patience, time.Millisecond)
	rest[0].pause("g", false)
	require.Equal(t, 5, <-waiting)
	require.NoError(t, tasks.Wait())
	_, err = next.messaging.Pull(next.ctx(), &brokerv1.PullRequest{Topic: "t", Group: "no/name"})
	requireReason(t, err, CodeInvalidGroupName)
}
