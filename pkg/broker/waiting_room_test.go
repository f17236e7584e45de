package broker

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// TestWhatWaitsIsBounded, by settings, before anything is appended; what goes makes room.
func TestWhatWaitsIsBounded(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxDelayed, c.Limits.MaxTransactions = 2, 2 })
	queue := n.createTopic("t", 1)[0]
	group := n.group("shop")
	delayed := makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: inFuture(time.Hour)}, "later")
	for range 2 {
		require.Nil(t, n.publish(delayed).GetError())
		n.half(queue, group, "half")
	}
	end := n.b.ledger.Status().End
	for code, b := range map[Code][]byte{
		CodeTooManyDelayed: delayed,
		CodeTooManyOpen:    makeBatch(t, batch.Stamp{Queue: queue, TransactionGroup: group}, "half"),
	} {
		refused := n.publish(b)
		require.Equal(t, string(code), refused.GetError().GetCode())
		require.Contains(t, refused.GetError().GetMessage(), "is 2")
		require.False(t, refused.GetError().GetIndefinite())
	}
	require.Equal(t, end, n.b.ledger.Status().End, "nothing was appended")
	open, err := n.b.store.OpenTransactions(state.NoIndex, 1)
	require.NoError(t, err)
	_, err = n.end(transactionHandle(open[0].Queue, open[0].ID), false)
	require.NoError(t, err)
	n.half(queue, group, "another")
	require.Nil(t, n.publish(makeBatch(t, batch.Stamp{Queue: queue}, "now")).GetError())
}

// TestOpenTransactionsTakeWhatIsCounted: the leader's part of transactionBytes.
func TestOpenTransactionsTakeWhatIsCounted(t *testing.T) {
	const many = 20_000
	var open openTransactions
	before := liveHeap()
	for i := range many {
		open.take(state.Transaction{ID: state.Index(i), Group: 1}, time.Unix(int64(i), 0))
		open.makeReady(open.byID[state.Index(i)])
	}
	each := (liveHeap() - before) / many
	runtime.KeepAlive(&open)
	t.Logf("%d bytes each", each)
	require.Less(t, each, int64(transactionBytes))
}
