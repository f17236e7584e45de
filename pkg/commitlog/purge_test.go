package commitlog_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// slowRemovalFS is a file system that takes long to delete a segment.
type slowRemovalFS struct {
	commitlog.FS
	began   chan string   // gets the path
	deletes chan struct{} // one each
}

func (f *slowRemovalFS) Remove(path string) error {
	if strings.HasSuffix(path, ".seg") {
		f.began <- path
		<-f.deletes
	}
	return f.FS.Remove(path)
}

// purgeSlowly is a log of three segments of which the first two are being purged.
func purgeSlowly(t *testing.T, l *commitlog.Log, fs *slowRemovalFS) *errgroup.Group {
	t.Helper()
	for range 3 {
		appendN(t, l, 1, 2, 10_000) // one group fills a segment
		mustSync(t, l)
	}
	t.Cleanup(func() { close(fs.deletes) }) // a test that has failed must end, too
	var g errgroup.Group
	g.Go(func() error { return l.PurgeBefore(4) })
	require.Contains(t, <-fs.began, firstSegment)
	return &g
}

const firstSegment = "00000000000000000000.seg"

func newSlowRemoval() (*slowRemovalFS, commitlog.Config) {
	fs := &slowRemovalFS{FS: newFS(), began: make(chan string, 8), deletes: make(chan struct{})}
	cfg := config(nil)
	cfg.FS = fs
	return fs, cfg
}

// within fails the test if op has not returned long after it should have.
func within(t *testing.T, what string, op func() error) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- op() }()
	select {
	case err := <-done:
		require.NoError(t, err, what)
	case <-time.After(20 * time.Second):
		require.FailNow(t, what+" waits for a file that is being deleted")
	}
}

// Syncs, rolls and reads go on while the file of a purged segment is being deleted; Close
// waits, for the files are its process's.
func TestNobodyWaitsForAPurge(t *testing.T) {
	fs, cfg := newSlowRemoval()
	l := mustOpen(t, cfg)
	purge := purgeSlowly(t, l, fs)
	require.Equal(t, Index(4), l.Begin())
	_, err := l.Read(1, 1, 1)
	require.ErrorIs(t, err, commitlog.ErrPurged)
	for range 2 { // each rolls
		appendN(t, l, 1, 2, 10_000)
		within(t, "a Sync", func() error { _, err := l.Sync(); return err })
	}
	end, _ := l.Durable()
	require.Equal(t, Index(9), end)
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	fs.deletes <- struct{}{}
	require.Contains(t, <-fs.began, "00000000000000000002.seg")
	require.Empty(t, closed, "closed while a file is being deleted")
	fs.deletes <- struct{}{}
	require.NoError(t, purge.Wait())
	require.NoError(t, <-closed)
	cfg.FS = fs.FS
	l = mustOpen(t, cfg)
	require.Equal(t, Index(4), l.Begin())
	requireCount(t, l, 6)
}

// A log that is abandoned while it is purged begins no further removal, and what is left of
// it has no hole.
func TestPurgeEndsWithItsLog(t *testing.T) {
	fs, cfg := newSlowRemoval()
	l := mustOpen(t, cfg)
	purge := purgeSlowly(t, l, fs)
	abandoned := make(chan struct{})
	go func() { l.Abandon(); close(abandoned) }()
	for err := error(nil); !errors.Is(err, commitlog.ErrClosed); _, err = l.Sync() {
		appendN(t, l, 1, 1, 100)
	}
	fs.deletes <- struct{}{}
	require.ErrorIs(t, purge.Wait(), commitlog.ErrClosed)
	<-abandoned
	cfg.FS = fs.FS
	l = mustOpen(t, cfg)
	require.Equal(t, Index(2), l.Begin())
	end, _ := l.End()
	require.GreaterOrEqual(t, end, Index(5))
	requireCount(t, l, int(end)-1)
}
