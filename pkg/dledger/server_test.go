package dledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

func TestElectAndReplicate(t *testing.T) {
	c := newCluster(t, 3, nil)
	const proposals, each = 1000, 10
	deadline := time.Now().Add(patience)
	var l *node
	for ok := false; !ok; { // again if a busy machine deposes the leader
		require.True(t, time.Now().Before(deadline), "nobody leads for long enough")
		l = c.leader()
		began := time.Now()
		ok = replicate(t, l, proposals, each)
		t.Logf("%d entries committed: %t, in %v", proposals*each, ok, time.Since(began))
	}
	c.awaitEqual()
	for _, n := range c.nodes {
		n.await(t, "the leader and its address", func(st *Status) bool {
			return st.Leader != "" && st.LeaderClientAddr == "client-"+string(st.Leader)
		})
	}
}

// replicate proposes a lot at once and checks that everything comes back in order.
// It gives up when the leader is deposed.
func replicate(t *testing.T, l *node, proposals, each int) bool {
	t.Helper()
	results := make([]<-chan ProposalResult, proposals)
	for i := range results {
		texts := make([]string, each)
		for j := range texts {
			texts[j] = fmt.Sprintf("message %d of proposal %d", j, i)
		}
		ch, err := l.propose(texts...)
		if err != nil {
			return false
		}
		results[i] = ch
	}
	next := commitlog.Index(-1)
	for i, ch := range results {
		r := receive(t, ch)
		if r.Err != nil {
			return false
		}
		if next >= 0 {
			require.Equal(t, next, r.First, "proposals are in order")
		}
		next = r.First + commitlog.Index(each)
		require.Len(t, r.Outcomes, each)
		require.Contains(t, r.Outcomes[3], fmt.Sprintf("message 3 of proposal %d", i))
	}
	return true
}

func TestSingleMember(t *testing.T) {
	c := newCluster(t, 1, nil)
	l, _ := c.publish("alone")
	c.shutDown(l.id)
	c.start(l.id)
	_, r := c.publish("again")
	require.Greater(t, r.Term, commitlog.Term(1))
	c.awaitEqual()
}

func TestLeaderKilled(t *testing.T) {
	c := newCluster(t, 3, nil)
	for round := range 5 {
		c.leader()
		c.awaitEqual()
		for i := range 50 {
			c.publish(fmt.Sprintf("round %d message %d", round, i))
		}
		l := c.leader()
		killed := time.Now()
		c.kill(l.id)
		next, _ := c.publish(fmt.Sprintf("first of round %d", round))
		f := next.Status().Failover
		t.Logf("kill to first acknowledgement of the next leader: %v; detect %v, elect %v, commit %v, serve %v (%s)",
			time.Since(killed), f.Detect, f.Elect, f.Commit, f.Serve, f.Reason)
		c.start(l.id)
	}
	c.awaitEqual()
}
