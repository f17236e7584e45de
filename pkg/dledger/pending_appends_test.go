package dledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// noted is a proposal that notes what it was told.
func noted(results *[]ProposalResult, texts ...string) *Proposal {
	p := &Proposal{Done: func(r ProposalResult) { *results = append(*results, r) }}
	for _, text := range texts {
		p.Bodies = append(p.Bodies, body(text))
	}
	return p
}

func termIs(term commitlog.Term) func(commitlog.Index) (commitlog.Term, error) {
	return func(commitlog.Index) (commitlog.Term, error) { return term, nil }
}

func TestPendingIsBounded(t *testing.T) {
	var got []ProposalResult
	a := newPendingAppends(2, 100)
	require.Equal(t, admitted, a.admit(noted(&got, string(make([]byte, 500)))), "one goes however large")
	require.Equal(t, admitFull, a.admit(noted(&got, "x")), "bytes")
	taken := a.takeWaiting()
	require.Len(t, taken, 1)
	a.refuse(taken, &Error{Code: CodeNotLeader})
	require.Len(t, got, 1)
	require.Equal(t, admitted, a.admit(noted(&got, "x")))
	require.Equal(t, admitted, a.admit(noted(&got, "y")))
	require.Equal(t, admitFull, a.admit(noted(&got, "z")), "count")
	a.append([]pendingAppend{{proposal: a.takeWaiting()[0], first: 0, last: 0, term: 1}})
	require.Equal(t, admitFull, a.admit(noted(&got, "z")), "appended ones count until they are finished")
	require.Equal(t, 1, a.applied(0, []any{"x"}, termIs(1)))
	require.Equal(t, admitted, a.admit(noted(&got, "z")))
}

func TestPendingInOrderAndInParts(t *testing.T) {
	var got []ProposalResult
	a := newPendingAppends(10, 1000)
	one, three, other := noted(&got, "a"), noted(&got, "b", "c", "d"), noted(&got, "e")
	for _, p := range []*Proposal{one, three, other} {
		require.Equal(t, admitted, a.admit(p))
	}
	a.takeWaiting()
	now := time.Unix(100, 0)
	a.append([]pendingAppend{{proposal: one, first: 5, last: 5, term: 2, at: now}, {proposal: three, first: 6, last: 8, term: 2, at: now}})
	a.append([]pendingAppend{{proposal: other, first: 9, last: 9, term: 2, at: now}})
	var seconds []float64
	a.committed(8, now.Add(time.Second), func(s float64) { seconds = append(seconds, s) })
	require.Equal(t, []float64{1, 1}, seconds)
	require.Zero(t, a.applied(3, []any{0, 1}, termIs(2)), "entries before anything pending")
	require.Equal(t, 1, a.applied(5, []any{"A", "B"}, termIs(2)))
	require.Equal(t, 1, a.applied(7, []any{"C", "D"}, termIs(2)))
	a.committed(9, now.Add(3*time.Second), func(s float64) { seconds = append(seconds, s) })
	require.Equal(t, []float64{1, 1, 3}, seconds)
	require.Equal(t, 1, a.applied(9, []any{"E", "somebody else's"}, termIs(2)))
	require.Equal(t, []ProposalResult{
		{First: 5, Term: 2, Outcomes: []any{"A"}},
		{First: 6, Term: 2, Outcomes: []any{"B", "C", "D"}},
		{First: 9, Term: 2, Outcomes: []any{"E"}},
	}, got)
}

func TestPendingLosesLeadership(t *testing.T) {
	var got []ProposalResult
	a := newPendingAppends(10, 1000)
	old, older, newer := noted(&got, "a"), noted(&got, "b"), noted(&got, "c")
	for _, p := range []*Proposal{older, old, newer} {
		a.admit(p)
	}
	a.takeWaiting()
	a.append([]pendingAppend{{proposal: older, first: 1, last: 1, term: 1}, {proposal: old, first: 2, last: 2, term: 2}, {proposal: newer, first: 3, last: 3, term: 3}})
	lost := &Error{Code: CodeLeadershipLost, Indefinite: true}
	require.Equal(t, 2, a.failBelow(3, lost))
	require.Equal(t, []ProposalResult{{First: 1, Term: 1, Err: lost}, {First: 2, Term: 2, Err: lost}}, got)
	require.Zero(t, a.applied(3, []any{"not mine"}, termIs(4)), "another leader's entry does not complete it")
	require.ErrorContains(t, got[2].Err, CodeLeadershipLost)
}

// The last entry of a proposal decides: the first one may stand where the rest
// was replaced.
func TestPendingPartlyReplaced(t *testing.T) {
	var got []ProposalResult
	a := newPendingAppends(10, 1000)
	p := noted(&got, "a", "b")
	a.admit(p)
	a.takeWaiting()
	a.append([]pendingAppend{{proposal: p, first: 1, last: 2, term: 1}})
	terms := func(i commitlog.Index) (commitlog.Term, error) { return commitlog.Term(i), nil }
	require.Zero(t, a.applied(1, []any{"A", "somebody else's"}, terms))
	require.ErrorContains(t, got[0].Err, CodeLeadershipLost)
}

func TestPendingClosed(t *testing.T) {
	var got []ProposalResult
	a := newPendingAppends(10, 1000)
	appended := noted(&got, "a")
	a.admit(appended)
	a.takeWaiting()
	a.append([]pendingAppend{{proposal: appended, first: 1, last: 1, term: 1}})
	a.admit(noted(&got, "b"))
	certain, uncertain := &Error{Code: CodeShuttingDown}, &Error{Code: CodeLeadershipLost, Indefinite: true}
	a.close(certain, uncertain)
	a.close(certain, uncertain)
	require.Equal(t, []ProposalResult{{First: -1, Err: certain}, {First: 1, Term: 1, Err: uncertain}}, got)
	require.Equal(t, admitClosed, a.admit(noted(&got, "c")))
}

// The FIFO gives its memory back however long it lives.
func TestPendingCompacts(t *testing.T) {
	var got []ProposalResult
	a := newPendingAppends(10000, 1<<20)
	for i := commitlog.Index(0); i < 20000; i++ {
		p := noted(&got, "x")
		require.Equal(t, admitted, a.admit(p))
		a.takeWaiting()
		a.append([]pendingAppend{{proposal: p, first: i, last: i, term: 1}})
		if i >= 5 {
			require.Equal(t, 1, a.applied(i-5, []any{i - 5}, termIs(1)))
		}
	}
	require.Less(t, cap(a.mu.appended), 5000)
	for i, r := range got {
		require.Equal(t, commitlog.Index(i), r.First)
		require.Equal(t, []any{r.First}, r.Outcomes)
	}
}
