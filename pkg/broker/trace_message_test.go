package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

func (n *node) trace(offset int64) *brokerv1.TraceMessageResponse {
	n.t.Helper()
	resp, err := brokerv1.NewQueryServiceClient(n.conn).TraceMessage(n.ctx(), &brokerv1.TraceMessageRequest{Topic: "t", Offset: offset})
	require.NoError(n.t, err)
	return resp
}

// TestTraceMessage traces a plain message, a delayed one and a transactional one, with a
// consumer group that is past the first. The next leader tells the same, but for who
// owns the queue and which members have a copy.
func TestTraceMessage(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	group := leader.group("shop")
	id, err := leader.messaging.RegisterProducer(leader.ctx(), &brokerv1.RegisterProducerRequest{Name: "anna"})
	require.NoError(t, err)
	stamp := batch.Stamp{Queue: queue, ProducerID: id.GetProducerId(), ProducerEpoch: id.GetEpoch()}
	plain := leader.publish(keyedBatch(t, stamp, "k0", "k1"))
	require.Nil(t, plain.GetError())
	due := inFuture(30 * time.Millisecond)
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: due}, "delayed")).GetError())
	leader.arrivals("t", 3)
	_, err = leader.end(leader.half(queue, group, "half"), true)
	require.NoError(t, err)
	joined := leader.join("g", "m")
	q := leader.awaitAssignment(joined.GetSession(), owns(1)).GetQueues()[0]
	require.Nil(t, leader.commit("g", q, 2).GetError())

	check := func(n *node, owner string) {
		first := n.trace(1)
		require.Equal(t, plain.GetLedgerIndex(), first.GetBatch().GetLedgerIndex())
		require.Equal(t, plain.GetTerm(), first.GetBatch().GetTerm())
		require.Equal(t, []any{uint32(2), uint32(1), "anna", int64(1), false}, []any{
			first.GetBatch().GetRecords(), first.GetBatch().GetRecord(), first.GetBatch().GetProducerName(), first.GetBatch().GetSequence(), first.GetBatch().GetCarried(),
		})
		require.Equal(t, []any{"k1", "id k1", int64(1), int64(3)}, []any{
			string(first.GetMessage().GetKey()), first.GetMessage().GetMessageId(), first.GetMessage().GetValueBytes(), first.GetMessage().GetSizeBytes(),
		})
		require.InDelta(t, time.Now().UnixMilli(), first.GetBatch().GetAppendTimeUnixMs(), 60_000)
		require.Nil(t, first.GetDelivery())
		require.GreaterOrEqual(t, len(first.GetCopies()), 2)
		require.EqualValues(t, -1, first.GetSegmentLast())

		delayed := n.trace(2)
		require.Equal(t, due, delayed.GetDelivery().GetDueUnixMs())
		require.GreaterOrEqual(t, delayed.GetDelivery().GetTimeUnixMs(), due)
		require.Greater(t, delayed.GetDelivery().GetLedgerIndex(), delayed.GetBatch().GetLedgerIndex())
		half := n.trace(3)
		require.Equal(t, group, half.GetDelivery().GetTransactionGroup())
		require.Zero(t, half.GetDelivery().GetDueUnixMs())

		for trace, past := range map[*brokerv1.TraceMessageResponse]bool{first: true, delayed: false} {
			require.Len(t, trace.GetGroups(), 1)
			g := trace.GetGroups()[0]
			require.Equal(t, []any{"g", int64(2), past, owner}, []any{g.GetGroup(), g.GetOffset(), g.GetPast(), g.GetOwner()})
			require.InDelta(t, time.Now().UnixMilli(), g.GetCommittedUnixMs(), 60_000)
		}
	}
	check(followers[0], "m")
	before := leader.trace(2)
	leader.kill()
	c.leader(followers...)
	check(followers[1], "")
	after := followers[0].trace(2)
	before.Copies, after.Copies, before.Groups, after.Groups = nil, nil, nil, nil
	require.True(t, proto.Equal(before, after), "%v\n%v", before, after)
	traceHandles(t, followers[0], queue, group)
	for _, bad := range []*brokerv1.TraceMessageRequest{{Handle: "d-1"}, {Handle: handleOf(state.Outcome{Queue: state.QueueID(queue)})}, {Topic: "nope"}, {Topic: "t", Queue: 1}, {Topic: "t", Offset: 5}} {
		_, err := brokerv1.NewQueryServiceClient(followers[0].conn).TraceMessage(followers[0].ctx(), bad)
		require.Error(t, err)
	}
}

// traceHandles traces messages that wait, and those whose transactions have ended. The
// queue has four messages before.
func traceHandles(t *testing.T, n *node, queue, group uint32) {
	trace := func(handle string) *brokerv1.TraceMessageResponse {
		resp, err := brokerv1.NewQueryServiceClient(n.conn).TraceMessage(n.ctx(), &brokerv1.TraceMessageRequest{Handle: handle})
		require.NoError(t, err)
		return resp
	}
	due := inFuture(time.Hour)
	later := n.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: due}, "later"))
	open, committed, dropped := n.half(queue, group, "open"), n.half(queue, group, "committed"), n.half(queue, group, "dropped")
	_, err := n.end(committed, true)
	require.NoError(t, err)
	_, err = n.end(dropped, false)
	require.NoError(t, err)
	got := trace(later.GetHandle())
	require.Equal(t, []any{due, int64(-1), later.GetLedgerIndex(), int64(5)}, []any{
		got.GetWaiting().GetDueUnixMs(), got.GetOffset(), got.GetBatch().GetLedgerIndex(), got.GetMessage().GetValueBytes(),
	})
	require.Empty(t, got.GetGroups())
	require.Equal(t, group, trace(open).GetWaiting().GetTransactionGroup())
	require.Equal(t, []any{int64(4), true}, []any{trace(committed).GetOffset(), trace(committed).GetWaiting() == nil})
	require.True(t, trace(dropped).GetRolledBack())
	require.NoError(t, n.recall(later.GetHandle()))
	_, err = brokerv1.NewQueryServiceClient(n.conn).TraceMessage(n.ctx(), &brokerv1.TraceMessageRequest{Handle: later.GetHandle()})
	requireReason(t, err, CodeNotWaiting)
}
