package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// registerAs registers a producer and returns what its batches for a queue begin with.
func (n *node) registerAs(name string, queue uint32) (batch.Stamp, error) {
	n.t.Helper()
	p, err := n.messaging.RegisterProducer(n.ctx(), &brokerv1.RegisterProducerRequest{Name: name})
	return batch.Stamp{Queue: queue, ProducerID: p.GetProducerId(), ProducerEpoch: p.GetEpoch()}, err
}

// lookForIdle has a broker look for idle producers as if it were later, until something holds.
func (n *node) lookForIdle(ahead time.Duration, until func() bool) {
	n.t.Helper()
	e := n.b.expiry
	e.ahead.Store(int64(ahead))
	require.Eventually(n.t, func() bool { signal(e.room.short); return until() }, patience, time.Millisecond)
}

func steadyClock(n *node) { n.b.expiry.clock.Settles = 0 } // its goroutine reads it after a signal, none came yet

// TestProducersExpireWhoeverLeads: the first leader has uses noted and is killed; the second
// has those forgotten that were idle. What they send again is refused, as definite, and
// stored once; all members agree.
func TestProducersExpireWhoeverLeads(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	for _, n := range c.nodes {
		steadyClock(n)
	}
	queue := leader.createTopic("t", 1)[0]
	nameless, err := leader.registerAs("", queue)
	require.NoError(t, err)
	named, err := leader.registerAs("till 7", queue)
	require.NoError(t, err)
	one, two := makeBatch(t, nameless, "one"), makeBatch(t, named, "two")
	require.Nil(t, leader.publish(one).GetError())
	require.Nil(t, leader.publish(two).GetError())
	leader.lookForIdle(0, leader.b.store.NotesUses)
	leader.kill()

	second, _ := c.leader(followers...)
	require.True(t, second.publish(one).GetDuplicate(), "it has not expired yet")
	second.lookForIdle(9*24*time.Hour, func() bool { producers, _ := second.b.store.ProducerCounts(); return producers == 0 })
	for _, b := range [][]byte{one, two} {
		refused := followers[0].publish(b)
		require.Equal(t, string(CodeUnknownProducer), refused.GetError().GetCode())
		require.False(t, refused.GetError().GetIndefinite())
	}
	again, err := second.registerAs("till 7", queue)
	require.NoError(t, err)
	require.NotEqual(t, named.ProducerID, again.ProducerID)
	_, err = second.messaging.RegisterProducer(second.ctx(), &brokerv1.RegisterProducerRequest{
		Name: "till 7", ContinuesId: named.ProducerID, ContinuesEpoch: named.ProducerEpoch,
	})
	requireCode(t, err, CodeProducerFenced, "definite")
	require.Nil(t, second.publish(makeBatch(t, again, "three")).GetError())
	leader.restart()
	c.leader()
	require.Equal(t, []string{"one", "two", "three"}, leader.pullAll("t", 0))
	c.awaitSameState()
	for _, n := range c.nodes {
		producers, windows := n.b.store.ProducerCounts()
		require.Equal(t, []int{1, 1}, []int{producers, windows})
	}
}

// TestProducersAreBounded: at the limit nobody new is registered, but names that are known
// are; those without a name that were idle for an hour or two make room.
func TestProducersAreBounded(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxProducers = 10 })
	steadyClock(n)
	queue := n.createTopic("t", 1)[0]
	for i := range 5 {
		_, err := n.registerAs(fmt.Sprint("till ", i), queue)
		require.NoError(t, err)
	}
	for range 5 {
		_, err := n.registerAs("", queue)
		require.NoError(t, err)
	}
	_, err := n.registerAs("", queue)
	requireCode(t, err, CodeTooManyProducers, "definite")
	_, err = n.registerAs("till 9", queue)
	requireCode(t, err, CodeTooManyProducers, "definite")
	till, err := n.registerAs("till 4", queue)
	require.NoError(t, err)
	require.Equal(t, uint32(1), till.ProducerEpoch)

	n.lookForIdle(90*time.Minute, n.b.store.NotesUses)
	producers, _ := n.b.store.ProducerCounts()
	require.Equal(t, 10, producers, "one of them may have been used up to an hour later than is known")
	n.lookForIdle(3*time.Hour, func() bool { producers, _ := n.b.store.ProducerCounts(); return producers == 5 })
	_, err = n.registerAs("till 9", queue)
	require.NoError(t, err)
}

// TestProducerQueuesAreBounded: a producer goes on where it is known, and begins nowhere else.
func TestProducerQueuesAreBounded(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxProducerQueues = 2 })
	queues := n.createTopic("t", 3)
	p, err := n.registerAs("", queues[0])
	require.NoError(t, err)
	for i, q := range queues {
		p.Queue = q
		res := n.publish(makeBatch(t, p, "first"))
		if i < 2 {
			require.Nil(t, res.GetError())
			continue
		}
		require.Equal(t, string(CodeTooManyProducers), res.GetError().GetCode())
		require.False(t, res.GetError().GetIndefinite())
	}
	p.Queue, p.FirstSequence = queues[1], 1
	require.Nil(t, n.publish(makeBatch(t, p, "second")).GetError())
	require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queues[2]}, "nobody's")).GetError())
	require.Equal(t, state.Offset(1), endOf(n, queues[2]))
}

func endOf(n *node, queue uint32) state.Offset {
	_, end, _ := n.b.store.QueueRange(state.QueueID(queue))
	return end
}
