package commitlog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// Zeros go where the log will go, each place once, half a segment ahead: in the active
// segment, then in the prepared one, which keeps them when it is its turn.
func TestZeroAhead(t *testing.T) {
	fs := crashfs.New()
	l := mustOpen(t, config(fs)) // segments of 8 blocks
	ahead := int64(1 << 30)
	zero := func() (offsets []int64, more bool) { return zeroAhead(t, l, fs, ahead) }
	all := func() (offsets []int64) {
		for {
			some, more := zero()
			offsets = append(offsets, some...)
			if !more {
				return offsets
			}
		}
	}
	l.BecomeMaster(1)
	appendN(t, l, 1, 1, 100)
	none, more := zero()
	require.Empty(t, none, "something waits to be written")
	require.True(t, more)
	mustSync(t, l) // block 1
	ahead = 2 << 12
	near, more := zero()
	require.Equal(t, []int64{2, 3}, near, "no further than it was told")
	require.True(t, more)
	none, more = zero()
	require.Empty(t, none)
	require.True(t, more, "for a longer distance there is something to do")
	ahead = 1 << 30
	first, more := zero()
	require.Equal(t, []int64{4, 5}, first)
	require.True(t, more)
	require.Equal(t, []int64(nil), all(), "no more than half a segment")
	require.False(t, signalled(l.NeedZeros()), "it was at it all the time")
	appendN(t, l, 1, 1, 4*4000)
	mustSync(t, l) // blocks 2 to 5
	require.True(t, signalled(l.NeedZeros()))
	require.Equal(t, []int64{6, 7}, all(), "not where the log is")
	require.NoError(t, l.PrepareSegment())
	some, more := zero()
	require.Equal(t, []int64{0, 1}, some, "the end of the half")
	require.True(t, more)
	require.Empty(t, all())
	appendN(t, l, 1, 1, 3*4000)
	mustSync(t, l) // rolls: header and blocks 1 to 3
	require.Equal(t, []int64{4, 5, 6, 7}, all())
	require.Empty(t, all())
	require.NoError(t, l.Close())
	none, more = zero()
	require.Empty(t, none)
	require.False(t, more)

	l = mustOpen(t, config(fs))
	l.BecomeMaster(1)
	appendN(t, l, 1, 1, 100)
	mustSync(t, l)
	require.Equal(t, []int64{6, 7}, all(), "what a segment of another life has ahead is not known")
	require.True(t, signalled(l.NeedZeros()))
	require.NoError(t, l.Seal()) // as it is
	mustTruncate(t, l, 1)        // back to a segment that was full
	require.Empty(t, all())
}

// zeroAhead writes three blocks of zeros at most and returns where they went.
func zeroAhead(t *testing.T, l *commitlog.Log, fs *crashfs.FS, ahead int64) (offsets []int64, more bool) {
	t.Helper()
	fs.Record(true)
	more, err := l.ZeroAhead(3<<12, ahead)
	require.NoError(t, err)
	for _, c := range fs.Calls() {
		require.Equal(t, crashfs.OpWrite, c.Op, "it syncs nothing")
		for at := c.Off; at < c.Off+int64(c.Len); at += 1 << 12 {
			offsets = append(offsets, at>>12)
		}
	}
	return offsets, more
}

// signalled says whether there was a signal, and takes it.
func signalled(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
