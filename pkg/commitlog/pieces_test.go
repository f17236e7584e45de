package commitlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// gapLog is a closed log whose entries 2 to 6 of 9 are one gap.
func gapLog(t *testing.T) (*crashfs.FS, [][]byte) {
	t.Helper()
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 9, 900)
	mustSync(t, l)
	all := mustEntries(t, l)
	require.NoError(t, l.Close())
	hurtHeaders(t, fs, all, 2, 6)
	return fs, all
}

// hurtHeaders damages the headers of entries: they are one gap.
func hurtHeaders(t *testing.T, fs *crashfs.FS, all [][]byte, first, last Index) {
	t.Helper()
	hurt := Index(0)
	for _, path := range fs.Files() {
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		for i := first; i <= last; i++ {
			if at := bytes.Index(data, all[i]); at >= 0 && strings.HasSuffix(path, ".seg") {
				require.NoError(t, damage(fs, path, int64(at+9)))
				hurt++
			}
		}
	}
	require.Equal(t, last-first+1, hurt)
}

// copiesBut fetches from a copy that lacks some entries.
func copiesBut(all [][]byte, lacks func(Index) bool) commitlog.FetchEntries {
	return func(from, to Index) ([]byte, error) {
		last := from
		if lacks(from) {
			for last < to && lacks(last+1) {
				last++
			}
			return nil, &commitlog.NoCopyError{First: from, Last: last}
		}
		if last < to && !lacks(last+1) {
			last++
		}
		return bytes.Join(all[from:last+1], nil), nil
	}
}

// faulty lists the faulty entries.
func faulty(l *commitlog.Log) (all []Index) {
	for _, r := range l.Faulty() {
		for i := r.First; i <= r.Last; i++ {
			all = append(all, i)
		}
	}
	return all
}

// Whatever part of a gap nobody has, the rest is put back: now, after a crash,
// and when the missing part turns up later, in two pieces.
func TestRepairInPieces(t *testing.T) {
	fs, all := gapLog(t)
	for lost := range 1 << 5 {
		disk := fs.Fork()
		l := mustOpen(t, tolerant(disk))
		require.Equal(t, []Index{2, 3, 4, 5, 6}, faulty(l))
		lacks := func(i Index) bool { return lost>>(i-2)&1 == 1 }
		var want []Index
		for i := Index(2); i <= 6; i++ {
			if lacks(i) {
				want = append(want, i)
			}
		}
		err := l.Repair(2, copiesBut(all, lacks))
		var gone *commitlog.NoCopyError
		require.Equal(t, lost != 0, errors.As(err, &gone), "%v", err)
		require.Equal(t, want, faulty(l))
		require.NoError(t, readAround(l, all))
		l.Abandon()
		l = mustOpen(t, tolerant(disk.CrashWith(crashfs.Loss{})))
		require.Equal(t, want, faulty(l), "after a crash")
		require.NoError(t, readAround(l, all))
		l.Abandon()
		l = mustOpen(t, tolerant(disk))
		for _, r := range l.Faulty() { // the first of each run turns up, then the rest
			_ = l.Repair(r.First, copiesBut(all, func(i Index) bool { return i > r.First }))
			require.NoError(t, readAround(l, all))
		}
		again := mustOpen(t, tolerant(disk.Fork()))
		require.Equal(t, faulty(l), faulty(again))
		require.NoError(t, readAround(again, all))
		require.NoError(t, repairAll(l, all))
		l.Abandon()
		l = mustOpen(t, config(disk))
		require.True(t, equalEntries(mustEntries(t, l), all))
		l.Abandon()
	}
}

// A peer that goes away in the middle leaves what it has brought.
func TestRepairKeepsWhatCame(t *testing.T) {
	fs, all := gapLog(t)
	l := mustOpen(t, tolerant(fs))
	err := l.Repair(2, func(from, _ Index) ([]byte, error) {
		if from > 4 {
			return nil, syscall.ECONNRESET
		}
		return all[from], nil
	})
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.Equal(t, []Index{5, 6}, faulty(l))
	require.NoError(t, readAround(l, all))
	require.NoError(t, repairAll(l, all))
}

// A piece in the middle, with nothing beside it, is of the right entries or refused.
func TestLoosePieceOfAnotherTerm(t *testing.T) {
	fs, all := gapLog(t)
	other := newFS()
	stranger := mustOpen(t, config(other))
	appendN(t, stranger, 2, 9, 900)
	mustSync(t, stranger)
	wrong := mustEntries(t, stranger)
	l := mustOpen(t, tolerant(fs))
	err := l.Repair(2, func(from, to Index) ([]byte, error) {
		if from == 4 {
			return wrong[4], nil
		}
		return nil, &commitlog.NoCopyError{First: from, Last: from}
	})
	require.ErrorIs(t, err, commitlog.ErrDivergence)
	require.Equal(t, []Index{2, 3, 4, 5, 6}, faulty(l))
	require.NoError(t, repairAll(l, all))
}

// A piece that was left by a history which parted within the gap joins in front of
// it, and is not of this history.
func TestStalePiece(t *testing.T) {
	fs, all := gapLog(t)
	l := mustOpen(t, tolerant(fs))
	require.Error(t, l.Repair(2, copiesBut(all, func(i Index) bool { return i > 4 })))
	require.Equal(t, []Index{5, 6}, faulty(l))
	mustTruncate(t, l, 3)
	require.NoError(t, l.AppendSlave(otherEntries(t, all[:3], 6)))
	mustSync(t, l)
	now := mustEntries(t, l)
	require.NoError(t, l.Close())
	hurtHeaders(t, fs, now, 3, 6) // the same indexes, of the new history
	l = mustOpen(t, tolerant(fs))
	require.Equal(t, []Index{3, 4, 5, 6}, faulty(l))
	require.NoError(t, readAround(l, now))
	require.NoError(t, repairAll(l, now))
	require.True(t, equalEntries(mustEntries(t, l), now))
}

// otherEntries are n entries that continue a history, not as gapLog does.
func otherEntries(t *testing.T, before [][]byte, n int) []byte {
	t.Helper()
	l := mustOpen(t, config(newFS()))
	l.BecomeSlave(1)
	require.NoError(t, l.AppendSlave(bytes.Join(before, nil)))
	appendN(t, l, 1, n, 901)
	mustSync(t, l)
	return bytes.Join(mustEntries(t, l)[len(before):], nil)
}

// A truncation within a gap waits for what comes before it, and for no more. What
// the repair file then holds is part of what the truncation was chained to; also
// without it the log can be opened.
func TestTruncateWithinGap(t *testing.T) {
	for from := Index(4); from <= 6; from++ {
		fs, all := gapLog(t)
		l := mustOpen(t, tolerant(fs))
		l.BecomeSlave(1)
		require.ErrorIs(t, l.TruncateFrom(from), commitlog.ErrFaulty)
		require.ErrorAs(t, l.Repair(2, copiesBut(all, func(i Index) bool { return i >= from })), new(*commitlog.NoCopyError))
		require.NoError(t, l.TruncateFrom(from))
		appendN(t, l, 2, 2, 700)
		mustSync(t, l)
		want := mustEntries(t, l)
		require.True(t, equalEntries(want[:from], all[:from]))
		for _, disk := range []*crashfs.FS{fs.CrashWith(crashfs.Loss{}), fs} {
			again := mustOpen(t, tolerant(disk))
			require.True(t, equalEntries(mustEntries(t, again), want))
			again.Abandon()
		}
		l.Abandon()
		for _, path := range fs.Files() {
			if strings.HasSuffix(path, ".log") {
				require.NoError(t, fs.Remove(path))
			}
		}
		l = mustOpen(t, tolerant(fs))
		require.NotEmpty(t, faulty(l))
		require.Less(t, faulty(l)[len(faulty(l))-1], from)
		require.NoError(t, readAround(l, want))
		require.NoError(t, repairAll(l, want))
		require.True(t, equalEntries(mustEntries(t, l), want))
		l.Abandon()
	}
}

// A repair does not take the last space of the disk. What there was room for stays.
func TestRepairAsksForSpace(t *testing.T) {
	fs, all := gapLog(t)
	cfg := tolerant(fs)
	left := 2500
	var asked []int64
	cfg.MayGrow = func(n int64) error {
		asked = append(asked, n)
		if int(n) > left {
			return fmt.Errorf("it is reserved: %w", syscall.ENOSPC)
		}
		left -= int(n)
		return nil
	}
	l := mustOpen(t, cfg)
	err := l.Repair(2, peerCopy(all))
	require.ErrorIs(t, err, commitlog.ErrNoSpace)
	require.NotEmpty(t, asked)
	require.Equal(t, []Index{4, 5, 6}, faulty(l))
	require.NoError(t, readAround(l, all))
	left = 1 << 20
	require.NoError(t, repairAll(l, all))
}

// A repair file that is damaged itself is deleted: by the read that finds it, or by
// the next start. One of a later version is somebody else's.
func TestDamagedRepairFileIsDeleted(t *testing.T) {
	fs, all := gapLog(t)
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, l.Repair(2, peerCopy(all)))
	path := filepath.Join(dir, fmt.Sprintf("repair-%020d-%020d.log", 2, 6))
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, damage(fs, path, 64+100))
	_, err = l.Read(2, 2, 1<<20)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	require.NotContains(t, fs.Files(), path)
	l.Abandon()

	fs.WriteFile(path, data[:len(data)-1])
	l = mustOpen(t, tolerant(fs))
	require.NotContains(t, fs.Files(), path)
	require.Equal(t, []Index{2, 3, 4, 5, 6}, faulty(l))
	l.Abandon()

	later := bytes.Clone(data)
	later[8] = 9
	putCRC(later[:64])
	fs.WriteFile(path, later)
	l = mustOpen(t, tolerant(fs))
	require.Contains(t, fs.Files(), path)
	require.NoError(t, repairAll(l, all))
}

// Files of the first version hold whole gaps, and are read.
func TestRepairFileOfTheFirstVersion(t *testing.T) {
	fs, all := gapLog(t)
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, l.Repair(2, peerCopy(all)))
	l.Abandon()
	path := filepath.Join(dir, fmt.Sprintf("repair-%020d-%020d.log", 2, 6))
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	data[8] = 1
	clear(data[48:60])
	putCRC(data[:64])
	fs.WriteFile(path, data)
	l = mustOpen(t, config(fs))
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// putCRC makes the CRC at the end of a header right.
func putCRC(header []byte) {
	n := len(header) - 4
	binary.LittleEndian.PutUint32(header[n:], crc32.Checksum(header[:n], crc32.MakeTable(crc32.Castagnoli)))
}
