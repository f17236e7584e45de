package commitlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// The history itself, and how many calls it makes.
func TestHistory(t *testing.T) {
	fs := newFS()
	m := newModel()
	require.NoError(t, run(config(fs), m, longHistory()))
	all, err := reopen(fs, m)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	t.Logf("%d calls, %d entries left", fs.Count(), len(all))
}

// crashAt plays the history until call n, cuts the power there (before the
// call, or after it) and returns what is on the disk as programs saw it.
func crashAt(cfg commitlog.Config, fs *crashfs.FS, n int, after bool) (*model, error) {
	m := newModel()
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.N < n || after && c.N == n {
			return crashfs.Fault{}
		}
		return crashfs.Fault{Err: crashfs.ErrPowerLoss}
	})
	err := run(cfg, m, longHistory())
	fs.PowerOff()
	return m, err
}

// The power goes at every call of a history; what the disk then has is one of
// several subsets of what was not synced. The log that comes back is legal, and
// comes back the same a second time.
func TestCrashAtEveryCall(t *testing.T) {
	variants, trusted := 5, trustedImages.Load()
	if long(t) {
		variants = 40
	}
	for _, pageCache := range []bool{false, true} {
		calls, images := 0, 0
		for done := false; !done; calls++ {
			done = true
			for _, after := range []bool{false, true} {
				fs := newFS()
				cfg := config(fs)
				cfg.PageCache = pageCache
				m, err := crashAt(cfg, fs, calls+1, after)
				done = done && err == nil
				if pageCache {
					m.durable = 0 // nothing is promised but a prefix
				}
				for v := range variants {
					rng := rand.New(rand.NewPCG(uint64(calls), uint64(v)))
					err := sameTwice(crashDisk(fs, v, rng), m)
					require.NoError(t, err, "page cache: %v, crash at call %d, after it: %v, variant %d", pageCache, calls+1, after, v)
					images++
				}
			}
		}
		now := trustedImages.Load()
		require.Greater(t, now, trusted, "no outline was trusted")
		t.Logf("page cache: %v, %d calls, %d images, %d with segments that were not read", pageCache, calls-1, images, now-trusted)
		trusted = now
	}
}

// sameTwice opens what a crash left, twice.
func sameTwice(disk *crashfs.FS, m *model) error {
	found := disk.Clone()
	first, err := reopen(disk, m)
	if err != nil {
		return err
	}
	second, err := reopen(disk.CrashWith(crashfs.Loss{}), m)
	if err != nil {
		return fmt.Errorf("the second time: %w", err)
	}
	if !equalEntries(first, second) {
		return errors.New("not the same twice")
	}
	return sameOtherwise(found, first)
}

// sameOtherwise opens it as a member with peers does, for what a crash left is no damage,
// and without trusting any outline.
func sameOtherwise(disk *crashfs.FS, want [][]byte) error {
	var runs [2][]commitlog.Run
	for n, readAll := range []bool{false, true} {
		cfg := tolerant(disk.Clone())
		cfg.ReadAll = readAll
		l, err := commitlog.Open(cfg)
		if err != nil {
			return fmt.Errorf("read all %v: %w", readAll, err)
		}
		got, err := entries(l)
		runs[n] = l.Runs()
		trusted := l.Recovery().Trusted
		l.Abandon()
		switch {
		case err != nil:
			return fmt.Errorf("read all %v: %w", readAll, err)
		case !equalEntries(want, got):
			return fmt.Errorf("read all %v: not the same", readAll)
		case readAll && trusted > 0:
			return errors.New("read all, and trusted an outline")
		}
		trustedImages.Add(int64(min(trusted, 1)))
	}
	if !slices.Equal(runs[0], runs[1]) {
		return fmt.Errorf("the terms are %v, those in the entries %v", runs[0], runs[1])
	}
	return nil
}

// trustedImages counts the crash images in which a segment was not read.
var trustedImages atomic.Int64

// crashDisk is the disk after the cut: nothing unsynced, all of it, some of it
// with garbage where the rest was being written, or chance.
func crashDisk(fs *crashfs.FS, variant int, rng *rand.Rand) *crashfs.FS {
	switch variant {
	case 0:
		return fs.CrashWith(crashfs.Loss{})
	case 1:
		return fs.CrashWith(crashfs.Loss{
			KeepSector: func(string, int64) bool { return true },
			KeepSize:   func(string) bool { return true },
			KeepDirOp:  func(int) bool { return true },
		})
	case 2:
		coin := func() bool { return rng.IntN(2) == 0 }
		return fs.CrashWith(crashfs.Loss{
			Sector:     512,
			KeepSector: func(string, int64) bool { return coin() },
			KeepSize:   func(string) bool { return coin() },
			KeepDirOp:  func(int) bool { return coin() },
			Scramble: func(b []byte) {
				for i := range b {
					b[i] = byte(rng.Uint32())
				}
			},
		})
	}
	return fs.Crash(rng)
}

// The power goes again at every call of the recovery.
func TestCrashDuringRecovery(t *testing.T) {
	stride := 7
	if long(t) {
		stride = 1
	}
	images := 0
	for n := 1; ; n += stride {
		fs := newFS()
		m, err := crashAt(config(fs), fs, n, true)
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		disk := fs.Crash(rng)
		want, openErr := reopen(disk.Clone(), m)
		require.NoError(t, openErr, "crash at call %d", n)
		for k := 1; ; k++ {
			again := disk.Clone()
			again.FailFrom(k, crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op.Changes() })
			l, err := commitlog.Open(config(again))
			if err == nil {
				l.Abandon()
				break
			}
			require.ErrorIs(t, err, crashfs.ErrPowerLoss)
			got, err := reopen(again.Crash(rng), m)
			require.NoError(t, err, "crash at call %d, then at change %d of the recovery", n, k)
			require.True(t, equalEntries(want, got), "crash at call %d, then at change %d of the recovery", n, k)
			images++
		}
		if err == nil {
			t.Logf("%d images", images)
			return
		}
	}
}

// The same after kill -9: the recovery finds in the page cache what the disk
// does not have yet, and loses it at any of its calls. If it comes to its end,
// what it found is on the disk.
func TestCrashDuringRecoveryAfterKill(t *testing.T) {
	stride := 5
	if long(t) {
		stride = 1
	}
	images := 0
	for _, pageCache := range []bool{false, true} {
		for n := stride; ; n += stride {
			fs := newFS()
			cfg := config(fs)
			cfg.PageCache = pageCache
			m, err := crashAt(cfg, fs, n, true)
			want, openErr := reopen(fs.Fork(), m)
			require.NoError(t, openErr, "killed at call %d", n)
			if pageCache {
				m.durable = 0
			}
			images += cutRecovery(t, fs, m, want, uint64(n))
			if err == nil {
				break
			}
		}
	}
	t.Logf("%d images", images)
}

// cutRecovery cuts the power at every change that the recovery makes.
func cutRecovery(t *testing.T, killed *crashfs.FS, m *model, want [][]byte, seed uint64) (images int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 3))
	for k := 1; ; k++ {
		again := killed.Fork()
		again.FailFrom(k, crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op.Changes() })
		l, err := commitlog.Open(config(again))
		if err == nil {
			l.Abandon()
		} else {
			require.ErrorIs(t, err, crashfs.ErrPowerLoss)
		}
		for _, disk := range []*crashfs.FS{again.CrashWith(crashfs.Loss{}), again.Crash(rng)} {
			got, openErr := reopen(disk, m)
			require.NoError(t, openErr, "killed at call %d, power cut at change %d of the recovery", seed, k)
			require.True(t, err != nil || equalEntries(want, got), "killed at call %d, power cut after the recovery", seed)
			images++
		}
		if err == nil {
			return images
		}
	}
}

// One group is written and the power goes: every subset of its sectors, the
// lost ones holding what was there before, zeros, or garbage. A frame is there as
// a whole or not at all, and only behind those before it.
func TestTornGroup(t *testing.T) {
	for _, tc := range []struct {
		name          string
		sector        int64
		entries, size int // sectors: 8
		legal         []int
	}{
		{"sectors of 512", 512, 3, 1266, []int{2, 5}},
		{"one frame", 4096, 10, 3000, []int{2, 12}},
		{"several frames", 4096, 2, 16_000, []int{2, 3, 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := newFS()
			m := newModel()
			stop := errors.New("stop")
			cfg := config(fs)
			cfg.SegmentBytes = 64 << 10
			err := run(cfg, m, []step{
				stepAppend(1, 2, 500), stepSync,
				stepAppend(1, tc.entries, tc.size),
				func(*commitlog.Log, *model) error {
					fs.FailFrom(1, stop, func(c crashfs.Call) bool { return c.Op == crashfs.OpSync })
					return nil
				},
				stepSync,
			})
			require.ErrorIs(t, err, stop)
			require.ErrorIs(t, err, commitlog.ErrFailed)
			tornSubsets(t, fs, m, tc.sector, tc.legal)
		})
	}
}

func tornSubsets(t *testing.T, fs *crashfs.FS, m *model, sector int64, legal []int) {
	t.Helper()
	fills := []func([]byte){nil, func(b []byte) { clear(b) }, func(b []byte) {
		for i := range b {
			b[i] ^= 0xA5
		}
	}}
	images, seen := 0, map[int]int{}
	for subset := range 256 {
		for _, fill := range fills {
			n := -1
			disk := fs.CrashWith(crashfs.Loss{
				Sector:     sector,
				KeepSector: func(string, int64) bool { n++; return subset>>(n%8)&1 == 1 },
				KeepSize:   func(string) bool { return true },
				KeepDirOp:  func(int) bool { return true },
				Scramble:   fill,
			})
			all, err := reopen(disk, m)
			require.NoError(t, err, "sectors %08b", subset)
			require.Contains(t, legal, len(all), "sectors %08b", subset)
			seen[len(all)]++
			images++
		}
	}
	require.Len(t, seen, len(legal), "all that is legal comes about")
	t.Logf("%d images: %v", images, seen)
}

// Every call fails once, with every kind of error. The log refuses all writes
// after it; what is on the disk is legal, whether the power goes too or not.
func TestFailAtEveryCall(t *testing.T) {
	faults := map[string]crashfs.Fault{
		"error":       {Err: syscall.EIO},
		"no space":    {Err: syscall.ENOSPC},
		"short write": {Err: syscall.EIO, Keep: 700},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				fs := newFS()
				var at crashfs.Call
				fs.SetFault(func(c crashfs.Call) crashfs.Fault {
					if c.N != n {
						return crashfs.Fault{}
					}
					at = c
					return fault
				})
				m := newModel()
				err := run(config(fs), m, longHistory())
				if at.N == 0 {
					require.NoError(t, err)
					t.Logf("%d calls", n-1)
					return
				}
				// What fits is written, and for the rest there is space at the next try.
				waited := fault.Err == syscall.ENOSPC && strings.Contains(at.Path, "prepared-") && err == nil
				healed := at.Op == crashfs.OpRead && fault.Err == syscall.EIO && err == nil                   // of a sealed segment
				if at.Op != crashfs.OpClose && !healed && !waited && !strings.Contains(at.Path, "outline-") { // Close does without
					require.ErrorIs(t, err, fault.Err, "%v", at)
				}
				fs.SetFault(nil)
				rng := rand.New(rand.NewPCG(uint64(n), 2))
				for _, disk := range []*crashfs.FS{fs.Clone(), fs.Crash(rng)} {
					_, err := reopen(disk, m)
					require.NoError(t, err, "%s at %v", name, at)
				}
			}
		})
	}
}

// A group that was written but not synced when the process died is found in the
// page cache. It is on the disk before it is reported durable.
func TestRecoverySyncsWhatItFound(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 2, 100)
	fs.FailFrom(1, syscall.EIO, func(c crashfs.Call) bool { return c.Op == crashfs.OpSync })
	_, err := l.Sync()
	require.Error(t, err)
	l.Abandon()
	fs.SetFault(nil)
	l = mustOpen(t, config(fs))
	i, _ := l.Durable()
	require.Equal(t, Index(1), i)
	l = mustOpen(t, config(fs.CrashWith(crashfs.Loss{})))
	requireCount(t, l, 2)
}

// The power goes between the new segment and the seal that says so. Open writes
// the seal: from then on the segment cannot go missing unnoticed.
func TestRecoveryFinishesARoll(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	appendN(t, l, 1, 1, 20_000)
	mustSync(t, l)
	appendN(t, l, 1, 1, 20_000)
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpWrite && c.Off > 0 {
			return crashfs.Fault{Err: crashfs.ErrPowerLoss}
		}
		return crashfs.Fault{}
	})
	_, err := l.Sync()
	require.ErrorIs(t, err, crashfs.ErrPowerLoss)
	fs = fs.CrashWith(crashfs.Loss{})
	require.Len(t, fs.Files(), 2)
	mustOpen(t, config(fs)).Abandon()
	require.NoError(t, fs.Remove(fs.Files()[1]))
	_, err = commitlog.Open(config(fs))
	require.True(t, refusal(err), "%v", err)
}

// A failed write or sync is the last thing that a log does.
func TestFailureIsFinal(t *testing.T) {
	for _, op := range []crashfs.Op{crashfs.OpWrite, crashfs.OpSync} {
		fs := newFS()
		l := mustOpen(t, config(fs))
		appendN(t, l, 1, 2, 10)
		mustSync(t, l)
		appendN(t, l, 1, 2, 10)
		failed := false
		fs.SetFault(func(c crashfs.Call) crashfs.Fault {
			if c.Op != op || failed {
				return crashfs.Fault{}
			}
			failed = true
			return crashfs.Fault{Err: syscall.EIO}
		})
		_, err := l.Sync()
		require.ErrorIs(t, err, commitlog.ErrFailed)
		require.ErrorIs(t, err, syscall.EIO)

		fs.Record(true)
		require.ErrorIs(t, l.AppendMaster(1, 4, nil), commitlog.ErrFailed)
		_, err = l.Sync()
		require.ErrorIs(t, err, commitlog.ErrFailed)
		require.ErrorIs(t, l.PurgeBefore(1), commitlog.ErrFailed)
		require.ErrorIs(t, l.PrepareSegment(), commitlog.ErrFailed)
		require.ErrorIs(t, l.Seal(), commitlog.ErrFailed)
		l.BecomeSlave(1)
		require.ErrorIs(t, l.AppendSlave(nil), commitlog.ErrFailed)
		require.ErrorIs(t, l.TruncateFrom(1), commitlog.ErrFailed)
		i, _ := l.Durable()
		require.Equal(t, Index(1), i)
		require.Empty(t, fs.Calls())
		require.ErrorIs(t, l.Close(), commitlog.ErrFailed)
		for _, c := range fs.Calls() {
			require.Equal(t, crashfs.OpClose, c.Op)
		}
	}
}

// A prepared segment that cannot be had is no failure of the log.
func TestPrepareFails(t *testing.T) {
	fs := newFS()
	l := mustOpen(t, config(fs))
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpPreallocate {
			return crashfs.Fault{Err: syscall.ENOSPC}
		}
		return crashfs.Fault{}
	})
	require.ErrorIs(t, l.PrepareSegment(), syscall.ENOSPC)
	fs.SetFault(nil)
	require.Len(t, fs.Files(), 1)
	require.NoError(t, l.PrepareSegment())
	appendN(t, l, 1, 1, 10)
	mustSync(t, l)
}
