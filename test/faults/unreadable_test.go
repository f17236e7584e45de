package faults

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/broker"
	"github.com/ledgermq/ledgermq/pkg/client"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// smallSegments lets a group seal segments soon.
func smallSegments(c *broker.Config) {
	c.Limits.MaxBatchBytes = 512 << 10
	c.Storage.SegmentBytes = 1 << 20
	c.Storage.TailCacheBytes = 1 << 20
}

// sealed is a group whose members all have sealed segments, and the path of the oldest one.
func sealed(t *testing.T) (g *group, tr *traffic, oldest string) {
	t.Helper()
	g = startWith(t, smallSegments)
	tr = g.publish(64 << 10)
	tr.await(100)
	g.awaitApplied() // a majority acknowledges, and the third member may still write its first segment
	for _, path := range g.brokers[0].disk.Files() {
		if oldest == "" && strings.HasSuffix(path, ".seg") {
			oldest = path
		}
	}
	return g, tr, path(t, oldest)
}

func path(t *testing.T, p string) string {
	t.Helper()
	require.NotEmpty(t, p)
	return p[strings.LastIndex(p, "/"):]
}

// restart stops a broker as a kill does, and starts it again with a fault of its disk.
func (n *brokerOnDisk) restart(fault func(crashfs.Call) crashfs.Fault) {
	n.t.Helper()
	n.b.Kill()
	<-n.done
	n.disk = n.disk.Fork()
	n.disk.SetFault(fault)
	n.start()
}

// unreadable is a fault of a disk that cannot read some blocks of a file. met counts.
func unreadable(suffix string, from, to int64, met *atomic.Int64) func(crashfs.Call) crashfs.Fault {
	return func(c crashfs.Call) crashfs.Fault {
		if c.Op != crashfs.OpRead || !strings.HasSuffix(c.Path, suffix) || c.Off >= to || c.Off+int64(c.Len) <= from {
			return crashfs.Fault{}
		}
		met.Add(1)
		return crashfs.Fault{Err: syscall.EIO}
	}
}

// awaitWhole waits until the broker has repaired what it could not read.
func (n *brokerOnDisk) awaitWhole() {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		st := n.status().GetStatus()
		return len(st.GetSuspect()) == 0 && st.GetStanding() == ""
	}, patience, 5*time.Millisecond)
}

// awaitLeading waits until the leadership was handed to a broker, which needs its peers' votes
// and its own.
func (g *group) awaitLeading(n *brokerOnDisk) {
	g.t.Helper()
	require.Eventually(g.t, func() bool {
		_, _, err := g.client.Admin().Transfer(g.t.Context(), n.cfg.Node.ID)
		return err == nil && n.status().GetStatus().GetServing()
	}, patience, 50*time.Millisecond)
}

// A follower starts on a disk that cannot read blocks of a sealed segment. It is suspect until
// its peers have brought what stood there, and votes and leads again, with the blocks as bad as before.
func TestFollowerRepairsWhatItsDiskCannotRead(t *testing.T) {
	g, tr, oldest := sealed(t)
	follower := g.others(g.leader())[0]
	var met atomic.Int64
	bad := unreadable(oldest, 400<<10, 408<<10, &met)
	mayRepair := make(chan struct{})
	var once sync.Once
	release := func() { once.Do(func() { close(mayRepair) }) }
	t.Cleanup(release)
	for _, p := range follower.disk.Files() {
		if strings.Contains(p, "outline-") {
			require.NoError(t, follower.disk.Remove(p)) // so that the start reads the segment
		}
	}
	follower.restart(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpCreate && strings.Contains(c.Path, "/repair-") {
			<-mayRepair
		}
		return bad(c)
	})
	require.Eventually(t, func() bool { return len(follower.status().GetStatus().GetSuspect()) > 0 }, patience, 5*time.Millisecond)
	st := follower.status().GetStatus()
	require.Contains(t, st.GetSuspect()[0].GetWhy(), "the disk cannot read the block at position 409600")
	require.NotEmpty(t, st.GetStanding())
	tr.await(20)
	release()
	follower.awaitWhole()
	require.Positive(t, met.Load())
	g.awaitLeading(follower)
	tr.await(20)
	tr.stop()
	g.awaitApplied()
	g.requireStored(tr)

	met.Store(0)
	follower.restart(bad) // its repair file is good: it is as well as its peers
	require.Empty(t, follower.status().GetStatus().GetSuspect())
	require.Positive(t, met.Load())
	g.awaitLeading(follower)
	g.requireStored(tr)
}

// The leader's disk cannot read what a consumer asks for. The consumer gets it all the same, as
// soon as a follower has lent it, and the leader leads on.
func TestLeaderRepairsWhatItsDiskCannotRead(t *testing.T) {
	g, tr, oldest := sealed(t)
	tr.stop()
	g.awaitApplied()
	leader := g.leader()
	leader.restart(nil) // what it has sealed has its name now
	g.awaitLeading(leader)
	var met atomic.Int64
	leader.disk.SetFault(unreadable(oldest, 400<<10, 408<<10, &met))
	g.requireStored(tr)
	require.Eventually(t, func() bool { return met.Load() > 0 }, patience, 5*time.Millisecond)
	leader.awaitWhole()
	require.True(t, leader.running())
	g.awaitLeading(leader)
	consumer, err := g.client.Consumer(t.Context(), client.ConsumerConfig{Topic: "t", From: client.Earliest()})
	require.NoError(t, err)
	defer consumer.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = consumer.Next(ctx)
	require.NoError(t, err)
}
