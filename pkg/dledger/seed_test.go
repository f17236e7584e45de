package dledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// TestLacks is the decision on which a log may be given up: it holds entries 0 to
// 4 of term 1 and 5 to 7 of term 3.
func TestLacks(t *testing.T) {
	log, err := commitlog.Open(commitlog.Config{
		Dir: t.TempDir(), ClusterID: "c", Group: "g", MemberID: "n1", SegmentBytes: 64 << 10,
	})
	require.NoError(t, err)
	s := &Server{ledger: log}
	require.True(t, s.Lacks(commitlog.Origin{Begin: 1, PrevTerm: 1}), "it is empty")
	appendNoops(t, log, 1, 0, 5)
	appendNoops(t, log, 3, 5, 3)
	for _, c := range []struct {
		at    commitlog.Origin
		lacks bool
		why   string
	}{
		{commitlog.Origin{Begin: 5, PrevTerm: 1}, false, "it has entry 4 of term 1"},
		{commitlog.Origin{Begin: 8, PrevTerm: 3}, false, "it ends where the leader begins"},
		{commitlog.Origin{Begin: 9, PrevTerm: 3}, true, "entry 8 is purged and not here"},
		{commitlog.Origin{Begin: 8, PrevTerm: 4}, true, "its entry 7 is not the committed one"},
		{commitlog.Origin{Begin: 5, PrevTerm: 2}, true, "it parted before entry 4"},
		{commitlog.Origin{Begin: 100, PrevTerm: 3}, true, "far behind"},
	} {
		require.Equal(t, c.lacks, s.Lacks(c.at), c.why)
	}
	require.NoError(t, log.Close())
	require.False(t, s.Lacks(commitlog.Origin{Begin: 8, PrevTerm: 3}), "a closed log still knows")
	require.True(t, s.Lacks(commitlog.Origin{Begin: 9, PrevTerm: 3}))
}

func appendNoops(t *testing.T, log *commitlog.Log, term commitlog.Term, first commitlog.Index, count int) {
	t.Helper()
	bodies := make([]commitlog.Body, count)
	for i := range bodies {
		bodies[i].Type = commitlog.TypeNoop
	}
	log.BecomeMaster(term)
	require.NoError(t, log.AppendMaster(term, first, bodies))
}
