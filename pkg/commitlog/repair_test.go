package commitlog_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// hurtLog is a closed log with damage of several kinds: a body, an entry's
// header, a frame's header, a segment's header, a segment that is gone. It has no
// outlines, so that Open finds all of it.
func hurtLog(t *testing.T) (*crashfs.FS, [][]byte) {
	t.Helper()
	fs, all := hurtOutlinedLog(t)
	dropOutlines(t, fs)
	return fs, all
}

func hurtOutlinedLog(t *testing.T) (*crashfs.FS, [][]byte) {
	t.Helper()
	fs := newFS()
	cfg := config(fs)
	cfg.SegmentBytes = 20 << 10
	l := mustOpen(t, cfg)
	for n := range 17 {
		appendN(t, l, 1, 2+n%2, 1000)
		mustSync(t, l)
	}
	all := mustEntries(t, l)
	require.NoError(t, l.Close())
	files := fs.Files()
	require.GreaterOrEqual(t, len(files), 6)
	hurt := func(file string, at func(data []byte) int) {
		data, err := fs.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, damage(fs, file, int64(at(data))))
	}
	hurt(files[0], func(data []byte) int { return bytes.Index(data, all[1]) + 200 })
	hurt(files[0], func(data []byte) int { return bytes.Index(data, all[3]) + 9 })
	hurt(files[1], func([]byte) int { return 4096 + 20 })
	hurt(files[2], func([]byte) int { return 100 })
	require.NoError(t, fs.Remove(files[4]))
	require.NoError(t, fs.SyncDir(filepath.Dir(files[4])))
	return fs, all
}

func TestDamageOfEveryKind(t *testing.T) {
	for _, hurt := range []func(*testing.T) (*crashfs.FS, [][]byte){hurtLog, hurtOutlinedLog} {
		fs, all := hurt(t)
		_, err := commitlog.Open(config(fs.Fork()))
		require.True(t, refusal(err), "%v", err)
		v, err := judge(fs, all, 0)
		require.NoError(t, err)
		require.Equal(t, repaired, v)
		for _, path := range fs.Files() {
			require.NotContains(t, path, ".tmp")
		}
	}
}

// The power goes at every call of a repair: what is left is the fault or the
// repair, never a third thing.
func TestCrashDuringRepair(t *testing.T) {
	fs, all := hurtLog(t)
	l := mustOpen(t, tolerant(fs.Fork()))
	before := l.Faulty()
	l.Abandon()
	images, calls := 0, 0
	for done := false; !done; calls++ {
		disk := fs.Fork()
		l, err := commitlog.Open(tolerant(disk))
		require.NoError(t, err)
		disk.FailFrom(calls+1, crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op.Changes() })
		err = repairAll(l, all)
		done = err == nil
		require.True(t, done || errors.Is(err, crashfs.ErrPowerLoss), "%v", err)
		l.Abandon()
		for v := range 5 {
			image := crashDisk(disk, v, rand.New(rand.NewPCG(uint64(calls), uint64(v))))
			l, err := commitlog.Open(tolerant(image))
			require.NoError(t, err, "crash at change %d, variant %d", calls+1, v)
			require.NoError(t, readAround(l, all))
			for _, r := range l.Faulty() {
				require.Contains(t, before, r)
			}
			require.True(t, !done || len(l.Faulty()) == 0, "repaired, and faulty again after a crash")
			require.NoError(t, repairAll(l, all))
			require.True(t, equalEntries(mustEntries(t, l), all))
			l.Abandon()
			images++
		}
	}
	t.Logf("%d calls, %d images", calls-1, images)
}

// Every change that a repair makes fails once. The entries stay faulty or are
// repaired, the log is what it was.
func TestRepairFails(t *testing.T) {
	fs, all := hurtLog(t)
	for n := 1; ; n++ {
		disk := fs.Fork()
		l := mustOpen(t, tolerant(disk))
		failed, seen := false, 0
		disk.SetFault(func(c crashfs.Call) crashfs.Fault {
			if c.Op.Changes() {
				seen++
			}
			if failed || seen != n {
				return crashfs.Fault{}
			}
			failed = true
			return crashfs.Fault{Err: syscall.ENOSPC}
		})
		err := repairAll(l, all)
		require.NoError(t, readAround(l, all))
		l.Abandon()
		if !failed {
			require.NoError(t, err)
			return
		}
		disk.SetFault(nil)
		again := mustOpen(t, tolerant(disk))
		require.NoError(t, readAround(again, all))
		require.NoError(t, repairAll(again, all))
		again.Abandon()
		for _, path := range disk.Files() {
			require.False(t, strings.HasSuffix(path, ".tmp"), path)
		}
	}
}

// Copies that are not what was here are refused, and the entries stay faulty.
func TestWrongCopiesAreRefused(t *testing.T) {
	fs, all := hurtLog(t)
	l := mustOpen(t, tolerant(fs))
	other := newFS()
	stranger := mustOpen(t, config(other))
	for n := range 17 {
		appendN(t, stranger, 1, 2+n%2, 1001)
		mustSync(t, stranger)
	}
	wrong := mustEntries(t, stranger)
	before := l.Faulty()
	copies := map[string]commitlog.FetchEntries{
		"another history": peerCopy(wrong),
		"nothing":         func(Index, Index) ([]byte, error) { return nil, nil },
		"too much":        func(from, to Index) ([]byte, error) { return bytes.Join(all[from:to+2], nil), nil },
		"the wrong place": func(from, _ Index) ([]byte, error) { return all[from+1], nil },
		"damaged": func(from, to Index) ([]byte, error) {
			b := bytes.Join(all[from:to+1], nil)
			b[len(b)-1] ^= 1
			return b, nil
		},
		"unreachable": func(Index, Index) ([]byte, error) { return nil, syscall.ECONNREFUSED },
	}
	for name, fetch := range copies {
		for _, r := range before {
			require.Error(t, l.Repair(r.First, fetch), name)
		}
		require.Equal(t, before, l.Faulty(), name)
	}
	require.NoError(t, l.Repair(0, copies["nothing"]), "entry 0 is not faulty")
	require.NoError(t, repairAll(l, all))
}

// Damage that comes while the log is in use is met by a read, which makes it
// faulty; its neighbours are read, the end grows, a crash does not forget it.
func TestDamageWhileOpen(t *testing.T) {
	for _, active := range []bool{false, true} {
		fs := newFS()
		l := mustOpen(t, tolerant(fs))
		for range 4 {
			appendN(t, l, 1, 3, 3000)
			mustSync(t, l)
		}
		all := mustEntries(t, l)
		files := fs.Files()
		path, entry := files[0], Index(1)
		if active {
			path, entry = files[len(files)-1], Index(len(all)-1)
		}
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, damage(fs, path, int64(bytes.Index(data, all[entry])+100)))
		if active { // the newest entries are in memory: push them out
			appendN(t, l, 1, 1, 3000)
			all = append(all, nil)
			mustSync(t, l)
			f, err := l.Read(Index(len(all)-1), Index(len(all)-1), 1<<20)
			require.NoError(t, err)
			all[len(all)-1] = f.Bytes
		}
		_, err = l.Read(entry, entry, 1<<20)
		require.ErrorIs(t, err, commitlog.ErrFaulty)
		require.NoError(t, readAround(l, all))
		require.Equal(t, []Index{entry, entry}, []Index{l.Faulty()[0].First, l.Faulty()[0].Last})
		appendN(t, l, 1, 2, 100)
		mustSync(t, l)
		crashed := mustOpen(t, tolerant(fs.CrashWith(crashfs.Loss{})))
		require.Equal(t, l.Faulty()[0].First, crashed.Faulty()[0].First)
		require.NoError(t, l.Repair(entry, peerCopy(all)))
		got := mustEntries(t, l)
		require.True(t, equalEntries(got[:len(all)], all))
		again := mustOpen(t, tolerant(fs.CrashWith(crashfs.Loss{})))
		require.True(t, equalEntries(mustEntries(t, again), got))
	}
}

// Damage in the very last group, which nothing behind it proves durable: once it
// is known for damage, a crash must not make a torn tail of it.
func TestDamageInLastGroupWhileOpen(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, tolerant(fs))
	appendN(t, l, 1, 3, 3000) // the last one stays in memory
	mustSync(t, l)
	all := mustEntries(t, l)
	path := fs.Files()[0]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, damage(fs, path, int64(bytes.Index(data, all[0])+100)))
	_, err = l.Read(0, 0, 1)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	crashed := mustOpen(t, tolerant(fs.CrashWith(crashfs.Loss{})))
	require.Zero(t, crashed.Recovery().TornBytes)
	require.NoError(t, readAround(crashed, all))
	require.NoError(t, repairAll(crashed, all))
	require.True(t, equalEntries(mustEntries(t, crashed), all))
}

// A repair file that is damaged itself, at any byte, is of no use and no harm.
func TestFlippedRepairFile(t *testing.T) {
	fs, all := hurtLog(t)
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	l.Abandon()
	tried := 0
	for _, path := range fs.Files() {
		if !strings.HasSuffix(path, ".log") {
			continue
		}
		data, err := fs.ReadFile(path)
		require.NoError(t, err)
		for i := 0; i < len(data); i += 1 + i/70*9 {
			damaged := bytes.Clone(data)
			damaged[i] ^= 1 << (i % 8)
			disk := fs.Clone()
			disk.WriteFile(path, damaged)
			_, err := judge(disk, all, 0)
			require.NoError(t, err, "%s, byte %d", path, i)
			tried++
		}
	}
	require.Positive(t, tried)
	t.Logf("%d flips", tried)
	// And while it is in use.
	l = mustOpen(t, tolerant(fs))
	path := fs.Files()[len(fs.Files())-1]
	require.NoError(t, damage(fs, path, 64+100))
	_, err := entries(l)
	require.ErrorIs(t, err, commitlog.ErrFaulty)
	require.NoError(t, readAround(l, all))
	require.NoError(t, repairAll(l, all))
	require.True(t, equalEntries(mustEntries(t, l), all))
}

// A log that was repaired is whole, also for a program that tolerates nothing,
// as far as entries were damaged and not headers of segments.
func TestRepairedLogIsWhole(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 3, 2500)
	mustSync(t, l)
	appendN(t, l, 2, 3, 2500)
	mustSync(t, l)
	all := mustEntries(t, l)
	require.NoError(t, l.Close())
	data, err := fs.ReadFile(fs.Files()[0])
	require.NoError(t, err)
	require.NoError(t, damage(fs, fs.Files()[0], int64(bytes.Index(data, all[1])+100)))
	l = mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	l.Abandon()
	l = mustOpen(t, config(fs))
	require.True(t, equalEntries(mustEntries(t, l), all))
	// Truncation and purge go on as ever.
	mustTruncate(t, l, 2)
	require.True(t, equalEntries(mustEntries(t, l), all[:2]))
	l.Abandon()
	l = mustOpen(t, config(fs))
	require.True(t, equalEntries(mustEntries(t, l), all[:2]))
}

// Repair files go with the segments that needed them.
func TestPurgeRemovesRepairFiles(t *testing.T) {
	fs, all := hurtLog(t)
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	require.NoError(t, l.PurgeBefore(Index(len(all)-1)))
	for _, path := range fs.Files() {
		require.True(t, strings.HasSuffix(path, ".seg"), path)
	}
	rest := mustEntries(t, l)
	require.True(t, equalEntries(rest, all[l.Begin():]))
	l.Abandon()
	l = mustOpen(t, config(fs))
	require.True(t, equalEntries(mustEntries(t, l), rest))
}

// A truncation cannot be chained on to an entry that nobody can read: it is
// refused, and nothing has changed. Before and behind the damage it can.
func TestTruncateAroundDamage(t *testing.T) {
	for _, at := range []int{100, 9} { // in the bodies, in the headers
		truncateAround(t, at)
	}
}

func truncateAround(t *testing.T, at int) {
	t.Helper()
	build := func() (*commitlog.Log, *crashfs.FS, [][]byte) {
		fs := newFS()
		l := mustOpen(t, config(fs))
		appendN(t, l, 1, 6, 900)
		mustSync(t, l)
		all := mustEntries(t, l)
		require.NoError(t, l.Close())
		data, err := fs.ReadFile(fs.Files()[0])
		require.NoError(t, err)
		for _, i := range []int{2, 3} {
			require.NoError(t, damage(fs, fs.Files()[0], int64(bytes.Index(data, all[i])+at)))
		}
		return mustOpen(t, tolerant(fs)), fs, all
	}
	for from := Index(1); from <= 6; from++ {
		l, fs, all := build()
		require.Len(t, l.Faulty(), 1)
		l.BecomeSlave(1)
		err := l.TruncateFrom(from)
		if from == 3 && at == 9 {
			require.ErrorIs(t, err, commitlog.ErrFaulty)
			end, _ := l.End()
			require.Equal(t, Index(5), end)
			continue
		}
		require.NoError(t, err, "from %d", from)
		want := all[:from]
		require.NoError(t, readAround(l, want))
		l.Abandon()
		l = mustOpen(t, tolerant(fs))
		require.NoError(t, readAround(l, want))
		end, _ := l.End()
		require.Equal(t, from-1, end)
		require.NoError(t, repairAll(l, all))
		require.True(t, equalEntries(mustEntries(t, l), want))
	}
}

// A copy may continue the good entry before the damage and still not lead to the
// one behind it: it is of another history.
func TestCopyMustJoinBothSides(t *testing.T) {
	fs, all, other := forkedLog(t)
	l := mustOpen(t, tolerant(fs))
	require.Equal(t, Index(2), l.Faulty()[0].First)
	err := l.Repair(2, func(Index, Index) ([]byte, error) { return other[2], nil })
	require.ErrorIs(t, err, commitlog.ErrDivergence)
	require.Len(t, l.Faulty(), 1)
	require.NoError(t, readAround(l, all))
	require.NoError(t, repairAll(l, all))
}

// A repair file that was left by a history that is gone fits nothing, though it
// holds the same indexes.
func TestStaleRepairFile(t *testing.T) {
	fs, all, other := forkedLog(t)
	l := mustOpen(t, tolerant(fs))
	require.NoError(t, repairAll(l, all))
	mustTruncate(t, l, 2)
	for _, e := range other[2:] {
		require.NoError(t, l.AppendSlave(e))
		mustSync(t, l)
	}
	require.NoError(t, l.Close())
	path := fs.Files()[0]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, damage(fs, path, int64(bytes.Index(data, other[2])+100)))
	l = mustOpen(t, tolerant(fs))
	require.Equal(t, Index(2), l.Faulty()[0].First)
	require.NoError(t, readAround(l, other))
	require.NoError(t, repairAll(l, other))
	require.True(t, equalEntries(mustEntries(t, l), other))
}

// forkedLog is a closed log with entry 2 damaged, and what another leader would
// have written from entry 2 on.
func forkedLog(t *testing.T) (fs *crashfs.FS, all, other [][]byte) {
	t.Helper()
	fs = newFS()
	cfg := config(fs)
	cfg.SegmentBytes *= 2 // all of it is in one
	l := mustOpen(t, cfg)
	appendN(t, l, 1, 2, 500)
	mustSync(t, l)
	cfg.FS = fs.Fork()
	fork := mustOpen(t, cfg)
	for n, log := range []*commitlog.Log{l, fork} {
		appendN(t, log, 1, 1, 500+n)
		mustSync(t, log)
		appendN(t, log, 1, 2, 600)
		mustSync(t, log)
	}
	all, other = mustEntries(t, l), mustEntries(t, fork)
	require.NoError(t, l.Close())
	data, err := fs.ReadFile(fs.Files()[0])
	require.NoError(t, err)
	require.NoError(t, damage(fs, fs.Files()[0], int64(bytes.Index(data, all[2])+100)))
	return fs, all, other
}

// What a peer sends is taken only if it is what was here, whatever else it may be.
func FuzzRepair(f *testing.F) {
	fs := newFS()
	l := mustOpen(f, config(fs))
	appendN(f, l, 1, 2, 60)
	mustSync(f, l)
	appendN(f, l, 2, 3, 60)
	mustSync(f, l)
	all := mustEntries(f, l)
	require.NoError(f, l.Close())
	data, err := fs.ReadFile(fs.Files()[0])
	require.NoError(f, err)
	require.NoError(f, damage(fs, fs.Files()[0], int64(bytes.Index(data, all[3])+60)))
	f.Add(all[3])
	f.Add(all[2])
	f.Add(bytes.Join(all[3:], nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, sent []byte) {
		fixEntry(sent)
		l := mustOpen(t, tolerant(fs.Fork()))
		defer l.Abandon()
		err := l.Repair(3, func(Index, Index) ([]byte, error) { return sent, nil })
		if err != nil {
			require.Len(t, l.Faulty(), 1)
			return
		}
		require.Equal(t, all[3], sent)
		require.Empty(t, l.Faulty())
	})
}

// Whatever a repair file holds, it is used for what was here, or not at all.
func FuzzRepairFile(f *testing.F) {
	fs, all := hurtFuzz(f)
	l := mustOpen(f, tolerant(fs))
	require.NoError(f, repairAll(l, all))
	l.Abandon()
	for _, path := range fs.Files() {
		if strings.HasSuffix(path, ".log") {
			data, err := fs.ReadFile(path)
			require.NoError(f, err)
			f.Add(path, data)
		}
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		disk := fs.Clone()
		disk.WriteFile(filepath.Join(dir, filepath.Base(name)), data)
		if strings.HasSuffix(name, ".seg") {
			return
		}
		l, err := commitlog.Open(tolerant(disk))
		require.NoError(t, err)
		defer l.Abandon()
		require.NoError(t, readAround(l, all))
	})
}

// hurtFuzz is a closed log of one segment with one damaged entry.
func hurtFuzz(f *testing.F) (*crashfs.FS, [][]byte) {
	f.Helper()
	fs := newFS()
	l := mustOpen(f, config(fs))
	appendN(f, l, 1, 5, 60)
	mustSync(f, l)
	all := mustEntries(f, l)
	require.NoError(f, l.Close())
	data, err := fs.ReadFile(fs.Files()[0])
	require.NoError(f, err)
	require.NoError(f, damage(fs, fs.Files()[0], int64(bytes.Index(data, all[3])+60)))
	return fs, all
}
