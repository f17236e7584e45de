package broker

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// fakeDisk is a file system of 1 TB that is as full as a test says.
type fakeDisk struct {
	mu struct {
		sync.Mutex
		used map[string]float64 // percent, by data directory
	}
}

const fakeTotal = largestDisk

func (d *fakeDisk) set(used float64, nodes ...*node) {
	d.mu.Lock()
	if d.mu.used == nil {
		d.mu.used = make(map[string]float64)
	}
	for _, n := range nodes {
		d.mu.used[n.cfg.Node.Data] = used
	}
	d.mu.Unlock()
	for _, n := range nodes {
		signal(n.b.disk.kicked)
	}
}

func (d *fakeDisk) statfs(dir string) (FileSystem, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return FileSystem{Total: fakeTotal, Free: fakeTotal - int64(float64(fakeTotal)*d.mu.used[dir]/100)}, nil
}

func (d *fakeDisk) config(c *Config) {
	c.Statfs = d.statfs
	c.Storage.DiskReserveBytes = mebibyte
}

// awaitReadOnly waits until the node's guard says whether writes are blocked.
func (n *node) awaitReadOnly(want bool) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		_, yes := n.b.disk.readOnly()
		return yes == want
	}, patience, time.Millisecond)
}

func (n *node) fullStatus() *brokerv1.GetStatusResponse {
	n.t.Helper()
	st, err := n.status.GetStatus(n.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(n.t, err)
	return st
}

func TestDiskMarks(t *testing.T) {
	for _, c := range []struct {
		mark       DiskMark
		at, margin int64
	}{{"90%", 100, 20}, {"85 %", 150, 20}, {"99.5%", 5, 20}, {"100", 100, 10}, {"1KiB", 1024, 102}} {
		at, margin := c.mark.free(1000)
		require.Equal(t, [2]int64{c.at, c.margin}, [2]int64{at, margin}, c.mark)
	}
	at, margin := DiskMark("90%").free(1 << 50)
	require.Equal(t, [2]int64{largestDisk / 10, largestDisk / 50}, [2]int64{at, margin}, "a large disk")
	for _, bad := range []DiskMark{"", "90", "0%", "101%", "x%", "-5GiB", "NaN%"} {
		cfg := DefaultConfig()
		cfg.Storage.DiskWarnAt = bad
		if bad == "90" {
			continue // ninety bytes: odd, but plain
		}
		if bad == "" {
			require.NoError(t, cfg.Validate(), "empty is the default")
			continue
		}
		require.ErrorContains(t, cfg.Validate(), "storage.disk_warn_at", bad)
	}
	for marks, ok := range map[[2]DiskMark]bool{
		{"85%", "90%"}: true, {"90%", "85%"}: false, {"90%", "90%"}: false, {"2GiB", "1GiB"}: true, {"1GiB", "2GiB"}: false, {"85%", "1GiB"}: true,
	} {
		cfg := DefaultConfig()
		cfg.Storage.DiskWarnAt, cfg.Storage.DiskReadOnlyAt = marks[0], marks[1]
		require.Equal(t, ok, cfg.Validate() == nil, "%v", marks)
	}
}

func TestDiskLevelsHaveHysteresis(t *testing.T) {
	marks := DefaultConfig().Storage
	level := diskFine
	for _, step := range []struct {
		used float64
		want diskLevel
	}{
		{84, diskFine},
		{85, diskWarning},
		{84, diskWarning},
		{82.9, diskFine},
		{90, diskReadOnly},
		{89, diskReadOnly},
		{88.1, diskReadOnly},
		{87.9, diskWarning},
		{89.9, diskWarning},
		{99, diskReadOnly},
		{80, diskFine},
	} {
		level = judgeDisk(level, FileSystem{Total: 1000, Free: int64(1000 - 10*step.used)}, marks)
		require.Equal(t, step.want, level, "at %v %%", step.used)
	}
}

func TestFitToLead(t *testing.T) {
	const settle = time.Second
	for name, c := range map[string]struct {
		in   circumstances
		want bool
	}{
		"all is well":                          {circumstances{}, true},
		"the disk hangs":                       {circumstances{hangs: true, leads: true}, false},
		"full, another leads":                  {circumstances{readOnly: true, led: true}, false},
		"full, nobody leads yet":               {circumstances{readOnly: true, leaderless: settle / 2}, false},
		"full, and nobody came forward":        {circumstances{readOnly: true, leaderless: settle}, true},
		"full, leads, another has become fit":  {circumstances{readOnly: true, leads: true, led: true, better: settle / 2}, true},
		"full, leads, another is fit for long": {circumstances{readOnly: true, leads: true, led: true, better: settle}, false},
		"full, leads, all others are full":     {circumstances{readOnly: true, leads: true, led: true}, true},
	} {
		require.Equal(t, c.want, fitToLead(c.in, settle), name)
	}
}

// The reserve is held while there is space, given up when there is none, and its
// space does not look like free space meanwhile.
func TestDiskReserve(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Node.Data = t.TempDir()
	cfg.Storage.DiskReserveBytes = mebibyte
	fs := FileSystem{Total: 1 << 30, Free: 1 << 29}
	cfg.Statfs = func(string) (FileSystem, error) { return fs, nil }
	g := newDiskGuard(cfg, cfg.Node.Data, testLogger(t))
	path := filepath.Join(cfg.Node.Data, reserveFile)
	g.check()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, mebibyte, info.Size())
	require.NoError(t, g.mayGrow(1<<28))
	require.ErrorIs(t, g.mayGrow(1<<29), syscall.ENOSPC, "it would leave less than the reserve")
	require.True(t, newDiskGuard(cfg, cfg.Node.Data, testLogger(t)).reserve.held, "the next start finds it")

	fs.Free = 1000
	g.check()
	require.NoFileExists(t, path)
	require.False(t, g.mayFlush())
	_, blocked := g.readOnly()
	require.True(t, blocked)
	fs.Free = 1000 + int64(mebibyte) // what it held, and nothing else
	g.check()
	require.NoFileExists(t, path)
	fs.Free = 1 << 29
	g.check()
	require.FileExists(t, path)
	require.True(t, g.mayFlush())

	// The log met the end of the disk, or of a quota that statfs does not know.
	g.onSpace(syscall.EDQUOT)
	g.check()
	require.NoFileExists(t, path)
	require.ErrorContains(t, g.refusal(), "n1 is read-only: disk full: there is no space for the next segment of the commit log (50.0 % used, 512.0 MiB of 1.0 GiB free)")
	g.onSpace(nil)
	g.check()
	require.NoError(t, g.refusal())
	require.FileExists(t, path)
}

// At the read-only mark what would make the ledger grow is refused, for certain and
// by name; all else goes on. Below the mark, less the margin, it is taken again.
func TestReadOnlyAtTheMark(t *testing.T) {
	disk := &fakeDisk{}
	n := startSingle(t, disk.config)
	queues := n.createTopic("t", 1)
	n.createTopic("old", 1)
	require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "one")).GetError())
	open := n.publishStream()
	disk.set(91, n)
	n.awaitReadOnly(true)

	want := "n1 is read-only: disk full: 91.0 % used, 28.8 GiB of 320.0 GiB free; read-only from 90% used on (storage.disk_read_only_at). " +
		"Free or add space on the file system of " + n.cfg.Node.Data
	two := makeBatch(t, batch.Stamp{Queue: queues[0]}, "two")
	_, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: two})
	requireCode(t, err, CodeDiskFull, "definite")
	require.ErrorContains(t, err, want)
	require.NoError(t, open.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: two}))
	_, err = open.Recv()
	requireCode(t, err, CodeDiskFull, "definite")
	_, err = n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "new", Queues: 1})
	requireCode(t, err, CodeDiskFull, "definite")
	_, err = n.messaging.RegisterProducer(n.ctx(), &brokerv1.RegisterProducerRequest{})
	requireCode(t, err, CodeDiskFull, "definite")

	require.Equal(t, []string{"one"}, n.pullAll("t", 0))
	_, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "old"})
	require.NoError(t, err)
	st := n.fullStatus().GetStatus()
	require.True(t, st.GetReadOnly())
	require.True(t, st.GetServing())
	require.Equal(t, "its disk is full: at its read-only mark", st.GetTrouble())
	require.EqualValues(t, fakeTotal, st.GetDiskTotalBytes())
	code, body := n.probe("/readyz?verbose")
	require.Equal(t, 200, code)
	require.Contains(t, body, "read-only: disk full")
	_, body = n.probe("/metrics")
	require.Contains(t, body, `broker_write_blocked{reason="disk_watermark"} 1`)
	require.Contains(t, body, `broker_write_blocked{reason="log_space"} 0`)

	disk.set(89, n) // not far enough below
	n.b.disk.check()
	_, blocked := n.b.disk.readOnly()
	require.True(t, blocked)
	disk.set(87, n)
	n.awaitReadOnly(false)
	require.Nil(t, n.publish(two).GetError())
	require.Equal(t, []string{"one", "two"}, n.pullAll("t", 0), "what was refused was not stored")
}

// A leader whose disk is full leaves the leadership to a member with space, and the
// cluster goes on taking messages. A full follower is shown and holds nobody up.
func TestFullLeaderHandsOver(t *testing.T) {
	disk := &fakeDisk{}
	c := startCluster(t, 3, disk.config)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	disk.set(95, leader, followers[0])
	fit := followers[1]
	fit.await("the leadership", func(v leaderView) bool { return v.serving != nil })
	for _, n := range []*node{leader, followers[0]} {
		n.await("the new leader", func(v leaderView) bool { return v.leader == fit.b.view().self })
		require.True(t, n.fullStatus().GetStatus().GetReadOnly())
		require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, n.cfg.Node.ID)).GetError(), "passed on")
	}
	require.Eventually(t, func() bool {
		troubles := 0
		for _, p := range fit.fullStatus().GetPeers() {
			if p.GetTrouble() == "its disk is full: at its read-only mark" {
				troubles++
			}
		}
		return troubles == 2
	}, patience, time.Millisecond, "the leader shows which members are full")
}

// With all disks full somebody leads all the same, whoever is left, and consumers
// read. The leadership does not go in circles.
func TestAllFullAndSomebodyLeads(t *testing.T) {
	disk := &fakeDisk{}
	c := startCluster(t, 3, func(c *Config) {
		disk.config(c)
		c.Raft.MaxHeartbeatLeak = 10 // it waits for as long as some elections would take
	})
	leader, _ := c.leader()
	queues := leader.createTopic("t", 1)
	res := leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "kept"))
	require.Nil(t, res.GetError())
	disk.set(95, c.nodes...)
	for _, n := range c.nodes {
		n.awaitReadOnly(true)
	}
	leader, followers := c.leader() // perhaps one handed over before the others were full
	leader.kill()
	second, _ := c.leader(followers...)
	require.Equal(t, []string{"kept"}, second.pullAll("t", 0))
	term := second.b.view().term
	ctx, cancel := context.WithTimeout(second.ctx(), 2*newFitness(second.b.electionTimeout()).settle)
	defer cancel()
	for view := second.b.view(); ctx.Err() == nil; view = second.b.view() {
		// A busy machine may cost an election; handing over again and again would cost many.
		require.LessOrEqual(t, view.term, term+2, "the leadership stays where it is")
		select {
		case <-view.changed:
		case <-ctx.Done():
		}
	}
	second, _ = c.leader(followers...)
	_, err := second.messaging.Publish(second.ctx(), &brokerv1.PublishRequest{Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, "no")})
	requireCode(t, err, CodeDiskFull, "definite")
}

// The file system really is full: a small one of its own under each member. What was
// acknowledged is there after everything has been restarted with space again.
func TestRealDiskFull(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	disks := map[string]string{}
	for _, id := range []string{"n1", "n2", "n3"} {
		disks[id] = smallDisk(t, 32<<20)
	}
	c := startCluster(t, 3, func(cfg *Config) {
		cfg.Node.Data, cfg.Statfs = disks[cfg.Node.ID], nil
		cfg.Storage.SegmentBytes, cfg.Storage.DiskReserveBytes = 4*mebibyte, mebibyte
		cfg.Storage.DiskWarnAt, cfg.Storage.DiskReadOnlyAt = "99%", "100%" // the end of the disk itself is tried
		cfg.Limits.MaxBatchBytes = mebibyte
	})
	leader, _ := c.leader()
	queues := leader.createTopic("t", 1)
	told := c.publishUntilFull(queues[0])
	t.Logf("%d acknowledged, %d uncertain, %d refused", len(told.acked), len(told.maybe), len(told.refused))
	require.Greater(t, len(told.acked), 5, "there was room for some")
	for _, n := range c.nodes {
		select {
		case err := <-n.done:
			t.Fatalf("%s ended: %v", n.cfg.Node.ID, err)
		default:
		}
	}
	leader, _ = c.leader()
	told.requireHistory(t, leader.pullAll("t", 0))
	for _, n := range c.nodes {
		n.kill()
		require.NoError(t, syscall.Mount("tmpfs", disks[n.cfg.Node.ID], "tmpfs", syscall.MS_REMOUNT, "size=128m"))
	}
	for _, n := range c.nodes {
		n.restart()
	}
	leader, _ = c.leader()
	told.requireHistory(t, leader.pullAll("t", 0))
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "again")).GetError())
	last := leader.b.dispatcher.applied.Load()
	for _, n := range c.nodes {
		n.awaitApplied(last)
	}
}

// outcomes is what became of messages, by the first bytes of their values.
type outcomes struct{ acked, maybe, refused map[string]bool }

// requireHistory compares what is stored with what producers were told.
func (o outcomes) requireHistory(t *testing.T, stored []string) {
	t.Helper()
	found := make(map[string]bool)
	for _, v := range stored {
		key, _, _ := strings.Cut(v, ":")
		require.False(t, o.refused[key], "message %s was refused for certain", key)
		require.False(t, found[key], "message %s is stored twice", key)
		found[key] = true
	}
	for key := range o.acked {
		require.True(t, found[key], "message %s was acknowledged", key)
	}
}

// publishUntilFull publishes to whoever leads until the disks take no more.
func (c *cluster) publishUntilFull(queue uint32) outcomes {
	c.t.Helper()
	o := outcomes{acked: map[string]bool{}, maybe: map[string]bool{}, refused: map[string]bool{}}
	filling := strings.Repeat("x", 500<<10)
	for i := range 500 {
		key := strconv.Itoa(i)
		leader, _ := c.leader()
		b := makeBatch(c.t, batch.Stamp{Queue: queue}, key+":"+filling)
		_, err := leader.messaging.Publish(leader.ctx(), &brokerv1.PublishRequest{Batches: b})
		switch {
		case err == nil:
			o.acked[key] = true
		case errorInfo(c.t, err).GetMetadata()["outcome"] == "indefinite":
			o.maybe[key] = true
		default:
			requireCode(c.t, err, CodeDiskFull, "definite")
			if o.refused[key] = true; len(o.refused) == 5 {
				return o
			}
		}
	}
	c.t.Fatal("the disks never fill")
	return o
}

// smallDisk mounts a file system of its own. Its caller has asked ownMounts.
func smallDisk(t *testing.T, bytes int64) string {
	t.Helper()
	dir := t.TempDir()
	require.NotEmpty(t, os.Getenv(ownMountsEnv), "only in a process with mounts of its own: see ownMounts")
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+Size(bytes).options()))
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

func (s Size) options() string { return string(bytes.TrimSuffix([]byte(s.String()), []byte("iB"))) }
