package state

import (
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

func dueEntry(t testing.TB, upTo int64, limit uint32) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_DeliverDue{DeliverDue: &recordv1.DeliverDue{UpToUnixMs: upTo, Limit: limit}}})
}

func recallEntry(t testing.TB, id Index, queue uint32, request string) Entry {
	return commandEntry(t, &recordv1.Command{RequestId: request, Kind: &recordv1.Command_Recall{Recall: &recordv1.Recall{Id: int64(id), Queue: queue}}})
}

// giveUpEntry gives up a batch that was not carried.
func giveUpEntry(t testing.TB, id Index) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_GiveUpWaiting{GiveUpWaiting: &recordv1.GiveUpWaiting{Ids: []int64{int64(id)}, Places: []int64{int64(id)}}}})
}

func carryEntry(t testing.TB, ids, from, to []int64) Entry {
	return commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_CarryForward{CarryForward: &recordv1.CarryForward{Ids: ids, From: from, To: to}}})
}

// TestDelayedBatchesComeInTheOrderOfTheirTime and never before it; the queue's index
// points at the old entries, also after a restart.
func TestDelayedBatchesComeInTheOrderOfTheirTime(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	got := apply(t, s,
		createEntry(t, "a", 2),
		batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 30}, 2), // entry 1
		batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 10}, 1), // 2
		batchEntry(t, batch.Stamp{Queue: 2, DeliverAt: 10}, 1), // 3
		batchEntry(t, batch.Stamp{Queue: 1}, 5),                // 4
		dueEntry(t, 9, 10),                                     // 5: too early
	)
	require.Equal(t, Outcome{Queue: 1, BaseOffset: NoOffset, Count: 2, Waits: true, Handle: 1}, got[1])
	require.Zero(t, got[5].DeliveredBatches)
	require.Equal(t, Waiting{Delayed: 3, NextDue: 10}, s.Waiting())
	_, end, _ := s.QueueRange(1)
	require.Equal(t, Offset(5), end)
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	require.Equal(t, Waiting{Delayed: 3, NextDue: 10}, s.Waiting())

	got = apply(t, s, dueEntry(t, 29, 10)) // 6
	require.Equal(t, 2, got[0].DeliveredBatches)
	require.Equal(t, []QueueID{1, 2}, got[0].Delivered)
	apply(t, s, dueEntry(t, 30, 10), batchEntry(t, batch.Stamp{Queue: 1}, 1)) // 7, 8
	want := []Location{
		{BaseOffset: 0, Count: 5, Index: 4, Given: 4},
		{BaseOffset: 5, Count: 1, Index: 2, Given: 6},
		{BaseOffset: 6, Count: 2, Index: 1, Given: 7},
		{BaseOffset: 8, Count: 1, Index: 8, Given: 8},
	}
	for range 2 {
		all, err := s.Locate(1, 0, 10)
		require.NoError(t, err)
		require.Equal(t, want, all)
		require.Zero(t, s.Waiting())
		require.NoError(t, s.Close())
		s = openIn(t, fs)
	}
	require.NoError(t, s.Close())
}

func TestCommandsDeliverInPieces(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 1))
	for range 10 {
		apply(t, s, batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, 1))
	}
	require.Equal(t, 4, apply(t, s, dueEntry(t, 5, 4))[0].DeliveredBatches)
	require.Equal(t, 6, s.Waiting().Delayed)
	require.Equal(t, 6, apply(t, s, dueEntry(t, 5, MaxDeliver))[0].DeliveredBatches)
	require.Equal(t, CodeLimitExceeded, apply(t, s, dueEntry(t, 5, MaxDeliver+1))[0].Code)
}

// TestResendOfADelayedBatchIsStoredOnce, before and after it was delivered.
func TestResendOfADelayedBatchIsStoredOnce(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 1), registerEntry(t, "anna"))
	resend := batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2, DeliverAt: 5}, 3)
	first := apply(t, s, resend)[0]
	require.Equal(t, Outcome{Queue: 1, BaseOffset: NoOffset, Count: 3, Waits: true, Handle: 2}, first)
	first.Duplicate = true
	require.Equal(t, first, apply(t, s, resend)[0])
	require.Equal(t, 1, apply(t, s, dueEntry(t, 5, 10))[0].DeliveredBatches)
	require.Equal(t, first, apply(t, s, resend)[0])
	require.Zero(t, s.Waiting().Delayed)
	_, end, _ := s.QueueRange(1)
	require.Equal(t, Offset(3), end)
}

func TestRecall(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 2), batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, 3), batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 6}, 1))
	require.Equal(t, CodeNotWaiting, apply(t, s, recallEntry(t, 1, 2, ""))[0].Code, "another queue's handle")
	require.Empty(t, apply(t, s, recallEntry(t, 1, 1, "once"))[0].Code)
	retried := apply(t, s, recallEntry(t, 1, 1, "once"))[0]
	require.Empty(t, retried.Code)
	require.True(t, retried.Duplicate)
	require.Equal(t, CodeNotWaiting, apply(t, s, recallEntry(t, 1, 1, "twice"))[0].Code)
	require.Equal(t, 1, apply(t, s, dueEntry(t, 10, 10))[0].DeliveredBatches)
	require.Equal(t, CodeNotWaiting, apply(t, s, recallEntry(t, 2, 1, ""))[0].Code, "delivered")
}

func TestDeletedTopicTakesItsDelayedBatches(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 2), createEntry(t, "b", 1),
		batchEntry(t, batch.Stamp{Queue: 2, DeliverAt: 5}, 1), batchEntry(t, batch.Stamp{Queue: 3, DeliverAt: 5}, 1), deleteEntry(t, "a"))
	require.Equal(t, 1, s.Waiting().Delayed)
	require.Equal(t, []QueueID{3}, apply(t, s, dueEntry(t, 5, 10))[0].Delivered)
}

// TestCarryForwardFreesTheOldEntries: the floor of what may be purged follows what
// waits, and what was delivered late stays as long as its neighbours in the queue.
func TestCarryForwardFreesTheOldEntries(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	floor := func(before Index) Index {
		got, err := s.Floor(before)
		require.NoError(t, err)
		return got
	}
	waits := batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, 1)
	apply(t, s, createEntry(t, "a", 1), waits, batchEntry(t, batch.Stamp{Queue: 1}, 1)) // 0 to 2
	require.Equal(t, Index(1), floor(3))
	require.Equal(t, Index(0), floor(0))
	copied := waits
	copied.Type = EntryCarried
	apply(t, s, copied) // 3
	require.Equal(t, Index(1), floor(3), "a copy alone says nothing")
	for _, wrong := range []Entry{carryEntry(t, []int64{1}, []int64{2}, []int64{3}), carryEntry(t, []int64{1}, []int64{1}, []int64{99})} {
		require.Zero(t, apply(t, s, wrong)[0].Count)
	}
	require.Equal(t, uint32(1), apply(t, s, carryEntry(t, []int64{1}, []int64{1}, []int64{3}))[0].Count) // 6
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	held, err := s.HeldBefore(math.MaxInt64, 10)
	require.NoError(t, err)
	require.Equal(t, []Held{{ID: 1, Place: 3}}, held)
	require.Equal(t, Index(3), floor(6))
	require.Equal(t, Index(2), floor(2))

	apply(t, s, dueEntry(t, 5, 10)) // 7
	all, err := s.Locate(1, 1, 10)
	require.NoError(t, err)
	require.Equal(t, []Location{{BaseOffset: 1, Count: 1, Index: 3, Given: 7}}, all)
	require.Equal(t, Index(3), floor(7))
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	require.Equal(t, Index(3), floor(7), "also after a restart")
	require.NoError(t, s.Retain(7))
	first, _, _ := s.QueueRange(1)
	require.Equal(t, Offset(1), first, "what was published long ago goes, what was delivered just now stays")

	for s.Applied() < 2<<lateShift {
		var noops []Entry
		for range 1 << 12 {
			noops = append(noops, Entry{Type: EntryNoop})
		}
		apply(t, s, noops...)
	}
	require.Equal(t, Index(1<<lateShift), floor(1<<lateShift), "until enough has been written behind it")
	s.RaiseFirst(1, 2)
	s.RaiseFirst(1, 1)
	first, _, _ = s.QueueRange(1)
	require.Equal(t, Offset(2), first)
	require.NoError(t, s.Close())
}

// TestLateBatchesChangeABlocksVersion in the middle of a block, and Locate reads
// both kinds.
func TestLateBatchesChangeABlocksVersion(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 1), batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, 1))
	for range BlockBatches + 10 {
		apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 1))
	}
	apply(t, s, dueEntry(t, 5, 10), batchEntry(t, batch.Stamp{Queue: 1}, 1))
	all, err := s.Locate(1, 0, 100)
	require.NoError(t, err)
	require.Len(t, all, BlockBatches+12)
	require.Equal(t, Location{BaseOffset: BlockBatches + 10, Count: 1, Index: 1, Given: Index(BlockBatches) + 12}, all[BlockBatches+10])
	require.NoError(t, s.Retain(Index(BlockBatches)+12))
	first, _, _ := s.QueueRange(1)
	require.Equal(t, Offset(BlockBatches+10), first)
}

// TestLateDeliveriesAreForgotten bucket by bucket, but for the newest.
func TestLateDeliveriesAreForgotten(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	forget := func(before Index) {
		t.Helper()
		o := apply(t, s, commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_ForgetLate{ForgetLate: &recordv1.ForgetLate{Before: int64(before)}}}))[0]
		require.Equal(t, Outcome{BaseOffset: NoOffset, AboutWaiting: true}, o)
	}
	remembers := func(before Index) bool {
		t.Helper()
		yes, err := s.RemembersLate(before)
		require.NoError(t, err)
		return yes
	}
	apply(t, s, createEntry(t, "a", 1))
	const bucket = 1 << lateShift
	for n := range Index(3) { // something waits and is delivered in each of three buckets
		for s.Applied() < n*bucket {
			noops := make([]Entry, bucket/4)
			for i := range noops {
				noops[i] = Entry{Type: EntryNoop}
			}
			apply(t, s, noops...)
		}
		apply(t, s, batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, 1), dueEntry(t, 6, 10))
	}
	forget(0)
	forget(bucket - 1)
	require.True(t, remembers(bucket))
	require.False(t, remembers(bucket-1), "none lies wholly before")
	forget(bucket)
	require.False(t, remembers(bucket))
	require.True(t, remembers(2*bucket))
	forget(100 * bucket)
	require.False(t, remembers(2*bucket))
	require.True(t, remembers(3*bucket), "the newest stays")
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	require.True(t, remembers(3*bucket))
	apply(t, s, batchEntry(t, batch.Stamp{Queue: 1, DeliverAt: 5}, 1), dueEntry(t, 6, 10))
	floor, err := s.Floor(s.Applied())
	require.NoError(t, err)
	require.Less(t, floor, s.Applied())
}
