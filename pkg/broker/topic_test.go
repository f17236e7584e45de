package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

func ofType(kind brokerv1.MessageType) *brokerv1.TopicSettings {
	return &brokerv1.TopicSettings{Type: &kind}
}

// TestTopicTypeIsEnforced, with and without an identity, by an error that says both types.
func TestTopicTypeIsEnforced(t *testing.T) {
	n := startSingle(t, nil)
	created, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "f", Queues: 1, Settings: ofType(brokerv1.MessageType_MESSAGE_TYPE_FIFO)})
	require.NoError(t, err)
	require.Equal(t, brokerv1.MessageType_MESSAGE_TYPE_FIFO, created.GetTopic().GetSettings().GetType())
	queue := created.GetTopic().GetQueueIds()[0]
	id, err := n.messaging.RegisterProducer(n.ctx(), &brokerv1.RegisterProducerRequest{})
	require.NoError(t, err)
	for _, producer := range []uint64{0, id.GetProducerId()} {
		refused := n.publish(makeBatch(t, batch.Stamp{Queue: queue, ProducerID: producer}, "x")).GetError()
		require.Equal(t, string(CodeTypeMismatch), refused.GetCode())
		require.Contains(t, refused.GetMessage(), "takes FIFO messages")
		require.Contains(t, refused.GetMessage(), "NORMAL")
		require.False(t, refused.GetIndefinite())
		require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queue, ProducerID: producer, Grouped: true}, "x")).GetError())
	}
	require.Equal(t, []string{"x", "x"}, n.pullAll("f", 0))
	_, err = n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "f", Settings: ofType(brokerv1.MessageType_MESSAGE_TYPE_NORMAL)})
	requireCode(t, err, CodeInvalidTopicChange, "definite")
	_, err = n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "f", Settings: ofType(brokerv1.MessageType(99))})
	requireCode(t, err, CodeInvalidTopicSettings, "definite")
	_, err = n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "f", Settings: &brokerv1.TopicSettings{MaxMessageBytes: new(uint32(15 << 20))}})
	requireCode(t, err, CodeInvalidTopicSettings, "definite")
}

// TestTopicNamesAreChecked: what the brokers keep for themselves cannot be made.
func TestTopicNamesAreChecked(t *testing.T) {
	n := startSingle(t, nil)
	for _, name := range []string{"", ".", "..", "a b", "a/b", "é", "%DLQ%g", "%SYS%x", "%RETRY%g", "a|b", "a%", strings.Repeat("x", 128), "a\n"} {
		_, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: name, Queues: 1})
		requireCode(t, err, CodeInvalidTopicName, "definite")
	}
	for _, name := range []string{"a", "A.b-c_9", "...", strings.Repeat("x", 127)} {
		n.createTopic(name, 1)
	}
	_, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "wide", Queues: 1025})
	requireCode(t, err, CodeLimitExceeded, "definite")
	_, err = n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "a", Queues: 1025})
	requireCode(t, err, CodeLimitExceeded, "definite")
	_, err = n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "none", Queues: 2})
	requireCode(t, err, CodeUnknownTopic, "definite")
}

// TestQueuesOfAlteredTopicsAreBounded: growing counts as creating does.
func TestQueuesOfAlteredTopicsAreBounded(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxQueues = 6 })
	n.createTopic("a", 2)
	n.createTopic("b", 2)
	_, err := n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "a", Queues: 5})
	requireCode(t, err, CodeTooManyQueues, "definite")
	altered, err := n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "a", Queues: 4})
	require.NoError(t, err)
	require.Equal(t, []uint32{1, 2, 5, 6}, altered.GetTopic().GetQueueIds())
	_, err = n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "a", Queues: 3})
	requireCode(t, err, CodeInvalidTopicChange, "definite")
}

// TestGroupsReadQueuesThatAreAdded, from their beginning, although the group began at the
// end of the others.
func TestGroupsReadQueuesThatAreAdded(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 2)
	n.fillSingly(queues[1], 3)
	joined, err := n.groups().Join(n.ctx(), &brokerv1.JoinRequest{
		Group: "g", Member: "a", Topics: []string{"t"}, Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Latest{Latest: true}},
	})
	require.NoError(t, err)
	before := n.awaitAssignment(joined.GetSession(), owns(2))
	altered, err := n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "t", Queues: 4})
	require.NoError(t, err)
	n.fillSingly(altered.GetTopic().GetQueueIds()[3], 5)
	after := n.awaitAssignment(joined.GetSession(), owns(4))
	for _, q := range after.GetQueues() {
		switch q.GetQueue() {
		case 1:
			require.Equal(t, int64(3), q.GetOffset())
		default:
			require.Zero(t, q.GetOffset(), "queue %d", q.GetQueue())
		}
	}
	for _, was := range before.GetQueues() {
		require.Equal(t, was.GetEpoch(), after.GetQueues()[was.GetQueue()].GetEpoch(), "its queues were not touched")
	}
	described, err := n.admin.DescribeTopic(n.ctx(), &brokerv1.DescribeTopicRequest{Name: "t", Groups: true})
	require.NoError(t, err)
	require.Equal(t, []string{"g"}, described.GetGroups())
}

func (n *node) trim(topic string, to ...int64) (*brokerv1.TrimTopicResponse, error) {
	req := &brokerv1.TrimTopicRequest{Name: topic}
	for i, offset := range to {
		req.Queues = append(req.Queues, &brokerv1.TrimmedQueue{Queue: uint32(i), Offset: offset})
	}
	return n.admin.TrimTopic(n.ctx(), req)
}

func TestTrimTopic(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 2)
	n.fillSingly(queues[0], 10)
	resp, err := n.trim("t", 4, 0)
	require.NoError(t, err)
	require.Equal(t, int64(4), resp.GetQueues()[0].GetFirstOffset())
	require.Equal(t, int64(10), resp.GetQueues()[0].GetEndOffset())
	_, err = n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: 3})
	requireCode(t, err, CodeOffsetTooLow, "definite")
	got, _ := n.pull("t", 0, 4, 0)
	require.Equal(t, []string{"4", "5", "6", "7", "8", "9"}, got)
	_, err = n.trim("t", 11)
	requireCode(t, err, CodeOffsetTooHigh, "definite")
	_, err = n.trim("t")
	requireCode(t, err, CodeUnknownQueue, "definite")
	_, err = n.trim("t", 0, 0, 0)
	requireCode(t, err, CodeUnknownQueue, "definite")
	_, err = n.trim("none", 0)
	requireCode(t, err, CodeUnknownTopic, "definite")
	resp, err = n.trim("t", 2)
	require.NoError(t, err)
	require.Equal(t, int64(4), resp.GetQueues()[0].GetFirstOffset(), "it never falls")
	n.kill()
	n.restart()
	n.await("serving", func(v leaderView) bool { return v.serving != nil })
	require.Equal(t, int64(4), n.firstOffset("t"))
}

// TestTopicRetention: the leader trims by number and by age, and all members do the same.
func TestTopicRetention(t *testing.T) {
	c := startCluster(t, 3, func(c *Config) {
		c.Retention.CheckInterval, c.ClockSettles = 10*time.Millisecond, time.Nanosecond
	})
	leader, _ := c.leader()
	few := &brokerv1.TopicSettings{RetentionMessages: new(int64(3))}
	created, err := leader.admin.CreateTopic(leader.ctx(), &brokerv1.CreateTopicRequest{Name: "few", Queues: 1, Settings: few})
	require.NoError(t, err)
	leader.fillSingly(created.GetTopic().GetQueueIds()[0], 10)
	young := &brokerv1.TopicSettings{RetentionMs: new(int64(1_000))}
	created, err = leader.admin.CreateTopic(leader.ctx(), &brokerv1.CreateTopicRequest{Name: "young", Queues: 1, Settings: young})
	require.NoError(t, err)
	leader.fillSingly(created.GetTopic().GetQueueIds()[0], 5)
	keeps := leader.createTopic("keeps", 1)
	leader.fillSingly(keeps[0], 5)
	for topic, first := range map[string]int64{"few": 7, "young": 5, "keeps": 0} {
		require.Eventually(t, func() bool { return leader.firstOffset(topic) == first }, patience, 5*time.Millisecond, topic)
	}
	c.awaitSameState()
	for _, n := range c.nodes {
		topic, _ := n.b.store.Topic("few")
		first, end, _ := n.b.store.QueueRange(topic.Queues[0])
		require.Equal(t, state.Offset(7), first)
		require.Equal(t, state.Offset(10), end)
	}
}

// TestDeletedTopicsHaveAGrace: refused by name meanwhile, whole again when they are
// undeleted, gone when the grace is over.
func TestDeletedTopicsHaveAGrace(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Topics.DeleteGrace = time.Hour
		c.Retention.CheckInterval, c.ClockSettles = 10*time.Millisecond, time.Nanosecond
	})
	queues := n.createTopic("t", 1)
	n.fillSingly(queues[0], 3)
	waiting := make(chan error, 1)
	go func() {
		_, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: 3, MaxWaitMs: 30_000})
		waiting <- err
	}()
	n.awaitHeld(1)
	deleted, err := n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "t"})
	require.NoError(t, err)
	until := time.UnixMilli(deleted.GetUndeleteUntilUnixMs())
	require.WithinDuration(t, time.Now().Add(time.Hour), until, time.Minute)
	requireCode(t, <-waiting, CodeTopicDeleted, "definite")
	_, err = n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t"})
	requireCode(t, err, CodeTopicDeleted, "definite")
	require.ErrorContains(t, err, until.UTC().Format(time.RFC3339))
	require.Equal(t, string(CodeTopicDeleted), n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "x")).GetError().GetCode())
	_, err = n.admin.DescribeTopic(n.ctx(), &brokerv1.DescribeTopicRequest{Name: "t"})
	requireCode(t, err, CodeTopicDeleted, "definite")
	_, err = n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "t", Queues: 1})
	requireCode(t, err, CodeTopicDeleted, "definite")
	for _, all := range []bool{false, true} {
		list, err := n.admin.ListTopics(n.ctx(), &brokerv1.ListTopicsRequest{Deleted: all})
		require.NoError(t, err)
		require.Equal(t, all, len(list.GetTopics()) == 1)
	}
	_, err = n.admin.UndeleteTopic(n.ctx(), &brokerv1.UndeleteTopicRequest{Name: "t"})
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2"}, n.pullAll("t", 0))
	_, err = n.admin.UndeleteTopic(n.ctx(), &brokerv1.UndeleteTopicRequest{Name: "t"})
	requireCode(t, err, CodeTopicNotDeleted, "definite")
	_, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "t", GraceMs: new(int64(20))})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, ok := n.b.store.AnyTopic("t"); return !ok }, patience, time.Millisecond)
	_, err = n.admin.UndeleteTopic(n.ctx(), &brokerv1.UndeleteTopicRequest{Name: "t"})
	requireCode(t, err, CodeUnknownTopic, "definite")
}

// TestTopicChangesOutliveTheLeader: each is asked for, its leader dies at once, and it is
// asked for again with the same request id. It is done once, on every member.
func TestTopicChangesOutliveTheLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, _ := c.leader()
	queues := leader.createTopic("t", 2)
	leader.fillSingly(queues[0], 10)
	leader.createTopic("other", 1)
	grace := new(time.Hour.Milliseconds())
	changes := []struct {
		name string
		do   func(n *node) error
	}{
		{"alter", func(n *node) error {
			resp, err := n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "t", RequestId: "r1", Queues: 5, Settings: &brokerv1.TopicSettings{RetentionMs: new(int64(time.Hour / time.Millisecond))}})
			if err == nil && len(resp.GetTopic().GetQueueIds()) != 5 {
				return fmt.Errorf("half done: %v", resp.GetTopic())
			}
			return err
		}},
		{"trim", func(n *node) error { _, err := n.trim("t", 6); return err }},
		{"delete", func(n *node) error {
			_, err := n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "t", RequestId: "r2", GraceMs: grace})
			return err
		}},
		{"undelete", func(n *node) error {
			_, err := n.admin.UndeleteTopic(n.ctx(), &brokerv1.UndeleteTopicRequest{Name: "t", RequestId: "r3"})
			return err
		}},
	}
	for _, change := range changes {
		leader, followers := c.leader()
		asked := make(chan error, 1)
		go func() { asked <- change.do(followers[0]) }() // a follower forwards it
		leader.kill()
		<-asked // whatever came of it
		next, _ := c.leader(followers...)
		require.Eventually(t, func() bool {
			err := change.do(next)
			return err == nil
		}, patience, 10*time.Millisecond, change.name)
		require.NoError(t, change.do(followers[1]), "%s once more", change.name)
		leader.restart()
		c.leader()
	}
	c.awaitSameState()
	for _, n := range c.nodes {
		topic, ok := n.b.store.Topic("t")
		require.True(t, ok)
		require.Len(t, topic.Queues, 5)
		require.Len(t, topic.Growths, 1, "it grew once")
		require.Equal(t, time.Hour.Milliseconds(), topic.Settings.RetentionMs)
		first, end, _ := n.b.store.QueueRange(topic.Queues[0])
		require.Equal(t, state.Offset(6), first)
		require.Equal(t, state.Offset(10), end)
	}
}

// TestGraceAndRetentionGoOnUnderTheNextLeader: what one leader was told, the next one does.
func TestGraceAndRetentionGoOnUnderTheNextLeader(t *testing.T) {
	c := startCluster(t, 3, func(c *Config) {
		c.Retention.CheckInterval, c.ClockSettles = 10*time.Millisecond, time.Nanosecond
	})
	leader, followers := c.leader()
	leader.createTopic("goes", 2)
	aged := &brokerv1.TopicSettings{RetentionMs: new(int64(1_500))}
	created, err := leader.admin.CreateTopic(leader.ctx(), &brokerv1.CreateTopicRequest{Name: "ages", Queues: 1, Settings: aged})
	require.NoError(t, err)
	leader.fillSingly(created.GetTopic().GetQueueIds()[0], 5)
	_, err = leader.admin.DeleteTopic(leader.ctx(), &brokerv1.DeleteTopicRequest{Name: "goes", GraceMs: new(int64(1_500))})
	require.NoError(t, err)
	leader.kill()
	next, _ := c.leader(followers...)
	require.Eventually(t, func() bool { _, there := next.b.store.AnyTopic("goes"); return !there }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool { return next.firstOffset("ages") == 5 }, patience, 5*time.Millisecond)
	leader.restart()
	c.leader()
	c.awaitSameState()
	for _, n := range c.nodes {
		_, there := n.b.store.AnyTopic("goes")
		require.False(t, there)
		first, end, _ := n.b.store.QueueRange(state.QueueID(created.GetTopic().GetQueueIds()[0]))
		require.Equal(t, [2]state.Offset{5, 5}, [2]state.Offset{first, end})
	}
}
