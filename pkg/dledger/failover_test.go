package dledger

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// isolate drops all traffic between id and the others, in both directions.
func (c *cluster) isolate(id member.ID) { c.partition(id, (*Server).PausePeer) }
func (c *cluster) rejoin(id member.ID)  { c.partition(id, (*Server).ResumePeer) }

func (c *cluster) partition(id member.ID, what func(*Server, member.ID) error) {
	c.t.Helper()
	for other, n := range c.nodes {
		if other == id {
			continue
		}
		require.NoError(c.t, what(n.Server, id))
		require.NoError(c.t, what(c.nodes[id].Server, other))
	}
}

// others are the members besides id.
func (c *cluster) others(id member.ID) []*node {
	var all []*node
	for other, n := range c.nodes {
		if other != id {
			all = append(all, n)
		}
	}
	return all
}

// An isolated leader fails what it could not commit, as uncertain; the others go
// on; when it comes back its conflicting tail is replaced.
func TestIsolatedLeaderRejoins(t *testing.T) {
	c := newCluster(t, 3, nil)
	old, _ := c.publish("before")
	c.awaitEqual()
	c.isolate(old.id)
	var doomed []<-chan ProposalResult
	for i := range 20 {
		ch, err := old.propose(fmt.Sprintf("doomed %d", i))
		require.NoError(t, err)
		doomed = append(doomed, ch)
	}
	for _, ch := range doomed {
		r := receive(t, ch)
		var e *Error
		require.ErrorAs(t, r.Err, &e)
		require.Equal(t, CodeLeadershipLost, e.Code)
		require.True(t, e.Indefinite)
	}
	_, err := old.propose("refused")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, []string{CodeNotLeader, CodeNoLeader}, e.Code)
	require.False(t, e.Indefinite)

	delete(c.nodes, old.id)
	next, _ := c.publish("meanwhile 1", "meanwhile 2")
	c.nodes[old.id] = old
	end, _ := old.ledger.End()
	require.Greater(t, end, next.Status().End, "the old leader's tail is longer and must go")
	c.rejoin(old.id)
	c.awaitEqual()
	c.publish("after")
	c.awaitEqual()
}

// The same with a leader that is killed with a tail of its own on disk.
func TestKilledLeaderTruncates(t *testing.T) {
	c := newCluster(t, 3, nil)
	old, _ := c.publish("before")
	c.awaitEqual()
	c.isolate(old.id)
	ch, err := old.propose("doomed")
	require.NoError(t, err)
	old.await(t, "its own disk", func(s *Status) bool { return s.End > s.Commit && s.Durable == s.End })
	c.kill(old.id)
	r := receive(t, ch)
	require.ErrorContains(t, r.Err, CodeLeadershipLost)
	for _, n := range c.nodes {
		require.NoError(t, n.ResumePeer(old.id))
	}
	c.publish("meanwhile 1", "meanwhile 2")
	c.start(old.id)
	c.awaitEqual()
}

func TestPausedFollowerCatchesUp(t *testing.T) {
	c := newCluster(t, 3, nil)
	l, _ := c.publish("before")
	slow := c.others(l.id)[0]
	require.NoError(t, l.PausePeer(slow.id))
	big := string(make([]byte, 100<<10))
	for i := range 100 {
		c.publish(fmt.Sprintf("%d", i), big)
	}
	for _, p := range l.Status().Peers {
		require.Equal(t, p.ID == slow.id, p.Paused)
		require.True(t, p.Connected)
	}
	if l.Status().Serving {
		require.Regexp(t, "follower.* "+string(slow.id)+" .* MB", l.whatIsSlow())
	}
	require.NoError(t, l.ResumePeer(slow.id))
	c.awaitEqual()
	require.ErrorContains(t, l.PausePeer("n9"), CodeUnknownMember)
}

// A member that comes back empty of the last entries, then one that was away for
// long, while proposals go on.
func TestFollowerRestartsUnderLoad(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	var results []<-chan ProposalResult
	for round := range 3 {
		away := c.others(l.id)[round%2]
		c.kill(away.id)
		for i := range 300 {
			ch, err := l.propose(fmt.Sprintf("round %d message %d", round, i))
			require.NoError(t, err)
			results = append(results, ch)
			if i == 150 {
				c.start(away.id)
			}
		}
	}
	for _, ch := range results {
		require.NoError(t, receive(t, ch).Err)
	}
	c.awaitEqual()
}

func TestTransfer(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.publish("before")
	for _, how := range []string{"named", "closest"} {
		began := time.Now()
		from, to := c.transfer(how == "named")
		t.Logf("transfer to the %s: %v", how, time.Since(began))
		require.NotEqual(t, from, to)
		c.publish("under the new leader")
	}
	l := c.leader()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.ErrorContains(t, c.others(l.id)[0].Transfer(ctx, l.id), CodeNotLeader)
	require.ErrorContains(t, l.Transfer(ctx, "n9"), CodeUnknownMember)
	require.NoError(t, l.Transfer(ctx, l.id), "nothing to do")
	c.awaitEqual()
}

// transfer hands the leadership over, to a named member or to the closest, and
// tries again if the machine is too busy for it.
func (c *cluster) transfer(named bool) (from, to member.ID) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for ctx.Err() == nil {
		l := c.leader()
		l.await(c.t, "healthy peers", func(s *Status) bool {
			return s.Role != member.Leader || (s.Peers[0].Healthy && s.Peers[1].Healthy)
		})
		want := member.ID("")
		if named {
			want = c.others(l.id)[0].id
		}
		if err := l.Transfer(ctx, want); err == nil {
			return l.id, c.leader().id
		}
	}
	c.t.Fatal("the leadership stays where it is")
	return "", ""
}

func TestUnfitLeaderHandsOver(t *testing.T) {
	c := newCluster(t, 3, nil)
	l := c.leader()
	l.await(t, "healthy peers", func(s *Status) bool { return s.Peers[0].Healthy && s.Peers[1].Healthy })
	l.SetFit(false)
	l.await(t, "another leader", func(s *Status) bool { return s.Leader != "" && s.Leader != l.id })
	require.NotEqual(t, l.id, c.leader().id)
	l.SetFit(true)
	c.awaitEqual()
}

func lonerConfig(t *testing.T) Config {
	t.Helper()
	return Config{
		Dir: t.TempDir(), Fresh: true, ClusterID: "test", Group: "g0", ID: "n1", Incarnation: "dir",
		Peers: map[member.ID]string{"n1": ""}, Logger: testLogger("n1"), Log: commitlog.Config{SegmentBytes: 1 << 20},
	}
}

// loner is a group of one whose entries nobody applies.
func loner(t *testing.T, tune func(*Config)) *node {
	t.Helper()
	cfg := lonerConfig(t)
	tune(&cfg)
	s, err := Open(cfg)
	require.NoError(t, err)
	n := &node{Server: s, id: "n1"}
	n.done.Go(func() { n.runErr = s.Run(context.Background()) })
	n.await(t, "leadership", func(st *Status) bool { return st.Role == member.Leader && st.Commit >= 0 })
	return n
}

func (n *node) close(t *testing.T) {
	t.Helper()
	require.NoError(t, n.Close())
	n.done.Wait()
	require.NoError(t, n.runErr)
}

func TestPendingFull(t *testing.T) {
	n := loner(t, func(cfg *Config) { cfg.MaxPendingProposals = 3 })
	n.Applied(0, []any{nil})
	var waiting []<-chan ProposalResult
	for range 3 {
		ch, err := n.propose("waits")
		require.NoError(t, err)
		waiting = append(waiting, ch)
	}
	n.await(t, "the commit", func(s *Status) bool { return s.Commit == 3 })
	_, err := n.propose("too much")
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, CodePendingFull, e.Code)
	require.False(t, e.Indefinite)
	require.Contains(t, e.Message, "3 committed entries wait to be applied")
	n.Applied(1, []any{"outcome"})
	require.Equal(t, ProposalResult{First: 1, Term: 1, Outcomes: []any{"outcome"}}, receive(t, waiting[0]))
	_, err = n.propose("fits again")
	require.NoError(t, err)
	n.close(t)
	require.ErrorContains(t, receive(t, waiting[1]).Err, CodeLeadershipLost)
}

// A leader serves only when the entry that opened its term is applied.
func TestNotServingBeforeApplied(t *testing.T) {
	n := loner(t, func(*Config) {})
	_, err := n.propose("too early")
	require.ErrorContains(t, err, CodeLeaderNotReady)
	n.Applied(0, []any{nil})
	n.await(t, "service", func(st *Status) bool { return st.Serving })
	ch, err := n.propose("now")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = n.WaitCommitted(ctx, 0)
	require.NoError(t, err)
	n.close(t)
	require.ErrorContains(t, receive(t, ch).Err, CodeLeadershipLost, "committed, but nobody has applied it")
	_, err = n.propose("too late")
	require.ErrorContains(t, err, CodeShuttingDown)
	_, err = n.WaitCommitted(ctx, 1)
	require.ErrorContains(t, err, CodeShuttingDown)
	require.Error(t, n.Run(ctx), "a server runs once")
}

func TestInvalidProposals(t *testing.T) {
	c := newCluster(t, 1, nil)
	l := c.leader()
	done := func(ProposalResult) { t.Error("Done of a refused proposal") }
	for name, p := range map[string]*Proposal{
		"no bodies": {Done: done},
		"no CRC":    {Done: done, Bodies: []commitlog.Body{{Type: commitlog.TypeBatch}}},
		"a no-op":   {Done: done, Bodies: []commitlog.Body{{Type: commitlog.TypeNoop, Bytes: make([]byte, 4)}}},
		"too large": {Done: done, Bodies: []commitlog.Body{{Type: commitlog.TypeBatch, Bytes: make([]byte, commitlog.MaxBodyBytes+1)}}},
	} {
		require.Error(t, l.Propose(p), name)
	}
}
