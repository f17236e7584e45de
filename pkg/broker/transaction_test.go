package broker

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

func (n *node) transactions() brokerv1.TransactionServiceClient {
	return brokerv1.NewTransactionServiceClient(n.conn)
}

// half publishes a half message and returns its handle.
func (n *node) half(queue, group uint32, value string) string {
	n.t.Helper()
	res := n.publish(makeBatch(n.t, batch.Stamp{Queue: queue, TransactionGroup: group}, value))
	require.Nil(n.t, res.GetError())
	require.Equal(n.t, int64(-1), res.GetBaseOffset())
	require.NotEmpty(n.t, res.GetHandle())
	return res.GetHandle()
}

func (n *node) end(handle string, commit bool) (*brokerv1.EndTransactionResponse, error) {
	return n.transactions().EndTransaction(n.ctx(), &brokerv1.EndTransactionRequest{Handle: handle, Commit: commit})
}

func (n *node) group(name string) uint32 {
	n.t.Helper()
	resp, err := n.transactions().RegisterTransactionGroup(n.ctx(), &brokerv1.RegisterTransactionGroupRequest{Name: name})
	require.NoError(n.t, err)
	return resp.GetGroup()
}

// putOff answers a question with: not known yet.
func (n *node) putOff(handle string, failed bool) {
	n.t.Helper()
	_, err := n.transactions().PutOffTransaction(n.ctx(), &brokerv1.PutOffTransactionRequest{Handle: handle, Failed: failed})
	require.NoError(n.t, err)
}

// watch lets the node ask about transactions of a group.
func (n *node) watch(ctx context.Context, group uint32) brokerv1.TransactionService_WatchTransactionsClient {
	n.t.Helper()
	stream, err := n.transactions().WatchTransactions(ctx, &brokerv1.WatchTransactionsRequest{Group: group})
	require.NoError(n.t, err)
	return stream
}

// TestTransactionsOutliveTheLeader: killed after the half messages, the next leader
// asks about them and takes the answers; killed after the ends, the next one knows
// how they ended.
func TestTransactionsOutliveTheLeader(t *testing.T) {
	c := startCluster(t, 3, func(c *Config) {
		c.Transactions = TransactionConfig{CheckAfter: 10 * time.Millisecond, CheckInterval: 50 * time.Millisecond, MaxChecks: 1000}
	})
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	group := leader.group("shop")
	require.Equal(t, group, followers[0].group("shop"), "any broker answers")
	commit, rollback, checked := leader.half(queue, group, "commit"), leader.half(queue, group, "rollback"), leader.half(queue, group, "checked")
	got, _ := leader.pull("t", 0, 0, 0)
	require.Empty(t, got)
	leader.kill()

	second, _ := c.leader(followers...)
	res, err := second.end(commit, true)
	require.NoError(t, err)
	require.Zero(t, res.GetBaseOffset())
	_, err = second.end(rollback, false)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream := second.watch(ctx, group)
	for i := range 2 { // asked again while nobody knows
		check, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, uint32(i+1), check.GetTimes())
		followers[0].putOff(check.GetHandle(), false)
		require.Equal(t, checked, check.GetHandle())
		require.Equal(t, "t", check.GetTopic())
		require.Equal(t, []string{"checked"}, values(t, check.GetBatch()))
	}
	res, err = followers[0].end(checked, true)
	require.NoError(t, err)
	require.Equal(t, int64(1), res.GetBaseOffset())
	leader.restart()
	c.leader()
	second.kill()

	third, _ := c.leader(leader, other(followers, second))
	res, err = third.end(commit, true)
	require.NoError(t, err)
	require.True(t, res.GetDuplicate())
	require.Zero(t, res.GetBaseOffset())
	_, err = third.end(rollback, true)
	requireCode(t, err, CodeTransactionEnded, "definite")
	_, err = third.end(transactionHandle(1, 12345), true)
	requireCode(t, err, CodeUnknownTransaction, "definite")
	require.Equal(t, []string{"commit", "checked"}, third.pullAll("t", 0))
	second.restart()
	c.leader()
	c.awaitSameState()
}

func other(nodes []*node, not *node) *node {
	if nodes[0] == not {
		return nodes[1]
	}
	return nodes[0]
}

// TestTransactionsExpire after so many questions, or after so long if there is nobody
// to ask; the wrong handles and groups are told apart.
func TestTransactionsExpire(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Transactions = TransactionConfig{CheckAfter: 10 * time.Millisecond, CheckInterval: 10 * time.Millisecond, MaxChecks: 3, ExpireAfter: 1500 * time.Millisecond} // three questions are answered before that
	})
	queue := n.createTopic("t", 1)[0]
	group, lonely := n.group("shop"), n.group("bank")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stream := n.watch(ctx, group)
	began := time.Now()
	asked, silent := n.half(queue, group, "asked"), n.half(queue, lonely, "silent")
	for i := range 3 {
		check, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, asked, check.GetHandle())
		require.Equal(t, uint32(i+1), check.GetTimes())
		n.putOff(asked, false)
		n.putOff(asked, false) // nobody has asked again
	}
	require.Eventually(t, func() bool { return n.b.store.Waiting().Transactions == 0 }, patience, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), 1490*time.Millisecond)
	for _, handle := range []string{asked, silent} {
		_, err := n.end(handle, true)
		requireCode(t, err, CodeTransactionEnded, "definite")
	}
	require.InDelta(t, 2, testutil.ToFloat64(n.b.transactions.ended.WithLabelValues("expired")), 0)
	require.Empty(t, n.pullAll("t", 0))

	_, err := n.end("t-1", true)
	requireCode(t, err, CodeInvalidHandle, "definite")
	res := n.publish(makeBatch(t, batch.Stamp{Queue: queue, TransactionGroup: 99}, "x"))
	require.Equal(t, string(CodeUnknownTransactionGroup), res.GetError().GetCode())
	_, err = n.watch(ctx, 99).Recv()
	requireCode(t, err, CodeUnknownTransactionGroup, "definite")
}

// A handle that names the wrong queue ends nothing, and the leader goes on asking about the
// transaction whose number it has.
func TestWrongHandleEndsNothing(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Transactions = TransactionConfig{CheckAfter: 10 * time.Millisecond, CheckInterval: 10 * time.Millisecond, MaxChecks: 1000}
	})
	queues := n.createTopic("t", 2)
	handle := n.half(queues[0], n.group("shop"), "m")
	stream := n.watch(n.ctx(), n.group("shop"))
	_, err := stream.Recv()
	require.NoError(t, err)
	end, err := parseTransaction(handle)
	require.NoError(t, err)
	_, err = n.end(transactionHandle(state.QueueID(queues[1]), state.Index(end.GetId())), true)
	requireCode(t, err, CodeUnknownTransaction, "definite")
	n.putOff(handle, false)
	again, err := stream.Recv()
	require.NoError(t, err, "it is asked about again")
	require.Equal(t, handle, again.GetHandle())
}
