package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func TestSingleMemberPublishesAndPulls(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("orders", 2)
	for i, want := range []int64{0, 2} {
		res := n.publish(makeBatch(t, batch.Stamp{Queue: queues[1]}, "a", "b"))
		require.Nil(t, res.GetError())
		require.Equal(t, want, res.GetBaseOffset(), i)
		require.Positive(t, res.GetLedgerIndex())
		require.EqualValues(t, 1, res.GetTerm())
	}
	got, resp := n.pull("orders", 1, 0, 0)
	require.Equal(t, []string{"a", "b", "a", "b"}, got)
	require.EqualValues(t, 4, resp.GetEndOffset())
	require.EqualValues(t, 2, resp.GetInfos()[1].GetBaseOffset())
	n.shutdown()
	n.restart()
	require.Equal(t, []string{"a", "b", "a", "b"}, n.pullAll("orders", 1))
	require.Empty(t, n.pullAll("orders", 0))
}

func TestClusterServesThroughEveryBroker(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := followers[0].createTopic("t", 1) // forwarded
	for _, n := range []*node{leader, followers[0], followers[1]} {
		res := n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "via "+n.cfg.Node.ID))
		require.Nil(t, res.GetError())
	}
	want := []string{"via " + leader.cfg.Node.ID, "via " + followers[0].cfg.Node.ID, "via " + followers[1].cfg.Node.ID}
	for _, n := range c.nodes {
		require.Equal(t, want, n.pullAll("t", 0))
		list, err := n.admin.ListTopics(n.ctx(), &brokerv1.ListTopicsRequest{})
		require.NoError(t, err)
		require.Len(t, list.GetTopics(), 1)
	}
}

func TestClusterSurvivesItsLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "one")).GetError())
	producer, err := leader.messaging.RegisterProducer(leader.ctx(), &brokerv1.RegisterProducerRequest{RequestId: "r"})
	require.NoError(t, err)
	leader.kill()
	// Asked at once: the request is held until there is a leader. It may meet the dying
	// one first; only an idempotent batch is sent again after that.
	two := batch.Stamp{Queue: queues[0], ProducerID: producer.GetProducerId(), ProducerEpoch: producer.GetEpoch()}
	require.Nil(t, followers[0].publish(makeBatch(t, two, "two")).GetError())
	require.Equal(t, []string{"one", "two"}, followers[1].pullAll("t", 0))
	leader.restart()
	c.leader()
	require.Equal(t, []string{"one", "two"}, leader.pullAll("t", 0))
	last := followers[0].b.dispatcher.applied.Load()
	for _, n := range c.nodes {
		n.awaitApplied(last)
	}
}
