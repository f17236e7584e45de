package state

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestRetain asks for every place where a ledger may begin, in order and after a
// restart, and compares with a linear search.
func TestRetain(t *testing.T) {
	for _, n := range []int{1, BlockBatches, BlockBatches + 1, 5*BlockBatches + 7} {
		fs := vfs.NewMem()
		s, want := filled(t, fs, n)
		end := want[n-1].BaseOffset + Offset(want[n-1].Count)
		before, _, err := s.FullHash()
		require.NoError(t, err)
		expect := func(s *Store, begin Index) {
			first := end
			for i := n - 1; i >= 0 && want[i].Index >= begin; i-- {
				first = want[i].BaseOffset
			}
			got, gotEnd, ok := s.QueueRange(1)
			require.True(t, ok)
			require.Equal(t, []Offset{first, end}, []Offset{got, gotEnd}, "the ledger begins at %d", begin)
			if first > 0 {
				_, err := s.Locate(1, first-1, 1)
				require.ErrorIs(t, err, ErrOffsetTooLow)
			}
			places, err := s.Locate(1, first, 1)
			require.NoError(t, err)
			if first < end {
				require.Equal(t, first, places[0].BaseOffset)
			}
		}
		for begin := Index(0); begin <= s.Applied()+1; begin++ {
			require.NoError(t, s.Retain(begin))
			expect(s, begin)
		}
		after, _, err := s.FullHash()
		require.NoError(t, err)
		require.Equal(t, before, after, "retention is a matter of the member, not of the state")
		require.NoError(t, s.Close())
		for _, begin := range []Index{0, 2, want[n/2].Index, want[n/2].Index + 1, want[n-1].Index, want[n-1].Index + 1} {
			s := openIn(t, fs)
			require.NoError(t, s.Retain(begin))
			expect(s, begin)
			s.Abandon()
			require.ErrorIs(t, s.Retain(begin), ErrClosed)
		}
	}
}

// TestRetainWhileApplying lets a queue grow and others come and go meanwhile.
func TestRetainWhileApplying(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 1))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 2))
			apply(t, s, createEntry(t, "b", 1))
			apply(t, s, batchEntry(t, batch.Stamp{Queue: uint32(s.work.nextQueue) - 1}, 1), deleteEntry(t, "b"))
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		require.NoError(t, s.Retain(s.Applied()/2))
	}
	require.NoError(t, s.Retain(s.Applied()/2))
	first, end, ok := s.QueueRange(1)
	require.True(t, ok)
	require.Equal(t, Offset(600), end)
	places, err := s.Locate(1, first, 1)
	require.NoError(t, err)
	require.GreaterOrEqual(t, places[0].Index, s.Applied()/2)
	require.Less(t, places[0].Index, s.Applied()/2+5)
}
