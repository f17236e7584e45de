package commitlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// A log that begins later takes exactly the entries that continue the history
// which it was told of, and is the same log as one that holds the whole history.
func TestCreateAtALaterEntry(t *testing.T) {
	leader := mustOpen(t, config(newFS()))
	appendN(t, leader, 1, 10, 100)
	appendN(t, leader, 3, 10, 100)
	mustSync(t, leader)
	chain, err := leader.ChainAt(11)
	require.NoError(t, err)
	origin := commitlog.Origin{Begin: 12, PrevTerm: 3, PrevChain: chain}

	cfg := config(newFS())
	require.NoError(t, commitlog.Create(cfg, origin))
	require.Error(t, commitlog.Create(cfg, origin), "there is one already")
	l := mustOpen(t, cfg)
	require.Equal(t, Index(12), l.Begin())
	require.Equal(t, Term(3), l.PrevTerm())
	end, term := l.End()
	require.Equal(t, Index(11), end)
	require.Equal(t, Term(3), term)
	require.Empty(t, l.Runs())
	require.False(t, l.Recovery().Created)
	got, err := l.ChainAt(11)
	require.NoError(t, err)
	require.Equal(t, chain, got)

	for _, from := range []Index{11, 13} {
		f, err := leader.Read(from, 19, 1<<20)
		require.NoError(t, err)
		require.ErrorIs(t, l.AppendSlave(f.Bytes), commitlog.ErrNotContiguous)
	}
	f, err := leader.Read(12, 19, 1<<20)
	require.NoError(t, err)
	require.NoError(t, l.AppendSlave(f.Bytes))
	mustSync(t, l)
	require.NoError(t, l.Close())
	l = mustOpen(t, cfg)
	mine, err := l.ChainAt(19)
	require.NoError(t, err)
	theirs, err := leader.ChainAt(19)
	require.NoError(t, err)
	require.Equal(t, theirs, mine)
}

func TestCreateWithAnotherHistory(t *testing.T) {
	leader := mustOpen(t, config(newFS()))
	appendN(t, leader, 1, 10, 100)
	cfg := config(newFS())
	require.NoError(t, commitlog.Create(cfg, commitlog.Origin{Begin: 5, PrevTerm: 1, PrevChain: 4711}))
	l := mustOpen(t, cfg)
	f, err := leader.Read(5, 9, 1<<20)
	require.NoError(t, err)
	require.ErrorIs(t, l.AppendSlave(f.Bytes), commitlog.ErrDivergence)
	for _, wrong := range []commitlog.Origin{{Begin: 0, PrevTerm: 1}, {Begin: 5}} {
		require.Error(t, commitlog.Create(config(newFS()), wrong))
	}
}

// A log that knows no entry yet is told how far the stamps of its history are.
func TestStampNotBefore(t *testing.T) {
	cfg := config(newFS())
	require.NoError(t, commitlog.Create(cfg, commitlog.Origin{Begin: 7, PrevTerm: 2, PrevChain: 9}))
	l := mustOpen(t, cfg)
	far := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	l.StampNotBefore(far.UnixNano())
	l.StampNotBefore(5)
	appendN(t, l, 2, 2, 10)
	for i := Index(7); i < 9; i++ {
		at, err := l.AppendTime(i)
		require.NoError(t, err)
		require.Equal(t, far, at.UTC())
	}
}
