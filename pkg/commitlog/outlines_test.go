package commitlog_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// outlinedLog is a closed log of several segments and terms, with truncations in them;
// all segments but the last have outlines.
func outlinedLog(t *testing.T) (*crashfs.FS, [][]byte) {
	t.Helper()
	fs := newFS()
	cfg := config(fs)
	cfg.SegmentBytes = 20 << 10
	l := mustOpen(t, cfg)
	for n := range 4 {
		appendN(t, l, Term(1+3*n), 3, 1500)
		mustSync(t, l)
		appendN(t, l, Term(2+3*n), 3, 2500)
		mustSync(t, l)
		end, _ := l.End()
		mustTruncate(t, l, end-1)
		appendN(t, l, Term(3+3*n), 3, 100)
		mustSync(t, l)
	}
	all := mustEntries(t, l)
	require.NoError(t, l.Close())
	require.Len(t, outlineFiles(fs), len(segmentFiles(fs))-1)
	require.GreaterOrEqual(t, len(segmentFiles(fs)), 4)
	return fs, all
}

func segmentFiles(fs *crashfs.FS) (paths []string) {
	for _, path := range fs.Files() {
		if strings.HasSuffix(path, ".seg") {
			paths = append(paths, path)
		}
	}
	return paths
}

// A log whose segments have outlines opens as if it had been read, without reading more
// of them than their first block and their end.
func TestOutlinesAreTrusted(t *testing.T) {
	fs, all := outlinedLog(t)
	whole := config(fs.Clone())
	whole.ReadAll = true
	read := mustOpen(t, whole)
	require.Zero(t, read.Recovery().Trusted)

	fs.Record(true)
	l := mustOpen(t, config(fs))
	segments := segmentFiles(fs)
	require.Equal(t, len(segments)-1, l.Recovery().Trusted)
	perFile := map[string]int{}
	for _, c := range fs.Calls() {
		if c.Op == crashfs.OpRead {
			perFile[filepath.Base(c.Path)] += c.Len
		}
	}
	for _, path := range segments[:len(segments)-1] {
		require.LessOrEqual(t, perFile[filepath.Base(path)], 3*4096, path)
	}
	require.Equal(t, read.Runs(), l.Runs())
	require.Equal(t, read.Recovery().Entries, l.Recovery().Entries)
	require.True(t, equalEntries(mustEntries(t, l), all))
	for i := range all {
		ours, err := l.AppendTime(Index(i))
		require.NoError(t, err)
		theirs, err := read.AppendTime(Index(i))
		require.NoError(t, err)
		require.Equal(t, theirs, ours)
	}
}

// A log of an earlier version has none: it is read, and gets them when it is in use, but
// for the newest sealed segment, and all when it is closed.
func TestOldLogsGetOutlines(t *testing.T) {
	fs, all := outlinedLog(t)
	sealed := len(outlineFiles(fs))
	dropOutlines(t, fs)
	l := mustOpen(t, config(fs))
	require.Zero(t, l.Recovery().Trusted)
	<-l.NeedOutlines()
	require.NoError(t, writeOutlines(l))
	require.Len(t, outlineFiles(fs), sealed-1)
	l.Abandon()
	l = mustOpen(t, config(fs))
	require.Equal(t, sealed-1, l.Recovery().Trusted)
	require.NoError(t, l.Close())
	require.Len(t, outlineFiles(fs), sealed)
	l = mustOpen(t, config(fs))
	require.Equal(t, sealed, l.Recovery().Trusted)
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// noticed opens a damaged log that tolerates nothing. The damage is found by Open or by
// the scrub, and then by the next Open, or it did no harm.
func noticed(fs *crashfs.FS, all [][]byte) (found bool, err error) {
	l, err := commitlog.Open(config(fs))
	if refusal(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer l.Abandon()
	err = scrubAll(l)
	if err != nil && !refusal(err) {
		return false, err
	}
	if err == nil {
		got, err := entries(l)
		if err == nil && !equalEntries(got, all) {
			err = fmt.Errorf("%d entries of %d", len(got), len(all))
		}
		return false, err
	}
	l.Abandon()
	if _, err := commitlog.Open(config(fs)); !refusal(err) {
		return true, fmt.Errorf("found, and not found by the next Open: %w", err)
	}
	return true, nil
}

// Every byte of segments and outlines has a bit flipped. Nothing goes unnoticed; where it
// is tolerated, what is noticed is repaired.
func TestOutlinedFlips(t *testing.T) {
	isLong := long(t)
	fs, all := outlinedLog(t)
	counts, found, tried := map[verdict]int{}, 0, 0
	for _, path := range fs.Files() {
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		for i := range data {
			segment := strings.HasSuffix(path, ".seg")
			switch header := i%4096 <= 112; {
			case segment && isLong && !header && i%29 != 0, segment && !isLong && (i%5 != 0 || !header && i%485 != 0):
				continue
			}
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << (i % 8)
			disk := fs.Clone()
			disk.WriteFile(path, damaged)
			no, err := noticed(disk.Clone(), all)
			require.NoError(t, err, "%s, byte %d", path, i)
			v, err := judge(disk, all, 0)
			require.NoError(t, err, "%s, byte %d", path, i)
			require.True(t, segment || v == unharmed && !no, "a damaged outline did harm: %s, byte %d", path, i)
			counts[v]++
			tried++
			if no {
				found++
			}
		}
	}
	require.Positive(t, counts[repaired])
	t.Logf("%d flips: %d found where nothing is tolerated; else %d harmless, %d torn tails, %d repaired, %d refused, 0 undetected",
		tried, found, counts[unharmed], counts[torn], counts[repaired], counts[refused])
}

// Blocks of a sealed segment are lost, also those in which it ends.
func TestOutlinedLostBlocks(t *testing.T) {
	fs, all := outlinedLog(t)
	counts := map[verdict]int{}
	segments := segmentFiles(fs)
	for _, path := range append(segments[:len(segments)-1], outlineFiles(fs)...) {
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		for from := 0; from < len(data); from += 4096 {
			for to := from + 4096; to < len(data)+4096; to += 4096 {
				damaged := bytes.Clone(data)
				clear(damaged[from:min(to, len(data))])
				disk := fs.Clone()
				disk.WriteFile(path, damaged)
				_, err := noticed(disk.Clone(), all)
				require.NoError(t, err, "%s, blocks %d to %d", path, from, to)
				v, err := judge(disk, all, 0)
				require.NoError(t, err, "%s, blocks %d to %d", path, from, to)
				counts[v]++
			}
		}
	}
	require.Positive(t, counts[repaired])
	t.Logf("%v", counts)
}

// Outlines are cut off, made longer, or stand in for each other: the segments are read.
func TestOutlinesOfNoUse(t *testing.T) {
	fs, all := outlinedLog(t)
	outlines := outlineFiles(fs)
	opens := func(disk *crashfs.FS, trusted int, about string) {
		t.Helper()
		l := mustOpen(t, config(disk))
		require.Equal(t, trusted, l.Recovery().Trusted, about)
		require.True(t, equalEntries(mustEntries(t, l), all), about)
		require.Len(t, outlineFiles(disk), trusted, about)
		l.Abandon()
	}
	for n, path := range outlines {
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		for size := range data {
			disk := fs.Clone()
			disk.WriteFile(path, data[:size])
			opens(disk, len(outlines)-1, fmt.Sprintf("%s cut off at %d", path, size))
		}
		disk := fs.Clone()
		disk.WriteFile(path, append(bytes.Clone(data), 0))
		opens(disk, len(outlines)-1, "made longer")
		disk = fs.Clone()
		other, err := fs.ReadFile(outlines[(n+1)%len(outlines)])
		require.NoError(t, err)
		disk.WriteFile(path, other)
		opens(disk, len(outlines)-1, "another's")
		disk = fs.Clone()
		disk.WriteFile(filepath.Join(dir, fmt.Sprintf("outline-%020d.log", 77_000+n)), data)
		opens(disk, len(outlines), "of a segment that there is not")
	}
}

// An outline that says what a segment held before it was truncated is not believed,
// wherever it may come from.
func TestOutlineOfAnEarlierTime(t *testing.T) {
	fs, _ := outlinedLog(t)
	old := fs.Clone()
	l := mustOpen(t, config(fs))
	mustTruncate(t, l, 1)
	require.Empty(t, outlineFiles(fs), "those of the segments that are gone, too")
	l.Abandon()
	for _, path := range outlineFiles(old) {
		data, err := old.ReadFile(path)
		require.NoError(t, err)
		fs.WriteFile(path, data)
	}
	l = mustOpen(t, config(fs))
	requireCount(t, l, 1)
	for n := range 12 {
		appendN(t, l, 50, 2, 2000+n)
		mustSync(t, l)
	}
	all := mustEntries(t, l)
	l.Abandon()
	for _, path := range outlineFiles(old) {
		data, err := old.ReadFile(path)
		require.NoError(t, err)
		fs.WriteFile(path, data)
	}
	l = mustOpen(t, config(fs))
	require.Zero(t, l.Recovery().Trusted)
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// A crash between the removal of outlines and the frame that truncates, or before the
// segments behind it are gone: TestCrashAtEveryCall has them all. Here the frame is
// there, an old outline too, and the segments that it condemns.
func TestOutlineBesideACondemnedSegment(t *testing.T) {
	fs, all := outlinedLog(t)
	old := fs.Clone()
	l := mustOpen(t, config(fs))
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpRemove && strings.HasSuffix(c.Path, ".seg") {
			return crashfs.Fault{Err: crashfs.ErrPowerLoss}
		}
		return crashfs.Fault{}
	})
	l.BecomeSlave(1)
	require.ErrorIs(t, l.TruncateFrom(1), crashfs.ErrPowerLoss)
	l.Abandon()
	fs.SetFault(nil)
	require.Len(t, segmentFiles(fs), len(segmentFiles(old)))
	for _, path := range outlineFiles(old) {
		data, err := old.ReadFile(path)
		require.NoError(t, err)
		fs.WriteFile(path, data)
	}
	l = mustOpen(t, config(fs))
	require.Positive(t, l.Recovery().Truncated)
	require.Zero(t, l.Recovery().Trusted)
	require.True(t, equalEntries(mustEntries(t, l), all[:1]))
	require.Empty(t, outlineFiles(fs))
}

// What the scrub finds in a segment that Open had not read is found by the next Open
// too, whatever becomes of the process.
func TestDamageBehindAnOutline(t *testing.T) {
	fs, all := outlinedLog(t)
	path := segmentFiles(fs)[1]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	hurt := Index(-1)
	for i := range all {
		if at := bytes.Index(data, all[i]); at >= 0 {
			require.NoError(t, damage(fs, path, int64(at)+60))
			hurt = Index(i)
			break
		}
	}
	l := mustOpen(t, tolerant(fs))
	require.Empty(t, l.Faulty(), "Open does not read the segment")
	require.NoError(t, scrubAll(l))
	<-l.Damaged()
	require.Len(t, l.Faulty(), 1)
	require.Equal(t, hurt, l.Faulty()[0].First)
	l.Abandon()

	l = mustOpen(t, tolerant(fs.CrashWith(crashfs.Loss{})))
	require.Len(t, l.Faulty(), 1)
	_, err = commitlog.Open(config(fs.CrashWith(crashfs.Loss{})))
	require.True(t, refusal(err), "%v", err)
	require.NoError(t, repairAll(l, all))
	require.NoError(t, writeOutlines(l))
	require.NoError(t, l.Close())

	all = all[:len(all):len(all)]
	l = mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	require.NoError(t, l.Close())
	l = mustOpen(t, tolerant(fs)) // a repaired segment is gone around at every start
	require.Equal(t, len(segmentFiles(fs))-2, l.Recovery().Trusted)
	require.Empty(t, l.Faulty())
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// An outline that cannot be written is no failure of the log, nor one that somebody has
// removed.
func TestOutlinesFail(t *testing.T) {
	fs, all := outlinedLog(t)
	dropOutlines(t, fs)
	l := mustOpen(t, config(fs))
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpWrite && strings.Contains(c.Path, "outline-") {
			return crashfs.Fault{Err: crashfs.ErrPowerLoss}
		}
		return crashfs.Fault{}
	})
	require.ErrorIs(t, writeOutlines(l), crashfs.ErrPowerLoss)
	require.Empty(t, outlineFiles(fs))
	appendN(t, l, 60, 1, 10)
	mustSync(t, l)
	fs.SetFault(nil)
	require.NoError(t, writeOutlines(l))
	require.NotEmpty(t, outlineFiles(fs))
	dropOutlines(t, fs)
	mustTruncate(t, l, 2)
	require.True(t, equalEntries(mustEntries(t, l), all[:2]))
}

// A segment and its outline come from an old copy of the directory. The next segment says
// that it is not the one that it follows.
func TestOldCopyOfASegment(t *testing.T) {
	fs, _ := outlinedLog(t)
	old := fs.Clone()
	l := mustOpen(t, config(fs))
	mustTruncate(t, l, 1)
	for n := range 12 {
		appendN(t, l, 50, 2, 2000+n)
		mustSync(t, l)
	}
	require.NoError(t, l.Close())
	first := segmentFiles(fs)[0]
	for _, path := range []string{first, outlineFiles(fs)[0]} {
		data, err := old.ReadFile(path)
		require.NoError(t, err)
		fs.WriteFile(path, data)
	}
	_, err := commitlog.Open(config(fs))
	var corruption *commitlog.CorruptionError
	require.ErrorAs(t, err, &corruption)
	require.Equal(t, first, corruption.Path)
}

// While an outline is written its segment is truncated and filled again. The outline is
// not that of what stands there now, and gets no name.
func TestOutlineThatIsOvertaken(t *testing.T) {
	fs, _ := outlinedLog(t)
	dropOutlines(t, fs)
	l := mustOpen(t, config(fs))
	done := false
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpSync && strings.Contains(c.Path, "outline-") && !done {
			done = true
			mustTruncate(t, l, 1)
			appendN(t, l, 50, 1, 30_000)
			mustSync(t, l)
			require.Len(t, segmentFiles(fs), 2)
			require.Empty(t, outlineFiles(fs)[1:], "the one that is being written")
		}
		return crashfs.Fault{}
	})
	require.NoError(t, writeOutlines(l))
	require.True(t, done)
	require.Empty(t, outlineFiles(fs))
	all := mustEntries(t, l)
	require.NoError(t, l.Close())
	l = mustOpen(t, config(fs))
	require.Equal(t, 1, l.Recovery().Trusted)
	require.True(t, equalEntries(mustEntries(t, l), all))
}
