package broker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	consumers "github.com/ledgermq/ledgermq/pkg/group"
)

func (n *node) groups() brokerv1.GroupServiceClient { return brokerv1.NewGroupServiceClient(n.conn) }

func (n *node) join(group, member string, owned ...*brokerv1.OwnedQueue) *brokerv1.JoinResponse {
	n.t.Helper()
	resp, err := n.groups().Join(n.ctx(), &brokerv1.JoinRequest{Group: group, Member: member, Topics: []string{"t"}, Owned: owned})
	require.NoError(n.t, err)
	return resp
}

// awaitAssignment watches a session until its assignment satisfies ok, beating with each.
func (n *node) awaitAssignment(session string, ok func(*brokerv1.Assignment) bool) *brokerv1.Assignment {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.ctx(), patience)
	defer cancel()
	watch, err := n.groups().Watch(ctx, &brokerv1.WatchRequest{Session: session})
	require.NoError(n.t, err)
	for {
		resp, err := watch.Recv()
		require.NoError(n.t, err)
		_, err = n.groups().Heartbeat(ctx, &brokerv1.HeartbeatRequest{Session: session, Version: resp.GetAssignment().GetVersion()})
		require.NoError(n.t, err)
		if ok(resp.GetAssignment()) {
			return resp.GetAssignment()
		}
	}
}

func owns(n int) func(*brokerv1.Assignment) bool {
	return func(a *brokerv1.Assignment) bool { return len(a.GetQueues()) == n }
}

func (n *node) commit(group string, q *brokerv1.AssignedQueue, offset int64) *brokerv1.QueueCommitResult {
	n.t.Helper()
	resp, err := n.groups().CommitProgress(n.ctx(), &brokerv1.CommitProgressRequest{
		Group: group, Commits: []*brokerv1.QueueCommit{{QueueId: q.GetQueueId(), Epoch: q.GetEpoch(), Offset: offset}},
	})
	require.NoError(n.t, err)
	require.Len(n.t, resp.GetResults(), 1)
	return resp.GetResults()[0]
}

func (n *node) progress(group string) []int64 {
	n.t.Helper()
	resp, err := n.groups().FetchProgress(n.ctx(), &brokerv1.FetchProgressRequest{Group: group, Topic: "t"})
	require.NoError(n.t, err)
	var all []int64
	for _, q := range resp.GetQueues() {
		all = append(all, q.GetOffset())
	}
	return all
}

// fill publishes n messages to a queue, one batch each.
func (n *node) fillSingly(queue uint32, count int) {
	n.t.Helper()
	for i := range count {
		require.Nil(n.t, n.publish(makeBatch(n.t, batch.Stamp{Queue: queue}, fmt.Sprint(i))).GetError())
	}
}

func TestGroupMembersShareQueues(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 4)
	n.fillSingly(queues[0], 10)
	first := n.join("g", "a")
	require.Equal(t, int64(5000), first.GetHeartbeatIntervalMs())
	all := n.awaitAssignment(first.GetSession(), owns(4))
	require.Nil(t, n.commit("g", all.GetQueues()[0], 4).GetError())
	second := n.join("g", "b")
	var mine, theirs *brokerv1.Assignment
	var both sync.WaitGroup
	both.Go(func() { theirs = n.awaitAssignment(second.GetSession(), owns(2)) })
	mine = n.awaitAssignment(first.GetSession(), owns(2))
	both.Wait()
	owned := map[uint32]string{}
	for who, a := range map[string]*brokerv1.Assignment{"a": mine, "b": theirs} {
		for _, q := range a.GetQueues() {
			require.Empty(t, owned[q.GetQueueId()])
			owned[q.GetQueueId()] = who
			if q.GetQueueId() == queues[0] {
				require.Equal(t, int64(4), q.GetOffset())
			}
		}
	}
	// Whoever lost a queue cannot move the group in it any more.
	for _, before := range all.GetQueues() {
		if owned[before.GetQueueId()] == "b" {
			require.Equal(t, string(CodeStaleGeneration), n.commit("g", before, 0).GetError().GetCode())
		}
	}
	desc, err := n.groups().DescribeGroup(n.ctx(), &brokerv1.DescribeGroupRequest{Name: "g"})
	require.NoError(t, err)
	require.Len(t, desc.GetMembers(), 2)
	require.Len(t, desc.GetQueues(), 4)
	require.Equal(t, int64(6), desc.GetGroup().GetLagMessages())
	require.Positive(t, desc.GetQueues()[0].GetLagMs())
	require.Equal(t, owned[queues[0]], desc.GetQueues()[0].GetOwner())

	// Leaving gives the queues back at once.
	_, err = n.groups().Leave(n.ctx(), &brokerv1.LeaveRequest{Session: second.GetSession()})
	require.NoError(t, err)
	n.awaitAssignment(first.GetSession(), owns(4))
	_, err = n.groups().Leave(n.ctx(), &brokerv1.LeaveRequest{Session: second.GetSession()})
	requireReason(t, err, CodeUnknownSession)
	_, err = n.groups().Heartbeat(n.ctx(), &brokerv1.HeartbeatRequest{Session: second.GetSession()})
	requireReason(t, err, CodeUnknownSession)
}

// TestLeavingIsInTheLedger when it is answered: a next leader keeps nothing for who is gone.
func TestLeavingIsInTheLedger(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 3)
	for range 20 { // each time the answer could come first
		session := n.join("g", "a").GetSession()
		n.awaitAssignment(session, owns(3))
		g, ok := n.b.store.Group("g")
		require.True(t, ok)
		for _, p := range n.b.store.GroupProgress(g.ID) {
			require.Equal(t, uint64(consumers.OwnerOf("a")), p.Owner)
		}
		_, err := n.groups().Leave(n.ctx(), &brokerv1.LeaveRequest{Session: session})
		require.NoError(t, err)
		for _, p := range n.b.store.GroupProgress(g.ID) {
			require.Zero(t, p.Owner, "queue %d", p.Queue)
		}
	}
}

func requireReason(t *testing.T, err error, code Code) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, reasonOf(err), "%v", err)
}

func TestSilentGroupMembersLoseTheirQueues(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		// On a busy machine the other one may be silent for as long: it must not be removed.
		c.Groups.Unhealthy, c.Groups.Removed, c.Groups.Release = 200*time.Millisecond, patience, patience
		c.Groups.Heartbeat = 50 * time.Millisecond
	})
	n.createTopic("t", 2)
	silent := n.join("g", "silent")
	n.awaitAssignment(silent.GetSession(), owns(2))
	other := n.join("g", "other")
	stop := make(chan struct{})
	var beats sync.WaitGroup
	beats.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-stop:
				tick.Stop()
				return
			case <-tick.C:
				_, _ = n.groups().Heartbeat(n.ctx(), &brokerv1.HeartbeatRequest{Session: other.GetSession()})
			}
		}
	})
	n.awaitAssignment(other.GetSession(), owns(2))
	close(stop)
	beats.Wait()
}

func TestGroupRequestsThatAreRefused(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxGroups, c.Limits.MaxGroupMembers, c.Limits.MaxGroupQueues = 2, 2, 3 })
	queues := n.createTopic("t", 2)
	ctx, g := n.ctx(), n.groups()
	join := func(group, member, topic string, kind brokerv1.GroupAssignment) error {
		_, err := g.Join(ctx, &brokerv1.JoinRequest{Group: group, Member: member, Topics: []string{topic}, Assignment: kind})
		return err
	}
	sticky, broadcast := brokerv1.GroupAssignment_GROUP_ASSIGNMENT_STICKY, brokerv1.GroupAssignment_GROUP_ASSIGNMENT_BROADCAST
	requireReason(t, join("no good", "a", "t", sticky), CodeInvalidGroupName)
	requireReason(t, join("g", "a", "nope", sticky), CodeUnknownTopic)
	requireReason(t, join("g", "", "t", sticky), CodeLimitExceeded)
	require.NoError(t, join("g", "a", "t", sticky))
	requireReason(t, join("g", "b", "t", broadcast), CodeGroupMismatch)
	require.NoError(t, join("all", "a", "t", broadcast))
	requireReason(t, join("third", "a", "t", sticky), CodeLimitExceeded)
	requireReason(t, join("g", "c", "t", sticky), CodeLimitExceeded)

	_, err := g.CommitProgress(ctx, &brokerv1.CommitProgressRequest{Group: "nope", Commits: []*brokerv1.QueueCommit{{QueueId: queues[0]}}})
	requireReason(t, err, CodeUnknownGroup)
	_, err = g.CommitProgress(ctx, &brokerv1.CommitProgressRequest{Group: "all", Commits: []*brokerv1.QueueCommit{{QueueId: queues[0]}}})
	requireReason(t, err, CodeGroupMismatch)
	_, err = g.DeleteGroup(ctx, &brokerv1.DeleteGroupRequest{Name: "g"})
	requireReason(t, err, CodeGroupNotEmpty)
	_, err = g.DeleteGroup(ctx, &brokerv1.DeleteGroupRequest{Name: "nope"})
	requireReason(t, err, CodeUnknownGroup)
	_, err = g.ResetGroup(ctx, &brokerv1.ResetGroupRequest{Group: "g", Topic: "t", Queues: []uint32{9}, To: &brokerv1.ResetGroupRequest_Shift{Shift: 1}})
	requireReason(t, err, CodeUnknownQueue)
	_, err = g.DeleteGroup(ctx, &brokerv1.DeleteGroupRequest{Name: "g", Force: true})
	require.NoError(t, err)
	_, err = g.DescribeGroup(ctx, &brokerv1.DescribeGroupRequest{Name: "g"})
	requireReason(t, err, CodeUnknownGroup)
}

func TestResetGroup(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 2)
	n.fillSingly(queues[0], 5)
	between := time.Now().Add(2 * time.Millisecond)
	require.Eventually(t, func() bool { return time.Now().After(between.Add(2 * time.Millisecond)) }, patience, time.Millisecond)
	n.fillSingly(queues[0], 5)
	session := n.join("g", "a").GetSession()
	a := n.awaitAssignment(session, owns(2))
	require.Nil(t, n.commit("g", a.GetQueues()[0], 8).GetError())
	start := func(s *brokerv1.GroupStart) *brokerv1.ResetGroupRequest {
		return &brokerv1.ResetGroupRequest{Group: "g", To: &brokerv1.ResetGroupRequest_Start{Start: s}}
	}
	for _, tc := range []struct {
		req  *brokerv1.ResetGroupRequest
		want int64
	}{
		{start(&brokerv1.GroupStart{At: &brokerv1.GroupStart_Earliest{Earliest: true}}), 0},
		{start(&brokerv1.GroupStart{At: &brokerv1.GroupStart_Latest{Latest: true}}), 10},
		{start(&brokerv1.GroupStart{At: &brokerv1.GroupStart_TimeUnixMs{TimeUnixMs: between.UnixMilli()}}), 5},
		{start(&brokerv1.GroupStart{At: &brokerv1.GroupStart_Offset{Offset: 99}}), 10},
		{&brokerv1.ResetGroupRequest{Group: "g", To: &brokerv1.ResetGroupRequest_Shift{Shift: -3}}, 5},
		{&brokerv1.ResetGroupRequest{Group: "g", To: &brokerv1.ResetGroupRequest_Shift{Shift: -3_000}}, 0},
	} {
		tc.req.DryRun = true
		resp, err := n.groups().ResetGroup(n.ctx(), tc.req)
		require.NoError(t, err)
		require.Len(t, resp.GetQueues(), 2)
		require.Equal(t, []int64{8, tc.want}, []int64{resp.GetQueues()[0].GetBefore(), resp.GetQueues()[0].GetAfter()}, "%v", tc.req)
	}
	require.Equal(t, int64(8), n.progress("g")[0], "dry runs change nothing")
	resp, err := n.groups().ResetGroup(n.ctx(), &brokerv1.ResetGroupRequest{Group: "g", Topic: "t", Queues: []uint32{0}, To: &brokerv1.ResetGroupRequest_Shift{Shift: -6}, RequestId: "once"})
	require.NoError(t, err)
	require.Equal(t, int64(2), resp.GetQueues()[0].GetAfter())
	_, err = n.groups().ResetGroup(n.ctx(), &brokerv1.ResetGroupRequest{Group: "g", Topic: "t", Queues: []uint32{0}, To: &brokerv1.ResetGroupRequest_Shift{Shift: -6}, RequestId: "once"})
	require.NoError(t, err)
	require.Equal(t, int64(2), n.progress("g")[0], "a retry moves nothing")

	require.Equal(t, string(CodeStaleGeneration), n.commit("g", a.GetQueues()[0], 10).GetError().GetCode())
	now := n.awaitAssignment(session, func(b *brokerv1.Assignment) bool {
		return len(b.GetQueues()) == 2 && b.GetQueues()[0].GetEpoch() > a.GetQueues()[0].GetEpoch()
	})
	require.Equal(t, int64(2), now.GetQueues()[0].GetOffset(), "the owner is told where to go on")
	require.Nil(t, n.commit("g", now.GetQueues()[0], 3).GetError())

	_, err = n.groups().PauseGroup(n.ctx(), &brokerv1.PauseGroupRequest{Name: "g", Paused: true})
	require.NoError(t, err)
	n.awaitAssignment(session, func(b *brokerv1.Assignment) bool { return b.GetPaused() })
	_, err = n.groups().CreateGroup(n.ctx(), &brokerv1.CreateGroupRequest{Name: "h"})
	require.NoError(t, err)
	_, err = n.groups().ResetGroup(n.ctx(), &brokerv1.ResetGroupRequest{Group: "h", To: &brokerv1.ResetGroupRequest_OtherGroup{OtherGroup: "g"}})
	require.NoError(t, err)
	require.Equal(t, int64(3), n.progress("h")[0])
	list, err := n.groups().ListGroups(n.ctx(), &brokerv1.ListGroupsRequest{})
	require.NoError(t, err)
	require.Len(t, list.GetGroups(), 2)
	require.Equal(t, int64(7), list.GetGroups()[1].GetLagMessages())
	problems, err := testutil.GatherAndLint(n.b.metrics.registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	// Group h has no members, and its lag is told all the same.
	require.Equal(t, 4, testutil.CollectAndCount(newGroupCollector(n.b.groups, n.b.leaderships.serving), "broker_group_lag_messages"))
}

// TestCommitsAreGathered: commits of many consumers share entries of the ledger.
func TestCommitsAreGathered(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	n.fillSingly(queues[0], 100)
	q := n.awaitAssignment(n.join("g", "a").GetSession(), owns(1)).GetQueues()[0]
	n.commit("g", q, 1)
	before := testutil.ToFloat64(n.b.metrics.commitEntries)
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			_, err := n.groups().CommitProgress(n.ctx(), &brokerv1.CommitProgressRequest{
				Group: "g", Commits: []*brokerv1.QueueCommit{{QueueId: q.GetQueueId(), Epoch: q.GetEpoch(), Offset: int64(i % 100)}},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.Equal(t, []int64{99}, n.progress("g"))
	entries := testutil.ToFloat64(n.b.metrics.commitEntries) - before
	t.Logf("400 commits in %v entries", entries)
	require.Less(t, entries, 200.0)
}

// TestGroupsSurviveALeader: a new leader knows all progress, keeps owners that come back
// with what they own, and gives nothing away that somebody may still own.
func TestGroupsSurviveALeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 2)
	leader.fillSingly(queues[0], 10)
	asked := followers[0]
	joined, err := asked.groups().Join(asked.ctx(), &brokerv1.JoinRequest{Group: "g", Member: "a", Topics: []string{"t"}})
	require.NoError(t, err, "a follower passes it on")
	a := leader.awaitAssignment(joined.GetSession(), owns(2))
	require.Nil(t, asked.commit("g", a.GetQueues()[0], 7).GetError())
	leader.kill()
	next, _ := c.leader(followers...)
	require.Equal(t, []int64{7, 0}, next.progress("g"))
	_, err = next.groups().Heartbeat(next.ctx(), &brokerv1.HeartbeatRequest{Session: joined.GetSession()})
	requireReason(t, err, CodeUnknownSession)

	stranger := next.join("g", "b")
	require.Empty(t, stranger.GetAssignment().GetQueues(), "somebody owns them, and may come back")
	var owned []*brokerv1.OwnedQueue
	for _, q := range a.GetQueues() {
		owned = append(owned, &brokerv1.OwnedQueue{QueueId: q.GetQueueId(), Epoch: q.GetEpoch()})
	}
	back := next.join("g", "a", owned...)
	require.Len(t, back.GetAssignment().GetQueues(), 1, "it keeps what the balance leaves it")
	kept := back.GetAssignment().GetQueues()[0]
	for _, q := range a.GetQueues() {
		if q.GetQueueId() == kept.GetQueueId() {
			require.Equal(t, q.GetEpoch(), kept.GetEpoch())
		}
	}
}
