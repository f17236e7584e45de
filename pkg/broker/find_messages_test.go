package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// keyedBatch builds a batch of messages with these keys, and ids after them.
func keyedBatch(t *testing.T, stamp batch.Stamp, keys ...string) []byte {
	t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 1 << 20, RecordBytes: batch.MaxBatchBytes})
	require.NoError(t, err)
	for _, k := range keys {
		require.NoError(t, b.Append(&batch.Record{Key: []byte(k), MessageID: "id " + k, Value: []byte("v"), Timestamp: 1}))
	}
	out, err := b.Build(stamp)
	require.NoError(t, err)
	return bytes.Clone(out)
}

// findAll asks until there is no more.
func (n *node) findAll(req *brokerv1.FindMessagesRequest) (places []string, scanned, looked int64, answers int) {
	n.t.Helper()
	for {
		resp, err := brokerv1.NewQueryServiceClient(n.conn).FindMessages(n.ctx(), req)
		require.NoError(n.t, err)
		answers++
		for _, m := range resp.GetMessages() {
			places = append(places, fmt.Sprintf("%d@%d", m.GetQueue(), m.GetOffset()))
		}
		scanned, looked = scanned+resp.GetScanned(), looked+resp.GetLooked()
		if req.From = resp.GetNext(); len(req.From) == 0 {
			return places, scanned, looked, answers
		}
	}
}

func byKey(topic, key string, limit uint32) *brokerv1.FindMessagesRequest {
	return &brokerv1.FindMessagesRequest{Topic: topic, Wanted: &brokerv1.FindMessagesRequest_Key{Key: []byte(key)}, Limit: limit}
}

// TestFindMessages: what is found with an index, without one, and with one that began in
// the middle is the same; with the leader killed in the middle, too. How much was read
// for it differs.
func TestFindMessages(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	resp, err := leader.admin.CreateTopic(leader.ctx(), &brokerv1.CreateTopicRequest{Name: "indexed", Queues: 2, KeyIndex: true})
	require.NoError(t, err)
	require.True(t, resp.GetTopic().GetKeyIndex())
	ids := map[string][]uint32{"indexed": resp.GetTopic().GetQueueIds(), "plain": leader.createTopic("plain", 2), "half": leader.createTopic("half", 2)}
	var want []string // of the key k7
	publish := func(n *node, from, to int) {
		for _, topic := range []string{"indexed", "plain", "half"} {
			for i := from; i < to; i++ {
				got := n.publish(keyedBatch(t, batch.Stamp{Queue: ids[topic][0]}, fmt.Sprint("k", i%10), "other"))
				require.Nil(t, got.GetError())
				if topic == "plain" && i%10 == 7 {
					want = append(want, fmt.Sprintf("0@%d", got.GetBaseOffset()))
				}
			}
		}
	}
	publish(leader, 0, 60)
	_, err = brokerv1.NewQueryServiceClient(followers[0].conn).SetKeyIndex(followers[0].ctx(), &brokerv1.SetKeyIndexRequest{Topic: "half", On: true})
	require.NoError(t, err)
	publish(leader, 60, 100)
	check := func(n *node) {
		total := int64(len(want)) * 20
		for topic, scans := range map[string]int64{"indexed": 0, "plain": total, "half": 120} {
			for _, limit := range []uint32{0, 3} {
				got, scanned, looked, answers := n.findAll(byKey(topic, "k7", limit))
				require.Equal(t, want, got, topic)
				require.Equal(t, scans, scanned, topic)
				require.LessOrEqual(t, 2*int64(len(want))-scans/10, looked, topic)
				if limit == 0 {
					require.Equal(t, 2*int64(len(want))-scans/10, looked, topic)
				}
				require.Equal(t, limit == 3, answers > 1)
			}
			got, _, _, _ := n.findAll(&brokerv1.FindMessagesRequest{Topic: topic, Wanted: &brokerv1.FindMessagesRequest_MessageId{MessageId: "id k7"}})
			require.Equal(t, want, got, topic)
			got, _, _, _ = n.findAll(byKey(topic, "id k7", 0))
			require.Empty(t, got, "a key is no id")
			cut := byKey(topic, "k7", 0)
			cut.From, cut.To = []*brokerv1.QueueAt{{Offset: 15}}, []*brokerv1.QueueAt{{Offset: 74}}
			got, _, _, _ = n.findAll(cut)
			require.Equal(t, want[1:3], got, "offsets 14, 34, 54 and 74 have the key; the ends are cut")
		}
	}
	check(followers[0])
	leader.kill()
	next, rest := c.leader(followers...)
	publish(next, 100, 120)
	check(rest[0])
	for _, bad := range []*brokerv1.FindMessagesRequest{
		byKey("nope", "k", 0), byKey("plain", "k", 1_001),
		{Topic: "plain"},
		{Topic: "plain", Wanted: &brokerv1.FindMessagesRequest_Key{Key: []byte("k")}, To: []*brokerv1.QueueAt{{Queue: 2}}},
	} {
		_, err := brokerv1.NewQueryServiceClient(next.conn).FindMessages(next.ctx(), bad)
		require.Error(t, err)
	}
	_, err = brokerv1.NewQueryServiceClient(next.conn).SetKeyIndex(next.ctx(), &brokerv1.SetKeyIndexRequest{Topic: "indexed"})
	require.NoError(t, err)
	got, scanned, _, _ := next.findAll(byKey("indexed", "k7", 0))
	require.Equal(t, want, got)
	require.EqualValues(t, 240, scanned)
	topics, err := next.admin.ListTopics(next.ctx(), &brokerv1.ListTopicsRequest{})
	require.NoError(t, err)
	for _, topic := range topics.GetTopics() {
		require.Equal(t, topic.GetName() == "half", topic.GetKeyIndex())
	}
}

// TestFindMessagesAcrossTheBeginningOfTheIndex: another member has purged a batch of which
// this one still serves the end. The index does not know that batch any more, but it
// begins in the middle of it.
func TestFindMessagesAcrossTheBeginningOfTheIndex(t *testing.T) {
	n := startSingle(t, nil)
	resp, err := n.admin.CreateTopic(n.ctx(), &brokerv1.CreateTopicRequest{Name: "t", Queues: 1, KeyIndex: true})
	require.NoError(t, err)
	stamp := batch.Stamp{Queue: resp.GetTopic().GetQueueIds()[0]}
	const bucket, many = int64(1) << 18, 4_000
	for end := int64(0); end < bucket-4; {
		keys := make([]string, min(many, bucket-4-end))
		got := n.publish(keyedBatch(t, stamp, keys...))
		require.Nil(t, got.GetError())
		end += int64(len(keys))
	}
	keys := strings.Split("abcdefghiX", "")
	require.Equal(t, bucket-4, n.publish(keyedBatch(t, stamp, keys...)).GetBaseOffset())
	require.Nil(t, n.publish(keyedBatch(t, stamp, "z", "X")).GetError())
	want := []string{fmt.Sprintf("0@%d", bucket+5), fmt.Sprintf("0@%d", bucket+7)}
	find := func(from int64) []string {
		req := byKey("t", "X", 0)
		req.From = []*brokerv1.QueueAt{{Offset: from}}
		got, _, _, _ := n.findAll(req)
		return got
	}
	require.Equal(t, want, find(bucket))
	_, err = n.b.query.proposer.command(n.ctx(), &recordv1.Command{Kind: &recordv1.Command_TrimKeyIndex{TrimKeyIndex: &recordv1.TrimKeyIndex{
		Offsets: []*recordv1.QueueOffset{{QueueId: stamp.Queue, Offset: bucket + 6}},
	}}})
	require.NoError(t, err)
	from, _ := n.b.store.KeyIndexFrom(state.QueueID(stamp.Queue))
	require.EqualValues(t, bucket, from)
	for _, at := range []int64{bucket - 10, bucket - 4, bucket, bucket + 5} {
		require.Equal(t, want, find(at), "from %d", at)
	}
	require.Equal(t, want[1:], find(bucket+6))
}
