package dledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func mayVote(st *Status) bool { return st.MayVote }

// never watches for some election timeouts that something does not happen.
func never(t *testing.T, bad func() bool) {
	t.Helper()
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(3 * electionTimeout(member.Config{MaxHeartBeatLeak: 8})); time.Now().Before(end); <-poll.C {
		require.False(t, bad())
	}
}

// A new group waits for all its members, and says for which.
func TestNewGroupBeginsWhenAllAreThere(t *testing.T) {
	c := newCluster(t, 3, nil)
	for _, n := range c.nodes {
		n.await(t, "the right to vote", mayVote)
	}
	c.publish("x")
	c.awaitEqual()
	for _, id := range c.ids {
		require.Empty(t, c.nodes[id].Status().Standing)
	}
}

func TestNewGroupWaitsForTheLast(t *testing.T) {
	c := prepareCluster(t, 3, nil)
	n1, n2 := c.startOn("n1", c.listen("n1"), true), c.startOn("n2", c.listen("n2"), true)
	for _, n := range []*node{n1, n2} {
		n.await(t, "n3 alone to be missing", func(st *Status) bool {
			return !st.MayVote && st.Standing == explainStanding(member.Status{Missing: []member.ID{"n3"}})
		})
	}
	// Restarted, they still know nothing of n3.
	c.shutDown("n1")
	n1 = c.start("n1")
	require.False(t, n1.Status().MayVote)
	c.startOn("n3", c.listen("n3"), true)
	c.publish("x")
	c.awaitEqual()
}

func TestBootstrapBeginsWithAMajority(t *testing.T) {
	c := prepareCluster(t, 3, func(cfg *Config) { cfg.Member.Bootstrap = true })
	c.startOn("n1", c.listen("n1"), true)
	c.startOn("n2", c.listen("n2"), true)
	c.publish("x")
	// The third comes too late to be a founder. The leader proves it.
	c.startOn("n3", c.listen("n3"), true).await(t, "the right to vote", mayVote)
	c.publish("y")
	c.awaitEqual()
}

// A member whose data directory was replaced does not count before a leader, with a
// majority that does not need it, has brought it up to date. Then it does.
func TestReplacedMember(t *testing.T) {
	c := newCluster(t, 3, nil)
	l, _ := c.publish("before")
	c.awaitEqual()
	others := c.others(l.id)
	lost, other := others[0].id, others[1].id
	c.kill(lost)
	c.kill(other)
	newcomer := c.replace(lost)
	// The two of them are no majority: the leader steps down, and nobody is elected.
	l.await(t, "the leader to step down", func(st *Status) bool { return st.Role != member.Leader })
	never(t, func() bool {
		return l.Status().Serving || newcomer.Status().Role == member.Leader || newcomer.Status().MayVote
	})
	for _, p := range l.Status().Peers {
		require.Equal(t, p.ID == lost, p.MayNotVote, "%s as seen by %s", p.ID, l.id)
	}

	c.start(other)
	newcomer.await(t, "the right to vote", mayVote)
	c.publish("after")
	c.awaitEqual()

	// It is a full member: the one that led may go.
	c.shutDown(c.leader().id)
	c.publish("later")
	// And it remembers.
	c.kill(lost)
	require.True(t, c.start(lost).Status().MayVote)
	c.publish("last")
}

// Two of three members with new data directories must not begin anew beside the
// one that holds everything.
func TestTwoOfThreeReplaced(t *testing.T) {
	c := newCluster(t, 3, nil)
	l, _ := c.publish("precious")
	c.awaitEqual()
	kept := map[member.ID]string{}
	for _, n := range c.others(l.id) {
		kept[n.id] = c.dirs[n.id]
		c.kill(n.id)
	}
	for id := range kept {
		c.replace(id)
	}
	for id := range kept {
		c.nodes[id].await(t, "an explanation", func(st *Status) bool {
			return st.Standing != "" && st.Standing != explainStanding(member.Status{Missing: []member.ID{l.id}})
		})
	}
	never(t, func() bool {
		for id, n := range c.nodes {
			if st := n.Status(); st.MayVote != (id == l.id) || (id != l.id && st.Role == member.Leader) {
				return true
			}
		}
		return false
	})
	require.False(t, l.Status().Serving)

	// One of the old directories is found again: the group goes on as if nothing had been.
	for id, dir := range kept {
		c.kill(id)
		c.dirs[id], c.lives[id] = dir, 0
		c.start(id)
		break
	}
	c.publish("again")
	for _, n := range c.nodes {
		n.await(t, "the right to vote", mayVote)
	}
	c.awaitEqual()
}
