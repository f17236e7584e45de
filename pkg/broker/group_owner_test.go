package broker

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	consumers "github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// endless makes an owner that is waited for be waited for longer than any test runs.
func endless(c *Config) {
	c.Groups.Unhealthy, c.Groups.Removed, c.Groups.Release = time.Hour, time.Hour, time.Hour
}

// epochs are those of a group's queues, as soon as the ledger says that the member owns all.
func (n *node) epochs(group, member string) map[uint32]uint64 {
	n.t.Helper()
	all := map[uint32]uint64{}
	require.Eventually(n.t, func() bool {
		g, ok := n.b.store.Group(group)
		if !ok {
			return false
		}
		topic, _ := n.b.store.Topic("t")
		for _, q := range topic.Queues {
			p, _ := n.b.store.Progress(g.ID, q)
			if p.Owner != uint64(consumers.OwnerOf(member)) {
				return false
			}
			all[uint32(q)] = p.Epoch
		}
		return true
	}, patience, time.Millisecond)
	return all
}

// replaced has another broker lead: the leader dies, or hands over.
func (c *cluster) replaced(leader *node, followers []*node, dies bool) *node {
	c.t.Helper()
	if dies {
		leader.kill()
	} else {
		_, err := leader.admin.TransferLeadership(leader.ctx(), &brokerv1.TransferLeadershipRequest{Transferee: followers[0].cfg.Node.ID})
		require.NoError(c.t, err)
	}
	next, _ := c.leader(followers...)
	return next
}

// TestLeaderGoesBeforeItTellsOfAGrant: a member's queues are granted in the ledger, and the
// answers that would have told it are lost with the leader. The next leader keeps them for
// that member, and gives them to it when it comes, without any time passing: an owner who is
// not there would be waited for for an hour. Whoever might have been told is fenced.
func TestLeaderGoesBeforeItTellsOfAGrant(t *testing.T) {
	for name, dies := range map[string]bool{"dies": true, "hands over": false} {
		t.Run(name, func(t *testing.T) {
			c := startCluster(t, 3, endless)
			leader, followers := c.leader()
			leader.fillSingly(leader.createTopic("t", 2)[0], 10)
			leader.join("g", "a")
			granted := leader.epochs("g", "a")
			next := c.replaced(leader, followers, dies)
			require.Equal(t, granted, next.epochs("g", "a"))

			other := next.join("g", "b")
			require.Empty(t, other.GetAssignment().GetQueues(), "they are kept for their owner")
			back := next.join("g", "a")
			require.Empty(t, back.GetAssignment().GetQueues(), "another process may have been told of the epochs")
			var mine, theirs *brokerv1.Assignment
			var both sync.WaitGroup
			both.Go(func() { theirs = next.awaitAssignment(other.GetSession(), owns(1)) })
			mine = next.awaitAssignment(back.GetSession(), owns(1))
			both.Wait()
			require.NotEqual(t, mine.GetQueues()[0].GetQueueId(), theirs.GetQueues()[0].GetQueueId())
			for _, q := range append(mine.GetQueues(), theirs.GetQueues()...) {
				require.Greater(t, q.GetEpoch(), granted[q.GetQueueId()])
				before := &brokerv1.AssignedQueue{QueueId: q.GetQueueId(), Epoch: granted[q.GetQueueId()]}
				require.Equal(t, string(CodeStaleGeneration), next.commit("g", before, 0).GetError().GetCode())
				require.Nil(t, next.commit("g", q, 0).GetError())
			}
		})
	}
}

// TestLeaderGoesBeforeItTellsOfAReset: the owner claims its queues under the epochs that the
// reset has ended, and goes on where the reset says.
func TestLeaderGoesBeforeItTellsOfAReset(t *testing.T) {
	c := startCluster(t, 3, endless)
	leader, followers := c.leader()
	leader.fillSingly(leader.createTopic("t", 1)[0], 10)
	session := leader.join("g", "a").GetSession()
	before := leader.awaitAssignment(session, owns(1)).GetQueues()[0]
	require.Nil(t, leader.commit("g", before, 8).GetError())
	_, err := leader.groups().ResetGroup(leader.ctx(), &brokerv1.ResetGroupRequest{
		Group: "g", To: &brokerv1.ResetGroupRequest_Start{Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Offset{Offset: 3}}},
	})
	require.NoError(t, err)
	reset := leader.epochs("g", "a")
	require.Greater(t, reset[before.GetQueueId()], before.GetEpoch())
	next := c.replaced(leader, followers, true)

	back := next.join("g", "a", &brokerv1.OwnedQueue{QueueId: before.GetQueueId(), Epoch: before.GetEpoch()})
	now := next.awaitAssignment(back.GetSession(), owns(1)).GetQueues()[0]
	require.Equal(t, int64(3), now.GetOffset())
	require.Greater(t, now.GetEpoch(), reset[before.GetQueueId()])
	require.Equal(t, string(CodeStaleGeneration), next.commit("g", before, 9).GetError().GetCode())
	require.Nil(t, next.commit("g", now, 4).GetError())
}

// TestRestartedGroupMember takes over what an earlier process of its name has, and that one
// can commit no more. When it leaves, the ledger says so, whatever it was told of.
func TestRestartedGroupMember(t *testing.T) {
	n := startSingle(t, endless)
	queues := n.createTopic("t", 2)
	n.fillSingly(queues[0], 5)
	before := n.awaitAssignment(n.join("g", "a").GetSession(), owns(2))
	again := n.join("g", "a")
	require.Empty(t, again.GetAssignment().GetQueues())
	now := n.awaitAssignment(again.GetSession(), owns(2))
	for i, q := range now.GetQueues() {
		require.Greater(t, q.GetEpoch(), before.GetQueues()[i].GetEpoch())
		require.Equal(t, string(CodeStaleGeneration), n.commit("g", before.GetQueues()[i], 1).GetError().GetCode())
	}
	require.Nil(t, n.commit("g", now.GetQueues()[0], 1).GetError())
	last := n.join("g", "a")
	_, err := n.groups().Leave(n.ctx(), &brokerv1.LeaveRequest{Session: last.GetSession()})
	require.NoError(t, err)
	g, ok := n.b.store.Group("g")
	require.True(t, ok)
	for _, p := range n.b.store.GroupProgress(g.ID) {
		require.Equal(t, uint64(state.OwnerNobody), p.Owner)
	}
}
