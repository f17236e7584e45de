package broker

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestLostMessageThatWaitsIsGivenUp: a delayed and a half message are damaged on all three
// disks. They hold retention back no longer, every member counts them, and their
// neighbours are carried and delivered; the leader is killed in between.
func TestLostMessageThatWaitsIsGivenUp(t *testing.T) {
	c := startCluster(t, 3, func(cfg *Config) { smallSegments(cfg); cfg.Storage.ScrubRate = RateOff })
	leader, _ := c.leader()
	queue := leader.createTopic("t", 1)[0]
	waits := leader.createTopic("waits", 1)[0]
	group := leader.group("shop")
	due := inFuture(time.Hour)
	later := func(value string) {
		require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: waits, DeliverAt: due}, value)).GetError())
	}
	later("first")
	later(message(1))
	lost := leader.half(waits, group, message(2))
	later("last")
	kept := leader.half(waits, group, "kept")
	held := int64(leader.b.store.Applied())
	leader.publishBulk(queue, 0, 12)
	end := int64(leader.b.store.Applied())
	for _, n := range c.nodes {
		n.awaitApplied(end)
		require.NoError(t, n.b.store.Flush())
	}
	for _, n := range c.nodes {
		n.shutdown()
	}
	for _, n := range c.nodes {
		n.hurt(message(1))
		n.hurt(message(2))
		n.cfg.Retention = RetentionConfig{Size: 2 * mebibyte, CheckInterval: 10 * time.Millisecond}
		n.restart()
	}
	givenUp := func(n *node) func() bool {
		return func() bool { return testutil.ToFloat64(n.b.delivery.metrics.lost) == 2 }
	}
	leader, followers := c.leader()
	require.Eventually(t, givenUp(leader), patience, 5*time.Millisecond)
	require.Eventually(t, givenUp(followers[0]), patience, 5*time.Millisecond)
	leader.kill()

	leader, _ = c.leader(followers...)
	leader.publishBulk(queue, 13, 20)
	leader.awaitPurged(held)
	require.Equal(t, 2, leader.b.store.Waiting().Delayed)
	require.Equal(t, 1, leader.b.store.Waiting().Transactions)
	_, err := leader.end(lost, true)
	requireCode(t, err, CodeTransactionEnded, "definite")
	res, err := leader.end(kept, true)
	require.NoError(t, err)
	require.Zero(t, res.GetBaseOffset())
	leader.b.delivery.ahead.Store(int64(2 * time.Hour))
	signal(leader.b.delivery.wake)
	got, _ := leader.arrivals("waits", 3)
	require.Equal(t, []string{"kept", "first", "last"}, got)
}

// TestLateDeliveriesAreForgotten once retention has passed the entries that gave them their
// offsets.
func TestLateDeliveriesAreForgotten(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		smallSegments(c)
		c.Retention = RetentionConfig{Size: 2 * mebibyte, CheckInterval: 10 * time.Millisecond}
	})
	queue := n.createTopic("t", 1)[0]
	require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: inFuture(time.Millisecond)}, "late")).GetError())
	n.arrivals("t", 1)
	const bucket = 1 << 8 // entries, which are a batch each: 4 MiB
	remembers := func() bool {
		yes, err := n.b.store.RemembersLate(bucket)
		require.NoError(t, err)
		return yes
	}
	require.True(t, remembers())
	many := bytes.Repeat(makeBatch(t, batch.Stamp{Queue: queue}, strings.Repeat("x", 16<<10)), 64)
	for i := 0; remembers(); i++ {
		require.Less(t, i, 20)
		_, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: many})
		require.NoError(t, err)
		require.NoError(t, n.b.store.Flush())
		if i > 12 {
			n.awaitPurged(bucket)
			require.Eventually(t, func() bool { return !remembers() }, patience, 5*time.Millisecond)
		}
	}
	require.GreaterOrEqual(t, int64(n.b.ledger.Begin()), int64(bucket))
}
