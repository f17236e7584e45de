package broker

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestSeededLeaderKnowsWhatIsStored: a producer publishes while a member is down, and has no
// answer; the entries are purged. The member is seeded, leads, and the one that stored them is
// killed. What is sent again to the seeded one is known as stored, delayed messages too; what
// follows is stored; an older process of the name stays fenced.
func TestSeededLeaderKnowsWhatIsStored(t *testing.T) {
	c, leader, other, victim, bulk := seedCluster(t, nil)
	queue := leader.createTopic("u", 1)[0]
	fenced, err := leader.registerAs("till 7", queue)
	require.NoError(t, err)
	stamp, err := leader.registerAs("till 7", queue)
	require.NoError(t, err)
	var sent [][]byte
	var offsets []int64
	var handles []string
	for i := range 4 {
		s := stamp
		s.FirstSequence = int64(i)
		if i == 3 {
			s.DeliverAt = inFuture(patience)
		}
		sent = append(sent, makeBatch(t, s, "once"))
		res := leader.publish(sent[i])
		require.Nil(t, res.GetError())
		offsets, handles = append(offsets, res.GetBaseOffset()), append(handles, res.GetHandle())
	}
	stored := int64(leader.b.store.Applied())
	require.Nil(t, other.publish(sent[3]).GetError())
	leader.publishBulk(bulk, 30, 54)
	leader.awaitPurged(stored)
	opened := victim.serve()
	victim.take(opened)
	require.EqualValues(t, 1, testutil.ToFloat64(victim.b.metrics.seed.seeds.WithLabelValues("installed")))
	requireSame(t, leader, victim)
	victim.leadOn(c)
	leader.kill()

	for i, b := range sent {
		again := victim.publish(b)
		require.Nil(t, again.GetError())
		require.True(t, again.GetDuplicate())
		require.Equal(t, offsets[i], again.GetBaseOffset())
		require.Equal(t, handles[i], again.GetHandle())
	}
	require.EqualValues(t, 3, endOf(victim, queue))
	late := fenced
	require.Equal(t, string(CodeProducerFenced), other.publish(makeBatch(t, late, "late")).GetError().GetCode())
	next := batch.Stamp{Queue: queue, ProducerID: stamp.ProducerID, ProducerEpoch: stamp.ProducerEpoch, FirstSequence: 4}
	res := victim.publish(makeBatch(t, next, "next"))
	require.Nil(t, res.GetError())
	require.EqualValues(t, 3, res.GetBaseOffset())
	requireSame(t, victim, other)
}
