package broker

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/seed"
)

// serve starts the node as the program does: it is opened again when it was
// seeded. The channel gets each broker that is opened; whoever takes one from it
// makes it the node's.
func (n *node) serve() <-chan *Broker { return n.serveWith(func(*Broker) {}) }

// serveWith is serve; prepare gets each broker before it runs.
func (n *node) serveWith(prepare func(*Broker)) <-chan *Broker {
	n.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	opened := make(chan *Broker, 8)
	n.stop, n.done = stop, make(chan error, 1)
	go func(done chan<- error, cfg Config) {
		done <- Serve(ctx, cfg, func(b *Broker) {
			prepare(b)
			opened <- b
		})
	}(n.done, n.cfg)
	n.take(opened)
	n.t.Cleanup(func() {
		stop()
		n.b.Kill()
	})
	return opened
}

// take waits for the next broker of a node that is served.
func (n *node) take(opened <-chan *Broker) {
	n.t.Helper()
	select {
	case n.b = <-opened:
	case err := <-n.done:
		n.t.Fatalf("%s ended: %v", n.cfg.Node.ID, err)
	case <-time.After(patience):
		n.t.Fatalf("%s was not opened (again)", n.cfg.Node.ID)
	}
	n.conn.ResetConnectBackoff()
}

// seedCluster is a group that keeps two segments. It returns when the
// victim, a follower, is down and the others have purged what it lacks: the
// numbers 0 to 4 were published before, those to 29 after.
func seedCluster(t *testing.T, change func(*Config)) (c *cluster, leader, other, victim *node, queue uint32) {
	t.Helper()
	c = startCluster(t, 3, func(cfg *Config) {
		smallSegments(cfg)
		cfg.Raft.MaxHeartbeatLeak = 100 // a slow disk shall not change the leader
		cfg.Retention = RetentionConfig{Size: 2 * mebibyte, CheckInterval: 10 * time.Millisecond}
		if change != nil {
			change(cfg)
		}
	})
	leader, followers := c.leader()
	victim, other = followers[0], followers[1]
	queue = leader.createTopic("t", 1)[0]
	leader.publishBulk(queue, 0, 4)
	victim.awaitApplied(int64(leader.b.ledger.Status().Commit))
	victim.shutdown()
	leader.publishBulk(queue, 5, 29)
	leader.awaitPurged(10)
	other.awaitApplied(int64(leader.b.ledger.Status().Commit))
	other.awaitPurged(10)
	return c, leader, other, victim, queue
}

// awaitPurged waits until the ledger begins at the entry or later.
func (n *node) awaitPurged(entry int64) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		return n.b.store.Flush() == nil && int64(n.b.ledger.Begin()) >= entry
	}, patience, 5*time.Millisecond)
}

// requireSame waits until both nodes have applied the same, and compares ledger
// and state.
func requireSame(t *testing.T, a, b *node) {
	t.Helper()
	require.Eventually(t, func() bool {
		crcA, atA := a.b.ledger.LogHash()
		crcB, atB := b.b.ledger.LogHash()
		return atA == atB && crcA == crcB && int64(a.b.store.Applied()) == int64(atA) && a.b.store.Tip() == b.b.store.Tip()
	}, patience, 5*time.Millisecond)
	mine, _, err := a.b.store.FullHash()
	require.NoError(t, err)
	theirs, _, err := b.b.store.FullHash()
	require.NoError(t, err)
	require.Equal(t, mine, theirs)
}

// rawFrom reads the stored bytes of queue 0 of topic t from offset on.
func (n *node) rawFrom(offset int64) (all []byte) {
	n.t.Helper()
	for {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: offset})
		require.NoError(n.t, err)
		if len(resp.GetInfos()) == 0 {
			return all
		}
		all = append(all, resp.GetBatches()...)
		offset = resp.GetInfos()[len(resp.GetInfos())-1].GetBaseOffset() + 1
	}
}

// leadOn hands the leadership to n and waits until it serves.
func (n *node) leadOn(c *cluster) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		_, err := n.admin.TransferLeadership(n.ctx(), &brokerv1.TransferLeadershipRequest{Transferee: n.cfg.Node.ID})
		return err == nil
	}, patience, 50*time.Millisecond)
	leader, _ := c.leader()
	require.Equal(n.t, n.cfg.Node.ID, leader.cfg.Node.ID)
}

// TestLaggingMemberIsSeeded is the whole way: a member comes back whose next
// entries are purged everywhere, and becomes a full member again by itself.
func TestLaggingMemberIsSeeded(t *testing.T) {
	c, leader, other, victim, queue := seedCluster(t, nil)
	opened := victim.serve()
	victim.take(opened)
	requireSame(t, leader, victim)
	require.EqualValues(t, 1, testutil.ToFloat64(victim.b.metrics.seed.seeds.WithLabelValues("installed")))
	require.Positive(t, testutil.ToFloat64(leader.b.metrics.seed.bytes.WithLabelValues("sent")))
	for _, gone := range []string{stagedDir, switchMarker, oldStateDir} {
		require.NoFileExists(t, filepath.Join(victim.cfg.Node.Data, gone))
		require.NoDirExists(t, filepath.Join(victim.cfg.Node.Data, gone))
	}
	require.NoDirExists(t, victim.b.dir.log()+oldSuffix)

	leader.publishBulk(queue, 30, 34)
	requireSame(t, leader, victim)
	requireSame(t, other, victim)
	first := max(leader.firstOffset("t"), other.firstOffset("t"))
	before := leader.rawFrom(first + 8) // retention goes on: not the oldest
	victim.leadOn(c)
	require.Equal(t, before, victim.rawFrom(first+8), "byte for byte")
	mine, all := victim.pullKept("t")
	require.Positive(t, mine)
	require.Equal(t, numbers(int(mine), 34), all)
	_, err := victim.messaging.Pull(victim.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: mine - 1})
	requireCode(t, err, CodeOffsetTooLow, "definite")
	victim.publishBulk(queue, 35, 36)
	victim.shutdown()
	again := victim.serve()
	require.Empty(t, again, "a restart needs no seed")
	requireSame(t, other, victim)
}

// TestWipedMemberIsSeeded takes the whole directory away.
func TestWipedMemberIsSeeded(t *testing.T) {
	_, leader, _, victim, queue := seedCluster(t, nil)
	require.NoError(t, os.RemoveAll(victim.cfg.Node.Data))
	opened := victim.serve()
	victim.take(opened)
	requireSame(t, leader, victim)
	leader.publishBulk(queue, 30, 31)
	requireSame(t, leader, victim)
}

// A seed that the disk cannot take is refused before anything of it is fetched.
func TestSeedNeedsRoom(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		smallSegments(c)
		c.Storage.DiskReserveBytes = mebibyte
		c.Statfs = func(string) (FileSystem, error) {
			return FileSystem{Total: int64(100 * mebibyte), Free: int64(50 * mebibyte)}, nil
		}
	})
	of := func(bytes Size) *seed.Manifest {
		return &seed.Manifest{Files: []seed.File{{Name: "f", Size: int64(bytes)}}}
	}
	require.NoError(t, n.b.roomForSeed(of(48*mebibyte)))
	err := n.b.roomForSeed(of(48*mebibyte + 1))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "50.0 MiB are free")
	n.b.seedProgress.Store(&seedProgress{have: 1, total: int64(48*mebibyte + 1)})
	require.NoError(t, n.b.roomForSeed(of(48*mebibyte+1)), "what is here already needs no room")
}

// Giving a seed must not take the last space of the giver's disk.
func TestSeedAsksForSpace(t *testing.T) {
	disk := &fakeDisk{}
	n := startSingle(t, disk.config)
	n.await("serving", func(v leaderView) bool { return v.serving != nil })
	dir := filepath.Join(t.TempDir(), "seed")
	disk.set(100, n)
	_, err := n.b.makeSeed(dir, 1)
	require.ErrorIs(t, err, errWouldFill)
	require.NoDirExists(t, dir)
	disk.set(50, n)
	_, err = n.b.makeSeed(dir, 1)
	require.NoError(t, err)
	require.DirExists(t, dir)
}
