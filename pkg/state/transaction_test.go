package state

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

func groupEntry(t testing.TB, name string) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_RegisterTransactionGroup{RegisterTransactionGroup: &recordv1.RegisterTransactionGroup{Name: name}}})
}

func endEntry(t testing.TB, id Index, queue uint32, commit bool) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_EndTransaction{EndTransaction: &recordv1.EndTransaction{Id: int64(id), Queue: queue, Commit: commit}}})
}

// TestTransactionsEndOnce, visible only when committed, also over restarts in between.
func TestTransactionsEndOnce(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	reopen := func() {
		require.NoError(t, s.Close())
		s = openIn(t, fs)
	}
	got := apply(t, s, createEntry(t, "a", 1), groupEntry(t, "shop"), groupEntry(t, "shop"), groupEntry(t, "bank"))
	require.Equal(t, []uint64{1, 1, 2}, []uint64{got[1].ProducerID, got[2].ProducerID, got[3].ProducerID})
	half := batch.Stamp{Queue: 1, TransactionGroup: 2}
	got = apply(t, s, batchEntry(t, half, 2), batchEntry(t, half, 1), batchEntry(t, batch.Stamp{Queue: 1}, 1), batchEntry(t, batch.Stamp{Queue: 1, TransactionGroup: 3}, 1))
	require.Equal(t, Outcome{Queue: 1, BaseOffset: NoOffset, Count: 2, Waits: true, Handle: 4, Transaction: true}, got[0])
	require.Equal(t, CodeUnknownTransactionGroup, got[3].Code)
	_, end, _ := s.QueueRange(1)
	require.Equal(t, Offset(1), end)
	reopen()
	open, err := s.OpenTransactions(NoIndex, 100)
	require.NoError(t, err)
	require.Equal(t, []Transaction{{ID: 4, Place: 4, Queue: 1, Group: 2}, {ID: 5, Place: 5, Queue: 1, Group: 2}}, open)
	floor, err := s.Floor(7)
	require.NoError(t, err)
	require.Equal(t, Index(4), floor)

	first := apply(t, s, endEntry(t, 4, 1, true))[0]
	require.Equal(t, Offset(1), first.BaseOffset)
	require.Equal(t, []QueueID{1}, first.Delivered)
	require.Empty(t, apply(t, s, endEntry(t, 5, 1, false))[0].Code)
	for range 2 {
		again := apply(t, s, endEntry(t, 4, 1, true))[0]
		require.True(t, again.Duplicate)
		require.Equal(t, Offset(1), again.BaseOffset)
		require.Empty(t, again.Delivered)
		require.True(t, apply(t, s, endEntry(t, 5, 1, false))[0].Duplicate)
		require.Equal(t, CodeTransactionEnded, apply(t, s, endEntry(t, 4, 1, false))[0].Code)
		require.Equal(t, CodeTransactionEnded, apply(t, s, endEntry(t, 5, 1, true))[0].Code)
		require.Equal(t, CodeUnknownTransaction, apply(t, s, endEntry(t, 6, 1, true))[0].Code)
		require.Equal(t, CodeUnknownTransaction, apply(t, s, endEntry(t, 4, 2, true))[0].Code)
		reopen()
	}
	all, err := s.Locate(1, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []Location{{BaseOffset: 0, Count: 1, Index: 6, Given: 6}, {BaseOffset: 1, Count: 2, Index: 4, Given: 8}}, all)
	require.Equal(t, Waiting{Groups: 2}, s.Waiting())
	require.NoError(t, s.Close())
}

func TestDeletedTopicTakesItsTransactions(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 1), groupEntry(t, "shop"), batchEntry(t, batch.Stamp{Queue: 1, TransactionGroup: 1}, 1), deleteEntry(t, "a"))
	require.Zero(t, s.Waiting().Transactions)
	require.Equal(t, CodeUnknownTransaction, apply(t, s, endEntry(t, 2, 1, true))[0].Code)
}

// TestEndedTransactionsAreForgotten in the order in which they ended, also by a store
// that was opened anew.
func TestEndedTransactionsAreForgotten(t *testing.T) {
	var mine transactions
	for i := range Index(2*TransactionMemory + 10) {
		forgotten, full := mine.remember(2*i, ended{id: i})
		require.Equal(t, i >= TransactionMemory, full)
		if full {
			require.Equal(t, 2*(i-TransactionMemory), forgotten)
		}
		require.LessOrEqual(t, len(mine.ended), TransactionMemory)
	}
	require.NotContains(t, mine.ended, Index(TransactionMemory+9))
	require.Contains(t, mine.ended, Index(TransactionMemory+10))
}
