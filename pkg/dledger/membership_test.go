package dledger

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// join starts a member on a new directory that is not of the group yet. It knows
// those that know names.
func (c *cluster) join(id member.ID, know ...member.ID) *node {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	c.addrs[id], c.dirs[id] = l.Addr().String(), c.t.TempDir()
	if !slices.Contains(c.ids, id) {
		c.ids = append(c.ids, id)
	}
	cfg := c.config(id, true)
	cfg.Joining, cfg.Peers = true, map[member.ID]string{}
	for _, other := range know {
		cfg.Peers[other] = c.addrs[other]
	}
	s, err := Open(cfg)
	require.NoError(c.t, err)
	n := runNodeFrom(s, id, l, c.applied)
	c.nodes[id] = n
	return n
}

// again starts a member of a group that has changed, as its configuration was.
func (c *cluster) again(id member.ID, first map[member.ID]string, joining bool) *node {
	c.t.Helper()
	cfg := c.config(id, false)
	cfg.Peers, cfg.Joining = first, joining
	l := c.listen(id)
	s, err := Open(cfg)
	require.NoError(c.t, err)
	n := runNodeFrom(s, id, l, c.applied)
	c.nodes[id] = n
	return n
}

// change asks whoever leads until the change is made.
func (c *cluster) change(op member.ChangeOp, id member.ID) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ev := member.ChangeMembers{Op: op, ID: id}
	if op == member.AddLearner {
		ev.Address = c.addrs[id]
		if ev.Address == "" {
			ev.Address = "127.0.0.1:1" // nobody is there
		}
	}
	for {
		l := c.leader()
		_, changed := l.Changes()
		_, err := l.ChangeMembers(ctx, ev)
		var e *Error
		switch {
		case err == nil:
			return
		case op == member.Remove && errors.As(err, &e) && e.Code == CodeUnknownMember:
			return // an earlier try, whose leader did not live to say so
		case ctx.Err() != nil, !errors.As(err, &e), e.Code == CodeInvalidMember, e.Code == CodeUnknownMember:
			c.t.Fatalf("%v of %s: %v", op, id, err)
		}
		poll, stop := context.WithTimeout(ctx, 20*time.Millisecond)
		select {
		case <-changed:
		case <-poll.Done():
		}
		stop()
	}
}

func (n *node) awaitGroup(t testing.TB, want ...string) {
	t.Helper()
	n.await(t, "its group to be "+strconvQuote(want), func(st *Status) bool { return slices.Equal(seatWords(st.Members), want) && !st.Changing })
}

func strconvQuote(words []string) string {
	text := ""
	for _, w := range words {
		text += " " + w
	}
	return text
}

// seatWords are the members, learners with a question mark.
func seatWords(ms member.Members) []string {
	var all []string
	for _, s := range ms {
		word := string(s.ID)
		if s.Learner {
			word += "?"
		}
		all = append(all, word)
	}
	return all
}

// Three members become four, with a learner in between, and then the leader goes.
func TestGroupGrowsAndShrinks(t *testing.T) {
	c := newCluster(t, 3, nil)
	first := map[member.ID]string{"n1": c.addrs["n1"], "n2": c.addrs["n2"], "n3": c.addrs["n3"]}
	c.publish("before")
	n4 := c.join("n4", "n1", "n2", "n3")
	require.Equal(t, SeatNone, n4.Status().Seat)
	require.Contains(t, n4.Status().Outcast, "waits to be added")

	c.change(member.AddLearner, "n4")
	c.publish("with a learner")
	n4.awaitGroup(t, "n1", "n2", "n3", "n4?")
	require.Empty(t, n4.Status().Outcast)
	c.change(member.Promote, "n4")
	for _, n := range c.nodes {
		n.awaitGroup(t, "n1", "n2", "n3", "n4")
	}
	c.publish("with four")
	c.awaitEqual()

	gone := c.leader().id
	c.change(member.Remove, gone)
	rest := slices.DeleteFunc([]string{"n1", "n2", "n3", "n4"}, func(id string) bool { return id == string(gone) })
	for id, n := range c.nodes {
		n.awaitGroup(t, rest...)
		if id != gone {
			n.await(t, "another leader", func(st *Status) bool { return st.Leader != "" && st.Leader != gone })
			n.await(t, "the one that left to be forgotten", func(st *Status) bool { return n.peer(gone) == nil })
		}
	}
	out := c.nodes[gone]
	out.await(t, "to know that it is out", func(st *Status) bool { return st.Seat == SeatNone && st.Leader == "" })
	require.Contains(t, out.Status().Outcast, "it was removed from the group")
	term := c.leader().Status().Term
	c.publish("without the old leader")
	require.Equal(t, term, c.leader().Status().Term, "who was removed disturbs nobody")

	// Everyone starts again with the configuration of the first day.
	c.shutDown(gone)
	for _, id := range rest {
		c.shutDown(member.ID(id))
	}
	c.applied = commitlog.NoIndex
	for _, id := range rest {
		c.again(member.ID(id), first, id == "n4")
	}
	c.publish("after a restart")
	for _, n := range c.nodes {
		n.awaitGroup(t, rest...)
	}
	c.awaitEqual()
	back := c.again(gone, first, false)
	back.await(t, "to know that it is out", func(st *Status) bool { return st.Seat == SeatNone })
}

// A leader removes itself, and a follower that must hold that comes back from a crash only
// then. The leader is not in the group any more as it knows it, and opens its stream again
// all the same.
func TestLeaderThatLeavesPushesToTheEnd(t *testing.T) {
	c := newCluster(t, 3, func(cfg *Config) {
		cfg.Member.HeartBeatInterval, cfg.Member.MaxHeartBeatLeak = 20*time.Millisecond, 100
	})
	c.publish("before")
	c.awaitEqual()
	leader := c.leader()
	late := c.others(leader.id)[0].id
	c.kill(late)
	ended := make(chan error, 1)
	go func() {
		_, err := leader.ChangeMembers(t.Context(), member.ChangeMembers{Op: member.Remove, ID: leader.id})
		ended <- err
	}()
	leader.await(t, "the entry, and the loss of its stream", func(st *Status) bool { return st.Changing && leader.peer(late).active.Load() == nil })
	c.start(late).await(t, "another leader", func(st *Status) bool { return st.Leader != "" && st.Leader != leader.id })
	require.NoError(t, <-ended)
	leader.await(t, "to know that it is out", func(st *Status) bool { return st.Seat == SeatNone && st.Role != member.Leader })
}

// A leader that is cut off appends a change that nobody else sees. The others elect
// another; the change is undone, in the member and, after a restart, in its file.
func TestChangeIsUndoneByTruncation(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("before")
	c.awaitEqual()
	old := c.leader()
	others := c.others(old.id)
	for _, n := range others {
		require.NoError(t, old.PausePeer(n.id))
		require.NoError(t, n.PausePeer(old.id))
	}
	failed := make(chan error, 1)
	go func() {
		_, err := old.ChangeMembers(t.Context(), member.ChangeMembers{Op: member.AddLearner, ID: "n4", Address: "127.0.0.1:1"})
		failed <- err
	}()
	old.await(t, "the change in its own ledger", func(st *Status) bool {
		return len(st.Members) == 4 && st.Changing || st.Role != member.Leader
	})
	var e *Error
	require.ErrorAs(t, <-failed, &e)
	require.Contains(t, []string{CodeLeadershipLost, CodeNoLeader, CodeNotLeader}, e.Code)
	require.Equal(t, e.Code == CodeLeadershipLost, e.Indefinite)

	next := others[0]
	require.Eventually(t, func() bool {
		for _, n := range others {
			if n.Status().Serving {
				next = n
				return true
			}
		}
		return false
	}, patience, 5*time.Millisecond)
	ch, err := next.propose("without the old leader")
	require.NoError(t, err)
	require.NoError(t, receive(t, ch).Err)
	for _, n := range others {
		require.NoError(t, old.ResumePeer(n.id))
		require.NoError(t, n.ResumePeer(old.id))
	}
	c.awaitEqual()
	old.awaitGroup(t, "n1", "n2", "n3")
	require.Len(t, old.members.record.changes, 1, "a change that is undone is taken out of the file")
	require.Nil(t, old.peer("n4"))

	c.shutDown(old.id)
	again := c.start(old.id)
	again.awaitGroup(t, "n1", "n2", "n3")
	c.change(member.AddLearner, "n4")
	again.awaitGroup(t, "n1", "n2", "n3", "n4?")
}

// A member that was removed while it was away cannot know it. It is told by those whom
// it asks for votes, disturbs nobody, and comes in again when it is added.
func TestRemovedWhileAway(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("before")
	c.awaitEqual()
	gone := c.others(c.leader().id)[0].id
	c.kill(gone)
	c.change(member.Remove, gone)
	c.publish("without it")
	l := c.leader()
	l.await(t, "the one that left to be forgotten", func(*Status) bool { return l.peer(gone) == nil })
	term := l.Status().Term

	back := c.start(gone)
	back.await(t, "to be told", func(st *Status) bool {
		return strings.Contains(st.Outcast, "says that this member is not in its group") && st.Seat == SeatVoter && st.Leader == ""
	})
	delete(c.nodes, gone) // nobody may take it for the leader
	c.publish("undisturbed")
	require.Equal(t, term, c.leader().Status().Term)
	c.nodes[gone] = back
	c.change(member.AddLearner, gone)
	c.change(member.Promote, gone)
	back.await(t, "to be in again", func(st *Status) bool {
		return st.Outcast == "" && st.Leader != "" && !st.Changing && len(st.Members) == 3
	})
	c.publish("with it")
	c.awaitEqual()
}
