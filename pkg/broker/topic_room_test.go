package broker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// However many topics are created at once, there are never more than the limits, what is
// refused is refused by name, and a topic that goes makes room.
func TestTopicsAndQueuesAreBounded(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxTopics, c.Limits.MaxQueues = 5, 12 })
	creating := errgroup.Group{}
	for i := range 20 {
		creating.Go(func() error {
			_, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: fmt.Sprintf("t%d", i), Queues: 2})
			if err != nil {
				requireCode(t, err, CodeTooManyTopics, "definite")
			}
			return nil
		})
	}
	require.NoError(t, creating.Wait())
	topics, queues := n.b.store.Counts()
	require.Equal(t, 5, topics)
	require.Equal(t, 10, queues)

	list, err := n.admin.ListTopics(n.ctx(), &brokerv1.ListTopicsRequest{})
	require.NoError(t, err)
	first := list.GetTopics()[0].GetName()
	_, err = n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: first, Queues: 2})
	requireCode(t, err, CodeTopicExists, "definite")
	_, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: first})
	require.NoError(t, err)
	_, err = n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "wide", Queues: 5})
	requireCode(t, err, CodeTooManyQueues, "definite")
	_, err = n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "fits", Queues: 4})
	require.NoError(t, err)
}

// A topic that is being created takes room, and leaves it if nothing comes of it.
func TestTopicRoom(t *testing.T) {
	topics := map[string]bool{"a": true}
	r := &topicRoom{
		counts: func() (int, int) { return len(topics), 2 * len(topics) },
		exists: func(topic string) bool { return topics[topic] }, maxTopics: 2, queues: 100,
	}
	r.mu.coming, r.mu.growth = map[string]int{}, map[*growth]bool{}
	leave, err := r.enter("b", 2)
	require.NoError(t, err)
	_, err = r.enter("c", 2)
	require.ErrorContains(t, err, "limits.max_topics is 2")
	again, err := r.enter("b", 2)
	require.NoError(t, err, "it has its room already")
	again()
	_, err = r.enter("c", 2)
	require.Error(t, err)
	topics["b"] = true // applied, and not answered yet: not counted twice
	_, err = r.enter("c", 2)
	require.ErrorContains(t, err, "there are 2 topics")
	delete(topics, "b")
	leave()
	_, err = r.enter("c", 2)
	require.NoError(t, err)
	ends, err := r.grow("a", 96)
	require.NoError(t, err)
	_, err = r.grow("a", 1)
	require.ErrorContains(t, err, "limits.max_queues 100")
	ends()
	same, err := r.grow("a", 0)
	require.NoError(t, err)
	same()
	_, err = r.grow("a", 1)
	require.NoError(t, err)
}
