package commitlog_test

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// Unsynced counts what an append added until a Sync has confirmed it, over many
// chunks of the tail, partial groups, truncations and failures.
func TestUnsynced(t *testing.T) {
	fs := newFS()
	cfg := config(fs)
	cfg.MaxGroupBytes = 2100
	l := mustOpen(t, cfg)
	require.Zero(t, l.Unsynced())
	const entry = 1000 + commitlog.HeaderBytes
	appendN(t, l, 1, 12, 1000)
	require.Equal(t, int64(12*entry), l.Unsynced())
	for left := 10; left >= 0; left -= 2 {
		_, err := l.Sync()
		require.NoError(t, err)
		require.Equal(t, int64(left*entry), l.Unsynced())
	}
	appendN(t, l, 1, 8, 1000)
	_, err := l.Sync()
	require.NoError(t, err)
	mustTruncate(t, l, 17) // 14 to 16 are left, in memory
	require.Equal(t, int64(3*entry), l.Unsynced())
	mustTruncate(t, l, 5) // below what is durable
	require.Zero(t, l.Unsynced())
	appendN(t, l, 1, 1, 1000)
	require.Equal(t, int64(entry), l.Unsynced())
	fs.FailFrom(1, syscall.EIO, func(c crashfs.Call) bool { return c.Op == crashfs.OpSync })
	_, err = l.Sync()
	require.ErrorIs(t, err, commitlog.ErrFailed)
	require.Equal(t, int64(entry), l.Unsynced())
	fs.SetFault(nil)
	l.Abandon()
	require.Zero(t, mustOpen(t, cfg).Unsynced())
}
