package state

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestFateOf follows a delayed batch that was carried, and transactions to their ends.
func TestFateOf(t *testing.T) {
	s := open(t)
	waits := batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 500}, 3)
	carried := waits
	carried.Type = EntryCarried
	half := batchEntry(t, batch.Stamp{Queue: 2, TransactionGroup: 1}, 2)
	apply(t, s, createEntry(t, "t", 2), groupEntry(t, "g"), waits, half, half, half, carried, carryEntry(t, []int64{2}, []int64{2}, []int64{6}),
		endEntry(t, 4, 2, true), endEntry(t, 5, 2, false))
	for id, want := range map[Index]Fate{
		2: {Waits: true, Place: 6, Due: 500, Queue: 1},
		3: {Waits: true, Place: 3, TransactionGroup: 1, Queue: 2},
		4: {Ended: true, Committed: true, Base: 0, Queue: 2},
		5: {Ended: true, Base: NoOffset},
	} {
		got, ok, err := s.FateOf(id)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, got, "entry %d", id)
	}
	apply(t, s, dueEntry(t, 500, 10))
	for _, id := range []Index{-1, 0, 2, 100} {
		_, ok, err := s.FateOf(id)
		require.NoError(t, err)
		require.False(t, ok, "entry %d", id)
	}
}
