package broker

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/seed"
)

// pieceBytes makes a seed of some kilobytes many pieces.
const pieceBytes = 64

// serveSlowly is serve with small pieces; at is called before that piece is asked
// for, once.
func (n *node) serveSlowly(piece int64, at func(*Broker)) <-chan *Broker {
	n.t.Helper()
	var asked atomic.Int64
	return n.serveWith(func(b *Broker) {
		b.seedPieces.bytes = pieceBytes
		b.seedPieces.asked = func() {
			if asked.Add(1) == piece {
				at(b)
			}
		}
	})
}

// TestSeedGoesOnAfterACut cuts the network in the middle of a seed. The rest is
// read afterwards, and no byte twice.
func TestSeedGoesOnAfterACut(t *testing.T) {
	_, leader, _, victim, _ := seedCluster(t, nil)
	cut := make(chan int64, 2)
	opened := victim.serveSlowly(20, func(b *Broker) {
		_ = leader.b.ledger.PausePeer(member.ID(victim.cfg.Node.ID)) // it is a peer
		cut <- b.seedProgress.Load().have
		cut <- seed.Staged(b.dir.staged()).Bytes()
	})
	require.Positive(t, await(t, cut), "progress is shown")
	total := await(t, cut)
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(victim.b.metrics.seed.seeds.WithLabelValues("failed")) > 0
	}, patience, time.Millisecond)
	before := testutil.ToFloat64(leader.b.metrics.seed.bytes.WithLabelValues("sent"))
	require.Positive(t, before)
	status, err := victim.status.GetStatus(victim.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(t, err)
	require.Zero(t, status.GetStatus().GetSeedTotalBytes(), "nothing is fetched now")
	require.LessOrEqual(t, before, 19.0*pieceBytes)
	require.NoError(t, leader.b.ledger.ResumePeer(member.ID(victim.cfg.Node.ID)))
	victim.take(opened)
	requireSame(t, leader, victim)
	require.EqualValues(t, total, testutil.ToFloat64(leader.b.metrics.seed.bytes.WithLabelValues("sent")), "every byte once")
}

// TestLeaderDiesDuringASeed kills it in the middle. The next leader seeds.
func TestLeaderDiesDuringASeed(t *testing.T) {
	c, leader, other, victim, queue := seedCluster(t, nil)
	killed := make(chan int64, 1)
	opened := victim.serveSlowly(20, func(*Broker) {
		leader.b.Kill()
		killed <- 1
	})
	await(t, killed)
	require.ErrorIs(t, <-leader.done, ErrKilled)
	leader.done <- nil
	victim.take(opened)
	requireSame(t, other, victim)
	require.Positive(t, testutil.ToFloat64(other.b.metrics.seed.bytes.WithLabelValues("sent")))
	next, _ := c.leader(other, victim)
	require.Equal(t, other.cfg.Node.ID, next.cfg.Node.ID)
	next.publishBulk(queue, 30, 32)
	leader.restart()
	requireSame(t, next, leader)
	requireSame(t, next, victim)
}

func await(t *testing.T, from <-chan int64) int64 {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("it did not happen")
		return 0
	}
}
