package dledger

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Two of three were given up, and go on by themselves. Only the follower hears of it:
// the leader does not reach the new generation. It must not acknowledge for that leader
// any more, and it brings the word to it.
func TestGivenUpFollowerAcknowledgesNothing(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("x")
	c.awaitEqual()
	given := c.leader()
	gone := member.ID("n1")
	if given.id == gone {
		gone = "n2"
	}
	c.kill(gone)
	c.publish("by the other two")
	var follower *node
	for id, n := range c.nodes {
		if id != given.id && id != gone {
			follower = n
		}
	}
	refusal, err := status.New(codes.FailedPrecondition, "docs/runbooks/majority-lost.md").
		WithDetails(&errdetails.ErrorInfo{Reason: givenUp, Domain: "ledgermq"})
	require.NoError(t, err)
	follower.noteRefusal(context.Background(), follower.peer(gone), refusal.Err())

	for _, n := range []*node{follower, given} {
		n.await(t, "the end of the old group", func(st *Status) bool {
			return !st.MayVote && st.Standing == "" && st.Role != member.Leader && st.Leader == "" && strings.Contains(st.Outcast, "majority-lost.md")
		})
		_, err := n.propose("to the old group")
		require.Error(t, err)
	}

	// Both are started again where nobody can tell them: together they are a majority of
	// what the group was, and must not serve. Only an empty directory helps, or a recovery
	// of this one, whose operator is told.
	for _, n := range []*node{follower, given} {
		c.kill(n.id)
	}
	c.start(follower.id)
	c.start(given.id)
	for _, n := range c.nodes {
		st := n.Status()
		require.False(t, st.MayVote)
		require.Contains(t, st.Outcast, "majority-lost.md")
	}
	for _, n := range c.nodes { // it takes no seed either, whose members file would not know it
		require.True(t, n.GivenUp())
	}
	for _, n := range c.nodes { // also when its disk is found to be well
		n.tellStanding(t.Context(), nil)
		_, err := n.propose("to nobody")
		require.Error(t, err)
		require.False(t, n.Status().MayVote)
		require.Empty(t, n.Status().Leader)
	}
	for id := range c.nodes {
		c.shutDown(id)
	}
	h, err := Inspect(c.config(given.id, false))
	require.NoError(t, err)
	require.Contains(t, h.LeftBehind, "majority-lost.md")
	_, err = Recover(c.config(given.id, false), recoverRequest(follower.id, gone))
	require.NoError(t, err)
	h, err = Inspect(c.config(given.id, false))
	require.NoError(t, err)
	require.Empty(t, h.LeftBehind)
}

// A new directory whose configuration still names the old group is refused by the new
// generation too, or brought up to the entry that removed its name, if that hears of it
// first. It has nothing to give up: added, it is in the group at once.
func TestNewDirectoryIsNotGivenUp(t *testing.T) {
	c := newCluster(t, 3, nil)
	first := map[member.ID]string{"n1": c.addrs["n1"], "n2": c.addrs["n2"], "n3": c.addrs["n3"]}
	c.publish("x")
	c.awaitEqual()
	for _, id := range c.ids {
		c.kill(id)
	}
	_, err := Recover(c.config("n1", false), recoverRequest("n2", "n3"))
	require.NoError(t, err)
	c.applied = -1
	c.again("n1", first, false)
	c.publish("in the new generation")

	n2 := c.replace("n2")
	n2.await(t, "the refusal", func(st *Status) bool { return strings.Contains(st.Outcast, "admin member add") })
	c.change(member.AddLearner, "n2")
	c.change(member.Promote, "n2")
	n2.await(t, "its vote", func(st *Status) bool { return st.MayVote && st.Generation == "1-abc" })
	c.publish("by two")
	c.awaitEqual()
}
