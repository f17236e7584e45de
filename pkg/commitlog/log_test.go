package commitlog_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

func TestEmptyLog(t *testing.T) {
	l := mustOpen(t, config(newFS()))
	require.True(t, l.Recovery().Created)
	require.Equal(t, Index(0), l.Begin())
	i, term := l.End()
	require.Equal(t, commitlog.NoIndex, i)
	require.Equal(t, commitlog.NoTerm, term)
	got, err := l.TermAt(commitlog.NoIndex)
	require.NoError(t, err)
	require.Equal(t, commitlog.NoTerm, got)
	_, err = l.Read(0, 0, 1)
	require.ErrorIs(t, err, commitlog.ErrBeyondEnd)
	require.Equal(t, commitlog.Persisted{Index: -1, Term: -1}, mustSync(t, l))
}

// The whole way on the real file system: append, sync, roll, read from memory
// and from files, close, open.
func TestRealFiles(t *testing.T) {
	cfg := config(nil)
	cfg.Dir = t.TempDir() + "/log"
	l := mustOpen(t, cfg)
	for range 40 {
		appendN(t, l, 3, 5, 700)
		mustSync(t, l)
	}
	require.NoError(t, l.PrepareSegment())
	all := requireCount(t, l, 200)
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), commitlog.ErrClosed)

	l = mustOpen(t, cfg)
	require.True(t, l.Recovery().Clean)
	require.Greater(t, l.Recovery().Segments, 3)
	require.True(t, equalEntries(all, mustEntries(t, l)))
	appendN(t, l, 4, 100, 1000)
	requireCount(t, l, 300) // readable before they are durable
	i, _ := l.Durable()
	require.Equal(t, Index(199), i)
	require.Equal(t, Term(4), mustSync(t, l).Term)
	require.Equal(t, []commitlog.Run{{First: 0, Term: 3}, {First: 200, Term: 4}}, l.Runs())
	l.Abandon()

	l = mustOpen(t, cfg)
	require.False(t, l.Recovery().Clean)
	requireCount(t, l, 300)
}

func TestRolesAreKept(t *testing.T) {
	l := mustOpen(t, config(newFS()))
	require.ErrorIs(t, l.AppendMaster(1, 0, []commitlog.Body{body(0, 10)}), commitlog.ErrNotMaster)
	l.BecomeMaster(2)
	require.ErrorIs(t, l.AppendMaster(1, 0, []commitlog.Body{body(0, 10)}), commitlog.ErrStaleTerm)
	require.ErrorIs(t, l.AppendMaster(2, 1, []commitlog.Body{body(0, 10)}), commitlog.ErrNotContiguous)
	require.ErrorIs(t, l.AppendMaster(2, 0, []commitlog.Body{{Type: commitlog.TypeBatch, Bytes: []byte{1}}}), commitlog.ErrInvalidEntry)
	require.ErrorIs(t, l.AppendMaster(2, 0, []commitlog.Body{{}}), commitlog.ErrInvalidEntry)
	require.NoError(t, l.AppendMaster(2, 0, []commitlog.Body{{Type: commitlog.TypeNoop}, body(1, 10)}))
	require.ErrorIs(t, l.TruncateFrom(1), commitlog.ErrNotSlave)
	require.ErrorIs(t, l.AppendSlave(nil), commitlog.ErrNotSlave)
	mustSync(t, l)
	f, err := l.Read(0, 1, 1000)
	require.NoError(t, err)
	l.BecomeSlave(2)
	require.ErrorIs(t, l.AppendSlave(f.Bytes), commitlog.ErrNotContiguous)
}

// A follower's log is byte-identical to the leader's, and refuses what does not
// continue it.
func TestSlaveFollowsMaster(t *testing.T) {
	leader, follower := mustOpen(t, config(newFS())), mustOpen(t, config(newFS()))
	appendN(t, leader, 1, 10, 100)
	appendN(t, leader, 5, 10, 3000)
	all := mustEntries(t, leader)
	require.NoError(t, follower.AppendSlave(bytes.Join(all[:15], nil)))
	require.NoError(t, follower.AppendSlave(bytes.Join(all[15:], nil)))
	require.Equal(t, commitlog.Persisted{Index: 19, Term: 5}, mustSync(t, follower))
	require.True(t, equalEntries(all, mustEntries(t, follower)))
	require.Equal(t, leader.Runs(), follower.Runs())
	for i := Index(-1); i < 20; i++ {
		a, err := leader.ChainAt(i)
		require.NoError(t, err)
		b, err := follower.ChainAt(i)
		require.NoError(t, err)
		require.Equal(t, a, b)
	}

	for _, term := range []Term{1, 5} { // of an older term; of the same term with another history
		other := mustOpen(t, config(newFS()))
		appendN(t, other, term, 22, 101)
		theirs := mustEntries(t, other)
		require.ErrorIs(t, follower.AppendSlave(theirs[20]), commitlog.ErrDivergence)
		require.ErrorIs(t, follower.AppendSlave(bytes.Join(theirs[20:], nil)), commitlog.ErrDivergence)
		_, err := commitlog.Verify(bytes.Join([][]byte{all[19], theirs[20]}, nil))
		require.ErrorIs(t, err, commitlog.ErrDivergence)
	}
	i, _ := follower.End()
	require.Equal(t, Index(19), i)
}

func TestVerify(t *testing.T) {
	l := mustOpen(t, config(newFS()))
	appendN(t, l, 1, 3, 50)
	appendN(t, l, 2, 2, 50)
	all := mustEntries(t, l)
	s, err := commitlog.Verify(bytes.Join(all[1:], nil))
	require.NoError(t, err)
	before, _ := l.ChainAt(0)
	last, _ := l.ChainAt(4)
	s.LastTime = 0
	want := commitlog.Summary{
		First: 1, Last: 4, Count: 4, PrevChain: before, Chain: last,
		Runs: []commitlog.Run{{First: 1, Term: 1}, {First: 3, Term: 2}},
	}
	require.Empty(t, cmp.Diff(want, s))

	whole := bytes.Join(all, nil)
	for i := range whole {
		for _, bit := range []byte{1, 0x80} {
			damaged := bytes.Clone(whole)
			damaged[i] ^= bit
			_, err := commitlog.Verify(damaged)
			require.Error(t, err, "byte %d", i)
		}
	}
	_, err = commitlog.Verify(bytes.Join([][]byte{all[0], all[2]}, nil))
	require.ErrorIs(t, err, commitlog.ErrNotContiguous)
	_, err = commitlog.Verify(whole[:len(whole)-1])
	require.ErrorIs(t, err, commitlog.ErrInvalidEntry)
	_, err = commitlog.Verify(nil)
	require.ErrorIs(t, err, commitlog.ErrInvalidEntry)
}
