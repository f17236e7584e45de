package broker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// rewriteState makes the state of a broker that is down anew, from the entries of its
// ledger as change changes them. It returns the last one.
func (n *node) rewriteState(change func(*state.Entry)) (end commitlog.Index) {
	n.t.Helper()
	log, err := commitlog.Open(commitlog.Config{
		Dir: filepath.Join(n.cfg.Node.Data, ledgerDir, "commitlog"), ClusterID: "ledgermq", Group: group, MemberID: "n1",
		SegmentBytes: int64(mebibyte),
	})
	require.NoError(n.t, err)
	end, _ = log.End()
	dir := filepath.Join(n.cfg.Node.Data, stateDir)
	require.NoError(n.t, os.RemoveAll(dir))
	store, err := state.Open(state.Config{Dir: dir})
	require.NoError(n.t, err)
	for next := commitlog.Index(0); next <= end; {
		frame, err := log.Read(next, end, 1<<20)
		require.NoError(n.t, err)
		entries, err := entriesOf(frame, nil)
		require.NoError(n.t, err)
		for i := range entries {
			change(&entries[i])
		}
		_, err = store.Apply(entries)
		require.NoError(n.t, err)
		next = frame.Last + 1
	}
	require.NoError(n.t, store.Close())
	require.NoError(n.t, log.Close())
	return end
}

// The entry whose stamp is the newest may be purged, or have come as part of a seed:
// the state knows it, and the ledger goes on from there, whatever the wall clock says.
func TestStampsGoOnFromTheState(t *testing.T) {
	n, _ := startFilled(t)
	far := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	end := n.rewriteState(func(e *state.Entry) { e.AppendTimeUnixNano = far.UnixNano() })
	n.restart()
	n.await("serving", func(v leaderView) bool { return v.serving != nil })
	at, err := n.b.ledger.AppendTime(end + 1)
	require.NoError(t, err)
	require.Equal(t, far, at.UTC())
}

// A state of another history is as good as a corrupt one: where the ledger is whole,
// the next start builds it anew.
func TestStateOfAnotherHistoryIsBuiltAnew(t *testing.T) {
	n, want := startFilled(t)
	n.rewriteState(func(e *state.Entry) { e.Term += 50 })
	n.restart()
	err := <-n.done
	require.ErrorIs(t, err, errOtherHistory)
	require.ErrorContains(t, err, "not of one history")
	n.restart()
	n.await("serving", func(v leaderView) bool { return v.serving != nil })
	require.Equal(t, want, n.pullAll("t", 0))
}
