package commitlog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

func TestSegmentsAndAppendTimes(t *testing.T) {
	cfg := config(newFS())
	now := time.Unix(1_700_000_000, 0)
	cfg.Clock = func() time.Time { return now }
	l := mustOpen(t, cfg)
	for range 3 {
		appendN(t, l, 1, 2, 10_000) // one group fills a segment
		mustSync(t, l)
		now = now.Add(time.Hour)
	}
	require.NoError(t, l.PurgeBefore(2))
	all, err := l.Segments()
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, []Index{2, 3, 4, 5}, []Index{all[0].First, all[0].Last, all[1].First, all[1].Last})
	for _, s := range all {
		require.GreaterOrEqual(t, s.Bytes, int64(20_000))
	}
	at, err := l.AppendTime(3)
	require.NoError(t, err)
	require.Equal(t, time.Unix(1_700_003_600, 0), at)
	_, err = l.AppendTime(1)
	require.ErrorIs(t, err, commitlog.ErrPurged)
	_, err = l.AppendTime(6)
	require.ErrorIs(t, err, commitlog.ErrBeyondEnd)
	require.NoError(t, l.Close())
	_, err = l.Segments()
	require.ErrorIs(t, err, commitlog.ErrClosed)
}
