package commitlog_test

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// lostSync makes the n-th file sync from now fail and clean the pages: what it
// should have written is read from then on, but not on the disk.
func lostSync(fs *crashfs.FS, n int, left crashfs.Loss) (hit *bool) {
	hit = new(bool)
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpSync {
			n--
		}
		if c.Op != crashfs.OpSync || n != 0 {
			return crashfs.Fault{}
		}
		*hit = true
		return crashfs.Fault{Err: syscall.EIO, Clean: &left}
	})
	return hit
}

// The disk refuses one fdatasync, the process is started again, and then the
// power goes. What the second process reported durable is there: whatever the
// page cache still showed was written once more. Nor does what the second
// process wrote behind it make a false corruption of it.
func TestFailedSyncThenPowerCut(t *testing.T) {
	for _, pageCache := range []bool{false, true} {
		images := 0
		for n := 1; ; n++ {
			for seed := range uint64(4) {
				fs := newFS()
				cfg := config(fs)
				cfg.PageCache = pageCache
				rng := rand.New(rand.NewPCG(uint64(n), seed))
				left := crashfs.Loss{}
				if seed > 0 {
					left = crashfs.RandomLoss(rng)
				}
				hit := lostSync(fs, n, left)
				m := newModel()
				err := run(cfg, m, longHistory())
				if !*hit {
					require.NoError(t, err)
					break
				}
				fs.SetFault(nil)
				secondLife(t, fs, m, seed%2 == 1, rng)
				images++
				if t.Failed() {
					t.Fatalf("page cache %v, failed sync %d, seed %d: %v", pageCache, n, seed, err)
				}
			}
			if images < 4*n {
				break
			}
		}
		t.Logf("page cache %v: %d images", pageCache, images)
	}
}

// secondLife opens what kill -9 left, appends to it if told so, cuts the power
// and checks that nothing is lost of what it had reported durable.
func secondLife(t *testing.T, fs *crashfs.FS, m *model, appends bool, rng *rand.Rand) {
	t.Helper()
	l := mustOpen(t, config(fs))
	require.NoError(t, m.legal(l))
	if appends {
		appendN(t, l, 9, 2, 10)
		mustSync(t, l)
	}
	want := mustEntries(t, l)
	l.Abandon()
	for range 3 {
		after := mustOpen(t, config(fs.Crash(rng)))
		got := mustEntries(t, after)
		require.True(t, equalEntries(want, got), "%d entries were durable, %d are left", len(want), len(got))
		after.Abandon()
	}
}

// The same with the first failure's own recovery refused too, by the disk.
func TestFailedSyncDuringRecovery(t *testing.T) {
	for n := 1; ; n++ {
		fs := newFS()
		m := newModel()
		hit := lostSync(fs, n, crashfs.Loss{})
		err := run(config(fs), m, longHistory())
		if !*hit {
			require.NoError(t, err)
			return
		}
		for k := 1; *hit; k++ {
			again := fs.Fork()
			hit = lostSync(again, k, crashfs.Loss{})
			l, err := commitlog.Open(config(again))
			if err == nil {
				l.Abandon()
			}
			again.SetFault(nil)
			secondLife(t, again, m, true, rand.New(rand.NewPCG(uint64(n), uint64(k))))
		}
	}
}

// forgetful is a file system whose page cache drops, between the first and the
// second reading of the frames, what no sync had written: zeros come back.
type forgetful struct{ *crashfs.FS }

func (f forgetful) Open(path string) (commitlog.File, error) {
	file, err := f.FS.Open(path)
	return &forgetfulFile{File: file}, err
}

type forgetfulFile struct {
	commitlog.File
	reads int
}

func (f *forgetfulFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	if f.reads++; f.reads > 2 { // the segment header, the frames
		clear(p)
	}
	return n, err
}

// The page cache may drop what it showed before Open has written it again. Then
// Open reports nothing durable that it did not write, and changes nothing.
func TestPagesDroppedDuringRecovery(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 2, 5000)
	mustSync(t, l)
	l.Abandon()
	fs.Record(true)
	_, err := commitlog.Open(config(forgetful{fs}))
	require.ErrorContains(t, err, "for the second time")
	require.False(t, refusal(err), "%v", err)
	for _, c := range fs.Calls() {
		require.NotEqual(t, crashfs.OpWrite, c.Op)
	}
	requireCount(t, mustOpen(t, config(fs)), 2)
}

// A truncation over segment boundaries is killed before its frame is synced,
// and the power goes while the recovery is at work: the segments that the frame
// condemned are there as long as the frame is not on the disk.
func TestPowerCutWhileATruncationIsFinished(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	for range 3 {
		appendN(t, l, 1, 1, 20_000)
		mustSync(t, l)
	}
	l.BecomeSlave(1)
	fs.FailFrom(1, crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op == crashfs.OpSync })
	require.ErrorIs(t, l.TruncateFrom(0), crashfs.ErrPowerLoss)
	l.Abandon()
	for n := 1; ; n++ {
		again := fs.Fork()
		again.FailFrom(n, crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op.Changes() })
		l, err := commitlog.Open(config(again))
		after := mustOpen(t, config(again.CrashWith(crashfs.Loss{})))
		if err == nil {
			l.Abandon()
			requireCount(t, after, 0)
			return
		}
		require.Contains(t, []int{0, 3}, len(mustEntries(t, after)), "power cut at change %d", n)
	}
}
