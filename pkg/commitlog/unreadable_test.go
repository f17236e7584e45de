package commitlog_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// The disk cannot read what stands in a sealed segment that Open has trusted, and nobody else
// has it. Whoever meets that first gets the error; the next Open reads the segment and refuses
// to begin, also after a power cut, and changes nothing more.
func TestUnreadableSegmentIsReadByTheNextOpen(t *testing.T) {
	for name, meet := range map[string]func(l *commitlog.Log, base Index) error{
		"scrub": func(l *commitlog.Log, _ Index) error { return scrubAll(l) },
		"read": func(l *commitlog.Log, base Index) error {
			_, err := l.Read(base, base, 1<<20)
			return err
		},
		"truncate": func(l *commitlog.Log, base Index) error {
			l.BecomeSlave(1)
			return l.TruncateFrom(base + 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, all := outlinedLog(t)
			path := segmentFiles(fs)[1]
			base, ok := commitlog.ParseSegmentName(path)
			require.True(t, ok)
			bad := func(c crashfs.Call) crashfs.Fault {
				if c.Op == crashfs.OpRead && c.Path == path && c.Off < 8192 && c.Off+int64(c.Len) > 4096 {
					return crashfs.Fault{Err: syscall.EIO}
				}
				return crashfs.Fault{}
			}
			fs.SetFault(bad)
			l := mustOpen(t, config(fs))
			trusted := len(outlineFiles(fs))
			require.ErrorIs(t, meet(l, base), syscall.EIO)
			l.Abandon()
			require.Len(t, outlineFiles(fs), trusted-1)
			again := fs.CrashWith(crashfs.Loss{})
			again.SetFault(bad)
			_, err := commitlog.Open(config(again))
			require.ErrorIs(t, err, syscall.EIO)
			again.SetFault(nil)
			require.True(t, equalEntries(mustEntries(t, mustOpen(t, config(again))), all), "it was a cable")
		})
	}
}

// Blocks of sealed segments cannot be read, one after another and many at once, for ever or
// for a while. What is readable is right, what is not is known, and it comes back.
func TestUnreadableBlocks(t *testing.T) {
	logs := map[string]func() (*crashfs.FS, [][]byte){
		"read":     func() (*crashfs.FS, [][]byte) { return damagedLog(t, true) },
		"crashed":  func() (*crashfs.FS, [][]byte) { return damagedLog(t, false) },
		"outlined": func() (*crashfs.FS, [][]byte) { return outlinedLog(t) },
		"one term": func() (*crashfs.FS, [][]byte) { return plainLog(t) },
	}
	attempts := []int{-1, 1, 2, 4} // that fail
	if long(t) {
		attempts = []int{-1, 1, 2, 3, 4, 5, 6, 7, 8}
	}
	for name, make := range logs {
		t.Run(name, func(t *testing.T) {
			fs, all := make()
			counts, single := map[verdict]int{}, map[verdict]int{}
			paths := segmentFiles(fs)
			for _, path := range paths[:len(paths)-1] {
				data, err := fs.ReadFile(path)
				require.NoError(t, err)
				for from := int64(0); from < int64(len(data)); from += 4096 {
					for to := from + 4096; to <= int64(len(data)); to += 4096 {
						for _, reads := range attempts {
							bad := badSectors{path, from, to, reads, syscall.EIO}
							v, err := unread(fs.Clone(), bad, all)
							require.NoError(t, err, "%+v", bad)
							counts[v]++
							if to == from+4096 {
								single[v]++
							}
						}
					}
				}
			}
			require.Positive(t, counts[repaired])
			t.Logf("%v, of single blocks %v", counts, single)
			if name == "one term" {
				require.Zero(t, single[refused], "one block is never too much")
			}
		})
	}
}

// plainLog is a log of one term without truncations, which has no outlines.
func plainLog(t *testing.T) (*crashfs.FS, [][]byte) {
	t.Helper()
	fs := newFS()
	l := mustOpen(t, config(fs))
	for n := range 12 {
		appendN(t, l, 1, 3, 900+700*(n%3))
		mustSync(t, l)
	}
	all := mustEntries(t, l)
	l.Abandon()
	require.Empty(t, outlineFiles(fs))
	require.GreaterOrEqual(t, len(segmentFiles(fs)), 3)
	return fs, all
}

// The newest segment is written to: a disk that cannot read it is not lived with.
func TestUnreadableNewestSegment(t *testing.T) {
	fs, all := plainLog(t)
	paths := segmentFiles(fs)
	path := paths[len(paths)-1]
	for from := int64(0); from < 32<<10; from += 4096 {
		for _, reads := range []int{-1, 1} {
			disk := fs.Clone()
			v, err := unread(disk, badSectors{path, from, from + 4096, reads, syscall.EIO}, all)
			require.NoError(t, err)
			require.Equal(t, refused, v, "block at %d", from)
		}
	}
	disk := fs.Clone()
	disk.SetFault((&badSectors{path, 8192, 12288, -1, syscall.EIO}).hook)
	_, err := commitlog.Open(tolerant(disk))
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorContains(t, err, path+": from position 4096 on: input/output error. Mend that")
	l := mustOpen(t, tolerant(fs))
	bad := badSectors{path, 4096, 8192, -1, syscall.EIO}
	fs.SetFault(bad.hook)
	base, _ := commitlog.ParseSegmentName(path)
	_, err = l.Read(base, base, 1<<20)
	require.ErrorIs(t, err, syscall.EIO)
	require.Empty(t, l.Faulty())
}

// Errors which say that there is no device any more, or no file system to write to, and a
// device that reads nothing at all: nothing is damaged, there is no disk.
func TestNoDiskIsNoDamage(t *testing.T) {
	fs, _ := plainLog(t)
	path := segmentFiles(fs)[0]
	for _, errno := range []error{syscall.ENODEV, syscall.ENXIO, syscall.EUCLEAN, syscall.EBADMSG, syscall.EACCES, syscall.ESTALE} {
		disk := fs.Clone()
		l := mustOpen(t, tolerant(disk))
		bad := badSectors{path, 4096, 8192, -1, errno}
		disk.SetFault(bad.hook)
		_, err := l.Read(0, 0, 1<<20)
		require.ErrorIs(t, err, errno)
		require.ErrorIs(t, scrubAll(l), errno)
		require.Empty(t, l.Faulty())
		l.Abandon()
		_, err = commitlog.Open(tolerant(disk))
		require.ErrorIs(t, err, errno)
	}
	for _, errno := range []error{syscall.EIO, syscall.ENODATA, syscall.EILSEQ} {
		disk := fs.Clone()
		l := mustOpen(t, tolerant(disk))
		bad := badSectors{path, 4096, 8192, -1, errno}
		disk.SetFault(bad.hook)
		_, err := l.Read(0, 0, 1<<20)
		require.ErrorIs(t, err, commitlog.ErrFaulty)
		require.Contains(t, l.Faulty()[0].Why, errno.Error())
		l.Abandon()

		l = mustOpen(t, tolerant(fs.Clone()))
		dead := fs.Clone()
		l.Abandon()
		l = mustOpen(t, tolerant(dead))
		dead.SetFault(func(c crashfs.Call) crashfs.Fault {
			if c.Op == crashfs.OpRead {
				return crashfs.Fault{Err: errno}
			}
			return crashfs.Fault{}
		})
		_, err = l.Read(0, 0, 1<<20)
		require.ErrorIs(t, err, errno)
		require.Empty(t, l.Faulty())
		l.Abandon()
		_, err = commitlog.Open(tolerant(dead))
		require.ErrorIs(t, err, errno)
	}
}

// A truncation is cut short by a crash, and then its frame cannot be read. The log goes on as
// if it had never been begun. When the frame can be read again it condemns nothing.
func TestUnreadableTruncationComesBack(t *testing.T) {
	for _, blocks := range []int64{1, 2, 3} {
		fs, all := plainLog(t)
		l := mustOpen(t, config(fs))
		fs.SetFault(func(c crashfs.Call) crashfs.Fault {
			if c.Op == crashfs.OpRemove && strings.HasSuffix(c.Path, ".seg") {
				return crashfs.Fault{Err: crashfs.ErrPowerLoss}
			}
			return crashfs.Fault{}
		})
		l.BecomeSlave(1)
		require.ErrorIs(t, l.TruncateFrom(2), crashfs.ErrPowerLoss)
		l.Abandon()
		fs.SetFault(nil)
		path := segmentFiles(fs)[0]
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		end := int64(bytes.LastIndex(data, []byte("LMGF"))) + 4096
		bad := badSectors{path, end - blocks*4096, end, -1, syscall.EIO}

		v, err := unread(fs.Fork(), bad, all)
		if blocks == 3 { // entries, too: the Open after it reads the frame and finishes the truncation
			require.Equal(t, refused, v)
			require.EqualError(t, err, fmt.Sprintf("2 of %d entries", len(all)))
			continue
		}
		require.NoError(t, err, "%d blocks", blocks)
		require.Equal(t, unharmed, v)
	}
}

// A truncation makes a segment the newest again of which something cannot be read, be it that
// Open has to finish it: it is written to next, and refused.
func TestUnreadableSegmentBecomesTheNewest(t *testing.T) {
	for _, cutShort := range []bool{true, false} {
		fs, all := plainLog(t)
		l := mustOpen(t, tolerant(fs))
		fs.SetFault(func(c crashfs.Call) crashfs.Fault {
			if cutShort && c.Op == crashfs.OpRemove && strings.HasSuffix(c.Path, ".seg") {
				return crashfs.Fault{Err: crashfs.ErrPowerLoss}
			}
			return crashfs.Fault{}
		})
		l.BecomeSlave(1)
		require.Equal(t, cutShort, l.TruncateFrom(2) != nil)
		l.Abandon()
		fs.SetFault(nil)
		path := segmentFiles(fs)[0]
		require.True(t, fs.Spoil(path, 4096, true))
		_, err := commitlog.Open(tolerant(fs))
		require.ErrorIs(t, err, syscall.EIO)
		require.True(t, fs.Spoil(path, 4096, false))
		require.True(t, equalEntries(mustEntries(t, mustOpen(t, tolerant(fs))), all[:2]))
	}
}

// The seal of an old segment cannot be read. It is written anew, so that damage that comes later
// is told as ever: of a header before which no seal stands nobody could say anything.
func TestUnreadableSealIsWrittenAnew(t *testing.T) {
	fs, all := plainLog(t)
	paths := segmentFiles(fs)
	require.GreaterOrEqual(t, len(paths), 3)
	data, err := fs.ReadFile(paths[0])
	require.NoError(t, err)
	require.True(t, fs.Spoil(paths[0], int64(bytes.LastIndex(data, []byte("LMGF"))), true))
	l := mustOpen(t, tolerant(fs))
	require.Empty(t, l.Faulty())
	l.Abandon()
	fs = fs.CrashWith(crashfs.Loss{})
	require.True(t, fs.Flip(paths[1], 33, 1))
	l = mustOpen(t, tolerant(fs))
	require.Empty(t, l.Faulty())
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// What stands behind the seal cannot be read, and the next header, which would say that nothing
// does, is damaged too. It may be a truncation: the log is refused.
func TestUnreadableEndThatNobodyKnows(t *testing.T) {
	fs, _ := plainLog(t)
	paths, tried := segmentFiles(fs), 0
	for n, path := range paths[:len(paths)-1] {
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		behind := int64(bytes.LastIndex(data, []byte("LMGF"))) + 4096
		disk := fs.Clone()
		if !disk.Spoil(path, behind, true) {
			continue // the seal is its last block
		}
		one := mustOpen(t, tolerant(disk.Clone()))
		require.Empty(t, one.Faulty())
		require.True(t, disk.Flip(paths[n+1], 33, 1))
		_, err = commitlog.Open(tolerant(disk))
		require.True(t, refusal(err), "%v", err)
		tried++
	}
	require.Positive(t, tried)
}

// The repair file itself cannot be read: its entries are faulty again, and the file stays
// until there is another.
func TestUnreadableRepairFile(t *testing.T) {
	fs, all := plainLog(t)
	require.NoError(t, damage(fs, segmentFiles(fs)[0], 4096+100))
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	patch := ""
	for _, path := range fs.Files() {
		if strings.Contains(path, "repair-") {
			patch = path
		}
	}
	require.NotEmpty(t, patch)
	l.Abandon()
	l = mustOpen(t, tolerant(fs))
	bad := badSectors{patch, 0, 4096, -1, syscall.EIO}
	fs.SetFault(bad.hook)
	_, err := l.Read(0, 0, 1<<20)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	require.Contains(t, fs.Files(), patch)

	cable := mustOpen(t, tolerant(fs.Fork()))
	require.Empty(t, cable.Faulty())
	require.True(t, equalEntries(mustEntries(t, cable), all))
	still := fs.Fork()
	still.SetFault(bad.hook)
	again := mustOpen(t, tolerant(still))
	require.NotEmpty(t, again.Faulty())
	require.Contains(t, still.Files(), patch)
	bad.reads = 0 // the new one lies elsewhere
	require.NoError(t, repairAll(again, all))
	require.True(t, equalEntries(mustEntries(t, again), all))

	require.NoError(t, repairAll(l, all))
	require.True(t, equalEntries(mustEntries(t, l), all))
	l.Abandon()
	fs.SetFault(nil)
	l = mustOpen(t, tolerant(fs))
	require.Empty(t, l.Faulty())
}

// An unreadable block holds zeros only, in the middle of an entry. That a CRC over zeros would be
// right makes nothing readable.
func TestUnreadableZeros(t *testing.T) {
	for _, early := range []bool{true, false} {
		fs := newFS()
		l := mustOpen(t, config(fs))
		zero := make([]byte, 12<<10)
		binary.LittleEndian.PutUint32(zero, crc32.Checksum(zero[4:], crc32.MakeTable(crc32.Castagnoli)))
		l.BecomeMaster(1)
		require.NoError(t, l.AppendMaster(1, 0, []commitlog.Body{{Type: commitlog.TypeBatch, Bytes: zero}, body(1, 100)}))
		mustSync(t, l)
		for range 8 {
			appendN(t, l, 1, 2, 3000)
			mustSync(t, l)
		}
		all := mustEntries(t, l)
		l.Abandon()
		if !early {
			l = mustOpen(t, tolerant(fs))
		}
		require.True(t, fs.Spoil(segmentFiles(fs)[0], 8192, true))
		if early {
			l = mustOpen(t, tolerant(fs))
		}
		_, err := l.Read(0, 0, 1<<20)
		require.ErrorIs(t, err, commitlog.ErrFaulty)
		require.Len(t, l.Faulty(), 1)
		require.Equal(t, Index(0), l.Faulty()[0].Last)
		require.NoError(t, readAround(l, all))
		require.NoError(t, repairAll(l, all))
		require.True(t, equalEntries(mustEntries(t, l), all))
		l.Abandon()
		l = mustOpen(t, tolerant(fs.CrashWith(crashfs.Loss{})))
		require.Empty(t, l.Faulty())
		require.True(t, equalEntries(mustEntries(t, l), all))
	}
}

// What went well at the second attempt is no damage, and is not passed over in silence.
func TestHealedReadIsCounted(t *testing.T) {
	for name, meet := range map[string]func(l *commitlog.Log) error{
		"read":  func(l *commitlog.Log) error { _, err := l.Read(0, 0, 1<<20); return err },
		"scrub": scrubAll,
		"open":  nil,
	} {
		t.Run(name, func(t *testing.T) {
			fs, _ := plainLog(t)
			cfg := tolerant(fs)
			registry := prometheus.NewPedanticRegistry()
			cfg.Registerer = registry
			bad := badSectors{segmentFiles(fs)[0], 4096, 8192, 1, syscall.EIO}
			if meet == nil {
				fs.SetFault(bad.hook)
			}
			l := mustOpen(t, cfg)
			if meet != nil {
				fs.SetFault(bad.hook)
				require.NoError(t, meet(l))
			}
			require.Zero(t, bad.reads)
			require.Empty(t, l.Faulty())
			require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP broker_commitlog_read_errors_total Blocks of sealed segments that the disk could not read: healed at the second attempt, or unreadable.
# TYPE broker_commitlog_read_errors_total counter
broker_commitlog_read_errors_total{result="healed"} 1
`), "broker_commitlog_read_errors_total"))
		})
	}
}

// A disk that cannot read many blocks of a segment is not gone around block by block.
func TestTooManyUnreadableBlocks(t *testing.T) {
	fs := newFS()
	cfg := tolerant(fs)
	cfg.SegmentBytes = 2 << 20
	l := mustOpen(t, cfg)
	for range 40 {
		appendN(t, l, 1, 1, 64<<10)
		mustSync(t, l)
	}
	l.Abandon()
	path := segmentFiles(fs)[0]
	for n, want := range []int{256, 257} {
		for at := int64(n); at < int64(want); at++ {
			fs.Spoil(path, 4096*(1+at), true)
		}
		l, err := commitlog.Open(cfg)
		if want > 256 {
			require.ErrorIs(t, err, syscall.EIO)
			require.ErrorContains(t, err, "more than 256 blocks")
			break
		}
		require.NoError(t, err)
		require.NotEmpty(t, l.Faulty())
		l.Abandon()
	}
}

// A device that is gone makes no repair file unreadable either: the process ends.
func TestNoDiskIsNoDamageOfARepairFile(t *testing.T) {
	fs, all := plainLog(t)
	require.NoError(t, damage(fs, segmentFiles(fs)[0], 4096+100))
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	gone := true
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if gone && c.Op == crashfs.OpRead {
			return crashfs.Fault{Err: syscall.EIO}
		}
		return crashfs.Fault{}
	})
	_, err := l.Read(0, 0, 1<<20)
	require.ErrorIs(t, err, syscall.EIO)
	require.ErrorIs(t, scrubAll(l), syscall.EIO)
	gone = false
	require.Empty(t, l.Faulty())
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// A repair file that is read at the second attempt is no damage: Open uses it.
func TestRepairFileIsReadASecondTime(t *testing.T) {
	fs, all := plainLog(t)
	require.NoError(t, damage(fs, segmentFiles(fs)[0], 4096+100))
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	require.NoError(t, l.Close())
	tried := 0
	for _, path := range fs.Files() {
		if !strings.Contains(path, "repair-") {
			continue
		}
		tried++
		bad := badSectors{path, 0, 4096, 1, syscall.EIO}
		disk := fs.Fork()
		disk.SetFault(bad.hook)
		l := mustOpen(t, tolerant(disk))
		require.Zero(t, bad.reads)
		require.Empty(t, l.Faulty())
		require.True(t, equalEntries(mustEntries(t, l), all))
	}
	require.Positive(t, tried)
}
