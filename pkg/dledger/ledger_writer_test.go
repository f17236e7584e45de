package dledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

func newTestLog(t *testing.T, id string) *commitlog.Log {
	t.Helper()
	l, err := commitlog.Open(commitlog.Config{Dir: "/log", FS: crashfs.New(), ClusterID: "test", Group: "g0", MemberID: id, SegmentBytes: 1 << 16})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

// The entries of a follower's spans are found in whatever pushes brought them,
// cut where the member wants them cut.
func TestWriterCutsPushes(t *testing.T) {
	leader := newTestLog(t, "n1")
	for term, texts := range map[commitlog.Term][]string{1: {"a", "b", "c"}} {
		leader.BecomeMaster(term)
		for i, text := range texts {
			require.NoError(t, leader.AppendMaster(term, commitlog.Index(i), []commitlog.Body{body(text)}))
		}
	}
	leader.BecomeMaster(4)
	require.NoError(t, leader.AppendMaster(4, 3, []commitlog.Body{{Type: commitlog.TypeNoop}, body("d"), body("e")}))
	push := func(first, last commitlog.Index, runs ...member.Run) *receivedPush {
		f, err := leader.Read(first, last, 1<<20)
		require.NoError(t, err)
		return &receivedPush{request: member.PushRequest{First: memberIndex(first), Last: memberIndex(last), Runs: runs}, entries: f.Bytes}
	}
	received := []*receivedPush{
		push(0, 1, member.Run{First: 0, Term: 1}),
		push(1, 4, member.Run{First: 1, Term: 1}, member.Run{First: 3, Term: 4}), // 1 comes twice
		push(5, 5, member.Run{First: 5, Term: 4}),
	}
	follower := newTestLog(t, "n2")
	w := ledgerWriter{log: follower}
	for _, span := range []member.Span{{First: 0, Last: 2, Term: 1}, {First: 3, Last: 5, Term: 4}} {
		require.NoError(t, w.appendReceived(span, received))
	}
	want, err := leader.Read(0, 5, 1<<20)
	require.NoError(t, err)
	got, err := follower.Read(0, 5, 1<<20)
	require.NoError(t, err)
	require.Equal(t, want.Bytes, got.Bytes)
	require.Panics(t, func() { _ = w.appendReceived(member.Span{First: 6, Last: 6, Term: 4}, received) })
}

// A leader that is deposed in the middle of a step writes what is left of its own
// entries, then the new leader's; the log is flipped in between.
func TestWriterFlipsInOrder(t *testing.T) {
	log := newTestLog(t, "n1")
	w := ledgerWriter{log: log}
	var results []ProposalResult
	accepted := []pendingAppend{
		{proposal: noted(&results, "a", "b"), first: 1, last: 2, term: 2},
		{proposal: noted(&results, "c"), first: 3, last: 3, term: 2},
	}
	require.NoError(t, w.appendNoop(member.Span{First: 0, Last: 0, Term: 2, Noop: true}))
	span := member.Span{First: 1, Last: 3, Term: 2}
	require.True(t, isOwn(span, accepted))
	require.False(t, isOwn(member.Span{First: 1, Last: 1, Term: 3}, accepted))
	require.NoError(t, w.appendOwn(span, accepted))
	require.ErrorIs(t, log.TruncateFrom(1), commitlog.ErrNotSlave)
	require.NoError(t, w.truncateFrom(2))
	require.ErrorIs(t, log.AppendMaster(2, 2, []commitlog.Body{body("late")}), commitlog.ErrNotMaster)
	require.NoError(t, w.appendNoop(member.Span{First: 2, Last: 2, Term: 5, Noop: true}))
	require.NoError(t, w.appendOwn(member.Span{First: 3, Last: 3, Term: 5}, []pendingAppend{{proposal: noted(&results, "d"), first: 3, last: 3, term: 5}}))
	end, term := log.End()
	require.EqualValues(t, 3, end)
	require.EqualValues(t, 5, term)
}
