package commitlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A reader that is late looks at the damage from before a repair. What it finds
// does not undo the repair.
func TestLateLookKeepsTheRepair(t *testing.T) {
	l, err := Open(Config{
		Dir: t.TempDir() + "/log", ClusterID: "c", Group: "g", MemberID: "n1",
		SegmentBytes: 64 << 10, TailCacheBytes: 1, TolerateDamage: true,
	})
	require.NoError(t, err)
	defer l.Abandon()
	l.BecomeMaster(1)
	for i := range 4 {
		body := bytes.Repeat([]byte{byte(i)}, 5000)
		binary.LittleEndian.PutUint32(body, crc32.Checksum(body[4:], castagnoli))
		require.NoError(t, l.AppendMaster(1, Index(i), []Body{{Type: TypeBatch, Bytes: body}}))
		_, err := l.Sync()
		require.NoError(t, err)
	}
	good, err := l.Read(1, 1, 1)
	require.NoError(t, err)
	seg := l.segments()[0]
	f, err := os.OpenFile(seg.path, os.O_RDWR, 0)
	require.NoError(t, err)
	data, err := os.ReadFile(seg.path)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte{0xFF}, int64(bytes.Index(data, good.Bytes)+100))
	require.NoError(t, err)
	require.NoError(t, f.Close())

	late, ok := l.beginLook(seg)
	require.True(t, ok)
	late.scanner.segment(&late.seg, late.end.pos, &late.end)
	_, err = l.Read(1, 1, 1)
	require.ErrorIs(t, err, ErrFaulty)
	require.NoError(t, l.Repair(1, func(Index, Index) ([]byte, error) { return good.Bytes, nil }))
	require.True(t, l.endLook(seg, late))
	require.Empty(t, l.Faulty())
	again, err := l.Read(1, 1, 1)
	require.NoError(t, err)
	require.Equal(t, good.Bytes, again.Bytes)
}

// The log is closed while a reader that has met a block which the disk cannot read asks whether
// the disk reads anything.
func TestClosedLogHasNoDisk(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir() + "/log", ClusterID: "c", Group: "g", MemberID: "n1", SegmentBytes: 64 << 10, TolerateDamage: true})
	require.NoError(t, err)
	require.NoError(t, l.diskAnswers(sectorErrors[0]))
	require.NoError(t, l.Close())
	require.ErrorIs(t, l.diskAnswers(sectorErrors[0]), os.ErrClosed)
}
