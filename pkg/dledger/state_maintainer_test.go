package dledger

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// idleServer is a member of three that was opened but does not run: the test is
// its state maintainer.
func idleServer(t *testing.T) *Server {
	t.Helper()
	cfg := lonerConfig(t)
	cfg.Peers = map[member.ID]string{"n1": "127.0.0.1:1", "n2": "127.0.0.1:2", "n3": "127.0.0.1:3"}
	s, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// A process that stood still for a minute hears its leader, who is in the inbox,
// before it finds that it has not heard one.
func TestInboxBeforeTick(t *testing.T) {
	s := idleServer(t)
	mc := s.cfg.Member
	mc.ID, mc.Members, mc.Rand = s.cfg.ID, s.cfg.members(), rand.New(rand.NewPCG(1, 1))
	ago := time.Now().Add(-time.Minute)
	m, err := member.New(mc, ago, s.ballot.load(), ledgerOutline(s.ledger))
	require.NoError(t, err)
	s.core.member = m
	beat := member.Receive{Message: member.HeartBeatRequest{From: "n2", To: "n1", Term: 1, Leader: "n2", Commit: member.NoIndex}}
	m.Step(ago, beat) // a newer term
	m.Step(ago, beat)
	require.NoError(t, s.carryOut(m.Take()))
	require.Equal(t, member.ID("n2"), s.Status().Leader)
	require.True(t, s.deliver(t.Context(), letter{event: beat}))
	s.stepAll(true)
	require.NoError(t, s.carryOut(m.Take()))
	require.Equal(t, member.ID("n2"), s.Status().Leader)
	for _, p := range s.peerList() {
		require.Empty(t, p.requests, "nobody is asked for a vote")
	}
}

// What a deposed leader had still to push is not pushed any more.
func TestDeposedLeaderStopsPushing(t *testing.T) {
	s := idleServer(t)
	n2 := s.peer("n2")
	push := func(term member.Term) member.PushRequest {
		return member.PushRequest{From: "n1", To: "n2", Type: member.Commit, Term: term, Leader: "n1", Commit: 9, Last: member.NoIndex}
	}
	s.send(push(3))
	require.Empty(t, queued(n2.outbox), "it does not lead yet")
	s.changeLedTerm(member.RoleChange{Role: member.Leader, Term: 3, Leader: "n1"})
	s.send(push(3))
	s.changeLedTerm(member.RoleChange{Role: member.Leader, Term: 3, Leader: "n1"})
	require.Len(t, queued(n2.outbox), 1, "nothing has changed")
	s.send(push(3))
	s.changeLedTerm(member.RoleChange{Role: member.Follower, Term: 4, Leader: "n2"})
	require.Empty(t, queued(n2.outbox), "deposed")
	s.send(push(3))
	require.Empty(t, queued(n2.outbox), "asked for before, sent afterwards")

	s.changeLedTerm(member.RoleChange{Role: member.Leader, Term: 5, Leader: "n1"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream := &sentPushes{sent: cancel}
	n2.outbox.add(push(3)) // came just before it was cleared
	n2.outbox.sendNotice()
	done := make(chan error, 1)
	go func() { done <- s.sendPushes(ctx, n2, stream) }()
	require.Eventually(t, func() bool {
		_, _, more := n2.outbox.head()
		return !more
	}, patience, time.Millisecond)
	n2.outbox.add(push(5))
	n2.outbox.sendNotice()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, []int64{5}, stream.terms)
}

// Whoever looks sees a follower's commit index at once; who waits for it is woken with
// the next tick, and a leader's at once.
func TestCommitIsToldLate(t *testing.T) {
	s := idleServer(t)
	commit := func(i member.Index) (woken func() bool) {
		_, _, changed := s.commit.watch()
		s.advanceCommit(i)
		require.Equal(t, logIndex(i), s.commit.load())
		return func() bool {
			select {
			case <-changed:
				return true
			default:
				return false
			}
		}
	}
	s.core.role = member.RoleChange{Role: member.Follower, Term: 1, Leader: "n2"}
	woken := commit(5)
	require.False(t, woken())
	s.tellLate()
	require.True(t, woken())

	woken = commit(6)
	s.changeRole(member.RoleChange{Role: member.Candidate, Term: 2})
	require.True(t, woken(), "whoever may lead soon")
	s.core.role = member.RoleChange{Role: member.Leader, Term: 2, Leader: "n1"}
	require.True(t, commit(7)())
	require.False(t, s.core.commitUntold)
}

// A member that was removed hears at once that this is committed: it may be forgotten
// before the next tick. Others wait.
func TestRemovedMemberIsToldAtOnce(t *testing.T) {
	s := idleServer(t)
	s.ledTerm.Store(1)
	told := func() bool {
		s.send(member.PushRequest{From: "n1", To: "n2", Type: member.Commit, Term: 1, Leader: "n1", Last: member.NoIndex})
		_, _, more := s.peer("n2").outbox.head()
		return more
	}
	require.False(t, told())
	s.members.record.changes = []member.Change{{Members: member.Members{{ID: "n1"}, {ID: "n2"}, {ID: "n3"}}}}
	require.False(t, told())
	s.members.record.changes = append(s.members.record.changes, member.Change{At: 3, Members: member.Members{{ID: "n1"}, {ID: "n3"}}})
	require.True(t, told())
}

// sentPushes is a push stream that notes the terms of what is sent on it.
type sentPushes struct {
	pushStream
	terms []int64
	sent  func()
}

func (p *sentPushes) SendMsg(m any) error {
	p.terms = append(p.terms, m.(*pushFrame).request.GetTerm())
	p.sent()
	return nil
}

// While a transfer is under way another one is refused, whomever it is to, and
// the end of the first goes to the one who asked for it.
func TestTransfersAreNotMixedUp(t *testing.T) {
	s := idleServer(t)
	closest, named := newTransferSlot(""), newTransferSlot("n3")
	require.True(t, s.beginTransfer(closest))
	require.False(t, s.beginTransfer(named))
	require.Equal(t, member.TransferAnswer{To: "n3", Code: member.LeaderTransferring}, <-named.answer)
	s.endTransfer(member.TransferAnswer{To: "n2", Code: member.Success})
	require.Equal(t, member.TransferAnswer{To: "n2", Code: member.Success}, <-closest.answer)
	require.True(t, s.beginTransfer(named))

	s = idleServer(t) // both arrive in one step
	closest, named = newTransferSlot(""), newTransferSlot("n3")
	for _, slot := range []*transferSlot{closest, named} {
		require.True(t, s.deliver(t.Context(), letter{event: member.Transfer{To: slot.to}, transfer: slot}))
	}
	s.stepAll(false)
	require.NoError(t, s.carryOut(s.core.member.Take()))
	require.Equal(t, member.TransferAnswer{Code: member.NotLeader}, <-closest.answer)
	require.Equal(t, member.TransferAnswer{To: "n3", Code: member.LeaderTransferring}, <-named.answer)
}
