package dledger

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The log of a member that has nothing to do is sealed, once: its last group is
// then known to have been durable.
func TestIdleLogIsSealed(t *testing.T) {
	disk := crashfs.New()
	n := loner(t, func(cfg *Config) { cfg.Log.FS = disk })
	n.Applied(0, []any{nil})
	n.await(t, "service", func(s *Status) bool { return s.Serving })
	ch, err := n.propose("last words")
	require.NoError(t, err)
	n.await(t, "the commit", func(s *Status) bool { return s.Commit == 1 })
	lc := n.cfg.Log
	lc.Dir, lc.ClusterID, lc.Group, lc.MemberID = n.cfg.Dir+"/"+logDirName, n.cfg.ClusterID, n.cfg.Group, string(n.cfg.ID)
	require.Eventually(t, func() bool {
		lc.FS = disk.CrashWith(crashfs.Loss{})
		image, err := commitlog.Open(lc)
		require.NoError(t, err)
		defer func() { require.NoError(t, image.Close()) }()
		return image.Recovery().Clean
	}, patience, 5*time.Millisecond)
	quiet := disk.Count()
	timer := time.NewTimer(3 * sealAfter)
	<-timer.C
	require.Equal(t, quiet, disk.Count(), "a sealed log is left alone")
	n.Applied(1, []any{nil})
	require.NoError(t, receive(t, ch).Err)
	n.close(t)
}

// A segment that cannot be prepared is no reason to end: the sync that needs it
// makes its own.
func TestSegmentCannotBePrepared(t *testing.T) {
	disk := crashfs.New()
	n := loner(t, func(cfg *Config) { cfg.Log.FS, cfg.Log.SegmentBytes = disk, 64<<10 })
	n.Applied(0, []any{nil})
	n.await(t, "service", func(s *Status) bool { return s.Serving })
	full := errors.New("no space left on device")
	disk.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpCreate {
			return crashfs.Fault{Err: full}
		}
		return crashfs.Fault{}
	})
	publish := func(at commitlog.Index, bytes int) {
		ch, err := n.propose(strings.Repeat("x", bytes))
		require.NoError(t, err)
		n.await(t, "the commit", func(s *Status) bool { return s.Commit >= at })
		n.Applied(at, []any{nil})
		require.NoError(t, receive(t, ch).Err)
	}
	publish(1, 40<<10)
	require.Eventually(t, func() bool { return testutil.ToFloat64(n.metrics.prepareErrors) == 1 }, patience, time.Millisecond)
	disk.SetFault(nil)
	publish(2, 40<<10)
	n.close(t)
}

// gatedFS is a disk whose syncs wait while it is shut.
type gatedFS struct {
	commitlog.FS
	shut atomic.Bool
	open chan struct{} // closed to end the waits
	once sync.Once
}

type gatedFile struct {
	commitlog.File
	fs *gatedFS
}

func (f *gatedFS) Create(path string) (commitlog.File, error) {
	file, err := f.FS.Create(path)
	return gatedFile{file, f}, err
}

func (f *gatedFS) release() { f.once.Do(func() { close(f.open) }) }

func (f gatedFile) Sync() error {
	if f.fs.shut.Load() {
		<-f.fs.open
	}
	return f.File.Sync()
}

// A leader whose disk is slower than a quorum of others refuses before its memory
// is full of what is acknowledged but not written.
func TestSlowDiskBoundsMemory(t *testing.T) {
	const limit = 1 << 20
	disks := map[member.ID]*gatedFS{}
	c := newCluster(t, 3, func(cfg *Config) {
		disks[cfg.ID] = &gatedFS{FS: crashfs.New(), open: make(chan struct{})}
		cfg.Log.FS, cfg.MaxPendingBytes = disks[cfg.ID], limit
		cfg.Member.MaxHeartBeatLeak = 20
	})
	c.awaitEqual()
	l := c.leader()
	disks[l.id].shut.Store(true)
	t.Cleanup(disks[l.id].release)
	body := strings.Repeat("x", 100<<10)
	var refused error
	for range 100 {
		ch, err := l.propose(body)
		if refused = err; err != nil {
			break
		}
		require.NoError(t, receive(t, ch).Err, "the others hold it")
	}
	require.ErrorContains(t, refused, CodePendingFull)
	require.Regexp(t, `fsync p99 .* on `+string(l.id)+`, 1\.\d MB not written yet, one has been running for`, refused.Error())
	require.Less(t, l.ledger.Unsynced(), int64(limit+(200<<10)))
	disks[l.id].release()
	l.await(t, "the disk", func(s *Status) bool { return s.Durable == s.End })
	c.publish("again")
	c.awaitEqual()
}
