package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestNamedProducerOutlivesTheLeader: a name keeps its producer id over a failover and a
// restart; each registration fences the one before; and what was sent again because
// nobody knew is stored once, whoever leads.
func TestNamedProducerOutlivesTheLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	register := func(n *node, request string) batch.Stamp {
		p, err := n.messaging.RegisterProducer(n.ctx(), &brokerv1.RegisterProducerRequest{Name: "till 7", RequestId: request})
		require.NoError(t, err)
		return batch.Stamp{Queue: queue, ProducerID: p.GetProducerId(), ProducerEpoch: p.GetEpoch()}
	}
	first := register(leader, "a")
	require.Equal(t, first, register(followers[0], "a"), "a retry of a request is not another registration")
	one := makeBatch(t, first, "one")
	stored := leader.publish(one)
	require.Nil(t, stored.GetError())
	leader.kill()

	again := followers[0].publish(one) // the answer might have been lost with the leader
	require.Nil(t, again.GetError())
	require.True(t, again.GetDuplicate())
	require.Equal(t, stored.GetBaseOffset(), again.GetBaseOffset())
	second := register(followers[1], "b")
	require.Equal(t, first.ProducerID, second.ProducerID)
	require.Equal(t, first.ProducerEpoch+1, second.ProducerEpoch)
	late := first
	late.FirstSequence = 1
	for _, n := range followers {
		refused := n.publish(makeBatch(t, late, "late"))
		require.Equal(t, string(CodeProducerFenced), refused.GetError().GetCode())
		require.False(t, refused.GetError().GetIndefinite())
	}
	two := makeBatch(t, second, "two")
	require.Nil(t, followers[0].publish(two).GetError())

	leader.restart()
	c.leader()
	for _, n := range c.nodes {
		again := n.publish(two)
		require.True(t, again.GetDuplicate(), "%v", again)
		require.Equal(t, string(CodeProducerFenced), n.publish(makeBatch(t, late, "late")).GetError().GetCode())
	}
	require.Equal(t, []string{"one", "two"}, leader.pullAll("t", 0))
	require.Equal(t, second.ProducerEpoch+1, register(leader, "c").ProducerEpoch)
}
