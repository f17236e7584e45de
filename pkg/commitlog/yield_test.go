package commitlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// A reader that is behind waits for its turn while the log is being written, and goes at
// once when it is not.
func TestOldEntriesAreReadAtThePace(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir(), ClusterID: "c", Group: "g", MemberID: "m", TailCacheBytes: 1 << 20})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	l.BecomeMaster(1)
	next := Index(0)
	write := func(size int) {
		t.Helper()
		body := bytes.Repeat([]byte("x"), size)
		binary.LittleEndian.PutUint32(body, crc32.Checksum(body[bodyCRCBytes:], castagnoli))
		require.NoError(t, l.AppendMaster(1, next, []Body{{Type: TypeBatch, Bytes: body}}))
		next++
		_, err := l.Sync()
		require.NoError(t, err)
	}
	for range 64 {
		write(60 << 10)
	}
	read := func() {
		t.Helper()
		f, err := l.Read(0, next-1, 1<<20)
		require.NoError(t, err)
		require.Equal(t, Index(0), f.First)
		require.LessOrEqual(t, len(f.Bytes), coldReadBytes)
		f.Release()
	}
	l.mu.Lock()
	l.mu.pace = pace{last: time.Now().Add(-time.Hour)}
	l.mu.Unlock()
	read()
	read()
	require.Zero(t, testutil.ToFloat64(l.metrics.yielded), "nothing is being written")
	require.Greater(t, testutil.ToFloat64(l.metrics.read[forClients]), 2.*(64<<10))

	large := next
	write(200 << 10)
	for range 32 {
		write(60 << 10) // until it has left the tail
	}
	noted := false
	for range 100 {
		write(100)
		f, err := l.Read(large, large, 0)
		require.NoError(t, err)
		f.Release()
		l.mu.Lock()
		noted = noted || l.mu.pace.window.read >= 200<<10
		l.mu.Unlock()
	}
	require.True(t, noted, "the pace hears of it")
	require.Zero(t, testutil.ToFloat64(l.metrics.yielded), "who asks for one entry does not wait")

	l.mu.Lock() // others are before it, and the log is being written
	l.mu.pace.last, l.mu.pace.free[forClients] = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	l.mu.Unlock()
	f, err := l.Read(large, large, 0)
	require.NoError(t, err)
	f.Release()
	require.Zero(t, testutil.ToFloat64(l.metrics.yielded), "who asks for one entry still does not")
	read()
	require.InDelta(t, maxPaceWait.Seconds(), testutil.ToFloat64(l.metrics.yielded), 1e-9)
}

// What was refused, and what was nothing, does not wait to be written: else the group that
// comes next would seem to have taken as long as the log was idle.
func TestOnlyWhatIsAppendedWaits(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir(), ClusterID: "c", Group: "g", MemberID: "m"})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	waits := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !l.mu.waitingSince.IsZero()
	}
	body := []byte{0, 0, 0, 0}
	require.ErrorIs(t, l.AppendMaster(1, 0, []Body{{Type: TypeBatch, Bytes: body}}), ErrNotMaster)
	require.False(t, waits())
	l.BecomeMaster(1)
	require.NoError(t, l.AppendMaster(1, 0, nil))
	require.False(t, waits())
	require.NoError(t, l.AppendMaster(1, 0, []Body{{Type: TypeBatch, Bytes: body}}))
	require.True(t, waits())
	_, err = l.Sync()
	require.NoError(t, err)
	require.False(t, waits())

	f, err := l.Read(0, 0, 1)
	require.NoError(t, err)
	require.ErrorIs(t, l.AppendSlave(f.Bytes), ErrNotSlave)
	l.BecomeSlave(1)
	require.Error(t, l.AppendSlave(f.Bytes), "it is here already")
	require.NoError(t, l.AppendSlave(nil))
	require.False(t, waits())
	require.NoError(t, l.TruncateFrom(0))
	require.NoError(t, l.AppendSlave(f.Bytes))
	require.True(t, waits())
}
