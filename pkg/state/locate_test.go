package state

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// filled returns a store in which queue 1 holds n batches of 1 to 3 records,
// between others, and where they are.
func filled(t testing.TB, fs vfs.FS, n int) (*Store, []Location) {
	t.Helper()
	s := openIn(t, fs)
	apply(t, s, createEntry(t, "a", 2))
	rng := rand.New(rand.NewPCG(1, 1))
	var want []Location
	for offset := Offset(0); len(want) < n; {
		records := 1 + rng.IntN(3)
		group := []Entry{batchEntry(t, batch.Stamp{Queue: 1}, records)}
		for range rng.IntN(3) {
			group = append(group, batchEntry(t, batch.Stamp{Queue: 2}, 1))
		}
		want = append(want, Location{BaseOffset: offset, Count: uint32(records), Index: s.Applied() + 1, Given: s.Applied() + 1})
		apply(t, s, group...)
		offset += Offset(records)
	}
	return s, want
}

func checkLocate(t *testing.T, s *Store, want []Location) {
	t.Helper()
	for i, l := range want {
		for _, limit := range []int{1, 2, 65, 1_000} {
			got, err := s.Locate(1, l.BaseOffset+Offset(l.Count)-1, limit)
			require.NoError(t, err)
			require.NotEmpty(t, got)
			require.Equal(t, want[i:i+len(got)], got)
			require.True(t, len(got) <= limit)
			require.True(t, len(got) == limit || i+len(got) == len(want), "%d of %d from %d", len(got), limit, i)
		}
	}
	got, err := s.Locate(1, 0, 0)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestLocateFromMemoryAndStore(t *testing.T) {
	for _, n := range []int{1, BlockBatches - 1, BlockBatches, BlockBatches + 1, 5*BlockBatches + 7} {
		fs := vfs.NewMem()
		s, want := filled(t, fs, n)
		checkLocate(t, s, want)
		require.NoError(t, s.Close())
		s = openIn(t, fs)
		checkLocate(t, s, want)
		s.Abandon()
	}
}

func TestTailIsReadFromMemory(t *testing.T) {
	s, want := filled(t, vfs.NewMem(), 1_000)
	s.Abandon() // Pebble is closed: what can still be found is in memory
	for i, l := range want {
		got, err := s.Locate(1, l.BaseOffset, 1)
		if i >= len(want)-recentBatches {
			require.NoError(t, err)
			require.Equal(t, l, got[0])
		} else if err != nil {
			require.ErrorIs(t, err, ErrClosed)
		}
	}
	require.LessOrEqual(t, cap(s.work.queues[1].recent), 2*recentBatches)
}

func TestLocateFindsNoForeignBlock(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "a", 3), batchEntry(t, batch.Stamp{Queue: 1}, 1), batchEntry(t, batch.Stamp{Queue: 3}, 1))
	got, err := s.Locate(2, 0, 1)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = s.Locate(4, 0, 1)
	require.ErrorIs(t, err, ErrUnknownQueue)
	_, _, ok := s.TopicOfQueue(4)
	require.False(t, ok)
}

// TestReadersWhileApplying reads from several goroutines while topics come and go.
func TestReadersWhileApplying(t *testing.T) {
	s := open(t)
	apply(t, s, createEntry(t, "stays", 2))
	var done atomic.Bool
	var readers sync.WaitGroup
	for reader := range 3 {
		readers.Go(func() {
			if err := readAlong(s, &done, rand.New(rand.NewPCG(9, uint64(reader)))); err != nil {
				t.Error(err)
			}
		})
	}
	for round := range 20 {
		group := []Entry{createEntry(t, "goes", 2)}
		newest := uint32(2*round + 3)
		for range 40 {
			group = append(group, batchEntry(t, batch.Stamp{Queue: 1}, 2), batchEntry(t, batch.Stamp{Queue: 2}, 1), batchEntry(t, batch.Stamp{Queue: newest}, 1))
		}
		apply(t, s, group...)
		for range 70 {
			apply(t, s, batchEntry(t, batch.Stamp{Queue: newest}, 1))
		}
		apply(t, s, deleteEntry(t, "goes"))
		if round%5 == 0 {
			require.NoError(t, s.Flush())
		}
	}
	done.Store(true)
	readers.Wait()
}

// readAlong checks what it sees of random queues until it is told to stop.
func readAlong(s *Store, done *atomic.Bool, rng *rand.Rand) error {
	var applied Index
	var end Offset
	for !done.Load() {
		for _, topic := range s.Topics() {
			for _, q := range topic.Queues {
				if err := readQueue(s, q, rng); err != nil {
					return err
				}
			}
		}
		_, now, ok := s.QueueRange(1)
		if at := s.Applied(); !ok || now < end || at < applied {
			return fmt.Errorf("ran backwards: end %d after %d, applied %d after %d", now, end, at, applied)
		} else {
			end, applied = now, at
		}
		s.FlushDue()
	}
	return nil
}

func readQueue(s *Store, q QueueID, rng *rand.Rand) error {
	first, end, ok := s.QueueRange(q)
	if !ok || end == first {
		return nil
	}
	from := first + Offset(rng.Int64N(int64(end-first)))
	got, err := s.Locate(q, from, 1+rng.IntN(100))
	if err == ErrUnknownQueue && q > 2 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("queue %d at %d of %d to %d: %w", q, from, first, end, err)
	}
	next, index := from, NoIndex
	for i, l := range got {
		if (i > 0 && l.BaseOffset != next) || l.BaseOffset > from && i == 0 || l.Index <= index {
			return fmt.Errorf("queue %d from %d: %v", q, from, got)
		}
		next, index = l.BaseOffset+Offset(l.Count), l.Index
	}
	return nil
}
