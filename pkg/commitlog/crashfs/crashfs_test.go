package crashfs_test

import (
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

func create(t *testing.T, fs *crashfs.FS, path, content string) commitlog.File {
	t.Helper()
	f, err := fs.Create(path)
	require.NoError(t, err)
	require.NoError(t, f.WriteAt(0, []byte(content[:1]), []byte(content[1:])))
	return f
}

func content(t *testing.T, fs *crashfs.FS, path string) string {
	t.Helper()
	b, err := fs.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// A file that was synced but whose name was not is gone; the other way round it is empty.
func TestContentAndNameAreSyncedApart(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", "hello")
	require.NoError(t, f.Sync())
	require.Empty(t, fs.CrashWith(crashfs.Loss{}).Files())

	create(t, fs, "/d/b", "world")
	require.NoError(t, fs.SyncDir("/d"))
	require.NoError(t, fs.SyncDir("/e"))
	after := fs.CrashWith(crashfs.Loss{})
	require.Equal(t, []string{"/d/a", "/d/b"}, after.Files())
	require.Equal(t, "hello", content(t, after, "/d/a"))
	require.Empty(t, content(t, after, "/d/b"))

	require.NoError(t, f.WriteAt(0, []byte("HELLO, you")))
	require.Equal(t, "hello", content(t, fs.CrashWith(crashfs.Loss{}), "/d/a"))
	kept := crashfs.Loss{Sector: 4, KeepSector: func(_ string, off int64) bool { return off == 4 }}
	require.Equal(t, "hellO, y", content(t, fs.CrashWith(kept), "/d/a"))
}

func TestRenamesAndRemovals(t *testing.T) {
	fs := crashfs.New()
	require.NoError(t, create(t, fs, "/d/a", "one").Sync())
	require.NoError(t, create(t, fs, "/d/b", "two").Sync())
	require.NoError(t, fs.SyncDir("/d"))
	require.NoError(t, fs.Rename("/d/a", "/d/b"))
	require.NoError(t, fs.Remove("/d/b"))
	names, err := fs.List("/d")
	require.NoError(t, err)
	require.Empty(t, names)
	require.Equal(t, []string{"/d/a", "/d/b"}, fs.CrashWith(crashfs.Loss{}).Files())
	renamed := fs.CrashWith(crashfs.Loss{KeepDirOp: func(n int) bool { return n == 0 }})
	require.Equal(t, []string{"/d/b"}, renamed.Files())
	require.Equal(t, "one", content(t, renamed, "/d/b"))
	require.NoError(t, fs.SyncDir("/d"))
	require.Empty(t, fs.CrashWith(crashfs.Loss{}).Files())
	_, err = fs.Open("/d/b")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestPreallocationReadsAsZero(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", "x")
	require.NoError(t, f.Preallocate(1<<40)) // takes no memory
	size, err := f.Size()
	require.NoError(t, err)
	require.Equal(t, int64(1<<40), size)
	b := []byte{1, 2, 3}
	n, err := f.ReadAt(b, 1<<39)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, []byte{0, 0, 0}, b)
	_, err = f.ReadAt(b, 1<<40)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, f.Close())
	require.ErrorIs(t, f.Sync(), os.ErrClosed)
}

func TestFaults(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", "hello")
	fs.SetFault(func(c crashfs.Call) crashfs.Fault { return crashfs.Fault{Err: syscall.ENOSPC, Keep: 2} })
	require.ErrorIs(t, f.WriteAt(5, []byte("world")), syscall.ENOSPC)
	require.ErrorIs(t, f.Sync(), syscall.ENOSPC)
	fs.FailFrom(2, syscall.EIO, func(c crashfs.Call) bool { return c.Op == crashfs.OpSync })
	require.NoError(t, f.Sync())
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.ErrorIs(t, f.WriteAt(5, []byte("w")), syscall.EIO)
	fs.PowerOff()
	require.ErrorIs(t, f.Sync(), crashfs.ErrPowerLoss)
	require.Equal(t, "hellowo", content(t, fs, "/d/a"))
}

// A sync that fails may clean the pages: they are read as before, and no later
// sync writes them. What is written again is written.
func TestFailedSyncCleansThePages(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", "hello")
	require.NoError(t, f.Sync())
	require.NoError(t, fs.SyncDir("/d"))
	require.NoError(t, f.WriteAt(0, []byte("HELLO, you")))
	half := crashfs.Loss{Sector: 4, KeepSector: func(_ string, off int64) bool { return off == 4 }}
	fs.SetFault(func(crashfs.Call) crashfs.Fault { return crashfs.Fault{Err: syscall.EIO, Clean: &half} })
	require.ErrorIs(t, f.Sync(), syscall.EIO)
	require.ErrorIs(t, f.WriteAt(0, []byte("x")), syscall.EIO)
	fs.SetFault(nil)
	require.NoError(t, f.Sync())
	require.Equal(t, "HELLO, you", content(t, fs, "/d/a"))
	all := crashfs.Loss{KeepSector: func(string, int64) bool { return true }}
	require.Equal(t, "hellO, y", content(t, fs.CrashWith(all), "/d/a"))
	require.NoError(t, f.WriteAt(0, []byte("HELLO, you")))
	require.NoError(t, f.Sync())
	require.Equal(t, "HELLO, you", content(t, fs.CrashWith(crashfs.Loss{}), "/d/a"))
}

// A fork goes its own way from the same unsynced state.
func TestFork(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", "hello")
	require.NoError(t, f.Sync())
	require.NoError(t, fs.SyncDir("/d"))
	require.NoError(t, f.WriteAt(0, []byte("HE")))
	create(t, fs, "/d/b", "world")
	fs.PowerOff()
	fork := fs.Fork()
	require.Equal(t, []string{"/d/a", "/d/b"}, fork.Files())
	require.Equal(t, "HEllo", content(t, fork, "/d/a"))
	require.Equal(t, "hello", content(t, fork.CrashWith(crashfs.Loss{}), "/d/a"))
	g, err := fork.Open("/d/a")
	require.NoError(t, err)
	require.NoError(t, g.Sync())
	require.NoError(t, fork.SyncDir("/d"))
	after := fork.CrashWith(crashfs.Loss{})
	require.Equal(t, "HEllo", content(t, after, "/d/a"))
	require.Empty(t, content(t, after, "/d/b"))
	require.Equal(t, "hello", content(t, fs.CrashWith(crashfs.Loss{}), "/d/a"))
	require.Equal(t, []string{"/d/a"}, fs.CrashWith(crashfs.Loss{}).Files())
}

// What a crash leaves is always old or new, sector by sector, and the original
// goes on unharmed.
func TestRandomCrash(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", string(make([]byte, 20_000)))
	require.NoError(t, f.Sync())
	require.NoError(t, fs.SyncDir("/d"))
	ones := make([]byte, 20_000)
	for i := range ones {
		ones[i] = 1
	}
	require.NoError(t, f.WriteAt(0, ones))
	rng := rand.New(rand.NewPCG(1, 2))
	partial := 0
	for range 100 {
		after := content(t, fs.Crash(rng), "/d/a")
		var sum int
		for off := 0; off < len(after); off += 512 {
			sector := after[off:min(off+512, len(after))]
			require.Equal(t, strings.Repeat(sector[:1], len(sector)), sector)
			sum += int(sector[0])
		}
		if sum > 0 && sum < 40 {
			partial++
		}
	}
	require.Positive(t, partial)
	require.Equal(t, string(ones), content(t, fs, "/d/a"))
}

func TestCallsAreRecorded(t *testing.T) {
	fs := crashfs.New()
	fs.Record(true)
	f := create(t, fs, "/d/a", "hello")
	require.NoError(t, f.Sync())
	require.NoError(t, fs.Rename("/d/a", "/d/b"))
	var lines []string
	for _, c := range fs.Calls() {
		lines = append(lines, c.String())
	}
	require.Equal(t, []string{"create a", "write a 0+5", "sync a", "rename a b"}, lines)
	require.Equal(t, 4, fs.Count())
}

// A flipped bit is on the disk and in what an open handle reads; a byte that was written
// and not synced is only flipped on the disk.
func TestFlip(t *testing.T) {
	fs := crashfs.New()
	f := create(t, fs, "/d/a", "hello")
	require.NoError(t, f.Sync())
	require.NoError(t, fs.SyncDir("/d"))
	require.NoError(t, f.WriteAt(0, []byte("j")))
	require.True(t, fs.Flip("/d/a", 0, 1))
	require.True(t, fs.Flip("/d/a", 4, 1))
	require.False(t, fs.Flip("/d/a", 5, 1))
	require.False(t, fs.Flip("/d/b", 0, 1))
	require.Equal(t, "jelln", content(t, fs, "/d/a"))
	require.Equal(t, "ielln", content(t, fs.CrashWith(crashfs.Loss{}), "/d/a"))
}

// A block that was spoilt cannot be read until all of it is written, and after a crash only if
// that was synced.
func TestSpoil(t *testing.T) {
	fs := crashfs.New()
	f, err := fs.Create("/d/a")
	require.NoError(t, err)
	require.NoError(t, f.WriteAt(0, make([]byte, 3*4096)))
	require.NoError(t, f.Sync())
	require.NoError(t, fs.SyncDir("/d"))
	require.False(t, fs.Spoil("/d/a", 3*4096, true))
	require.False(t, fs.Spoil("/d/b", 0, true))
	require.True(t, fs.Spoil("/d/a", 5000, true))
	reads := func(fs *crashfs.FS, off int64, n int) error {
		f, err := fs.Open("/d/a")
		require.NoError(t, err)
		_, err = f.ReadAt(make([]byte, n), off)
		return err
	}
	require.NoError(t, reads(fs, 0, 4096))
	require.NoError(t, reads(fs, 8192, 4096))
	for _, disk := range []*crashfs.FS{fs, fs.Clone(), fs.Fork(), fs.CrashWith(crashfs.Loss{})} {
		require.ErrorIs(t, reads(disk, 4000, 100), syscall.EIO)
	}
	require.NoError(t, f.WriteAt(4096, make([]byte, 4000)))
	require.ErrorIs(t, reads(fs, 4096, 4096), syscall.EIO)
	require.NoError(t, f.WriteAt(4096, make([]byte, 4096)))
	require.NoError(t, reads(fs, 0, 3*4096))
	require.ErrorIs(t, reads(fs.CrashWith(crashfs.Loss{}), 4096, 10), syscall.EIO)
	require.NoError(t, f.Sync())
	require.NoError(t, reads(fs.CrashWith(crashfs.Loss{}), 4096, 10))
	require.True(t, fs.Spoil("/d/a", 0, true))
	require.True(t, fs.Spoil("/d/a", 0, false))
	require.NoError(t, reads(fs, 0, 10))
}
