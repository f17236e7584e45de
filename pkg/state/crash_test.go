package state

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// dump is every key and value of a store.
func dump(t testing.TB, s *Store) []string {
	t.Helper()
	it, err := s.db.NewIter(&pebble.IterOptions{})
	require.NoError(t, err)
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, fmt.Sprintf("%q = %x", it.Key(), it.Value()))
	}
	require.NoError(t, it.Close())
	return out
}

// applyInGroups applies entries in groups of 1 to limit and says the rolling hash
// after each group to seen.
func applyInGroups(t testing.TB, s *Store, entries []Entry, rng *rand.Rand, limit int, seen func()) {
	t.Helper()
	for len(entries) > 0 {
		n := min(len(entries), 1+rng.IntN(limit))
		_, err := s.Apply(entries[:n])
		require.NoError(t, err)
		entries = entries[n:]
		seen()
	}
}

func TestHistoriesHoldEveryOutcome(t *testing.T) {
	codes := map[string]int{}
	duplicates, forgotten, delivered := 0, 0, 0
	for _, o := range madeUp(t, 1, 4_000).want {
		codes[o.Code]++
		delivered += o.DeliveredBatches
		if o.Duplicate && o.Code == "" && o.Queue != 0 {
			duplicates++
			if o.BaseOffset == NoOffset {
				forgotten++
			}
		}
	}
	for _, code := range []string{
		CodeOK, CodeUnknownQueue, CodeUnknownProducer, CodeProducerFenced, CodeOutOfOrderSequence,
		CodeSequenceConflict, CodeUnknownTopic, CodeTopicExists, CodeInvalidTopicName, CodeLimitExceeded, CodeNotWaiting,
		CodeUnknownTransactionGroup, CodeUnknownTransaction, CodeTransactionEnded,
	} {
		require.Greater(t, codes[code], 4, "%q", code)
	}
	require.Greater(t, duplicates-forgotten, 20)
	require.Greater(t, forgotten, 5)
	require.Greater(t, delivered, 100)
}

// TestGroupingLeavesNoTrace: the same entries in other groups, with flushes and
// reopenings in between, give the same bytes.
func TestGroupingLeavesNoTrace(t *testing.T) {
	entries := madeUp(t, 2, 2_500).entries
	reference := open(t)
	hashes := map[Index]uint32{}
	applyInGroups(t, reference, entries, rand.New(rand.NewPCG(1, 1)), 1, func() {
		hash, at := reference.Hash()
		hashes[at] = hash
	})
	want := dump(t, reference)
	fullHash, at, err := reference.FullHash()
	require.NoError(t, err)
	require.Equal(t, Index(len(entries)-1), at)

	for round, limit := range []int{2, 7, 100, 400, len(entries)} {
		rng := rand.New(rand.NewPCG(3, uint64(round)))
		fs := vfs.NewMem()
		s := openIn(t, fs)
		for part := range 5 {
			from, to := part*len(entries)/5, (part+1)*len(entries)/5
			applyInGroups(t, s, entries[from:to], rng, limit, func() {
				hash, at := s.Hash()
				require.Equal(t, hashes[at], hash, "at entry %d", at)
				if rng.IntN(20) == 0 {
					require.NoError(t, s.Flush())
				}
			})
			require.NoError(t, s.Close())
			s = openIn(t, fs)
		}
		if diff := cmp.Diff(want, dump(t, s)); diff != "" {
			t.Fatalf("groups up to %d (-one by one +grouped):\n%s", limit, diff)
		}
		got, at, err := s.FullHash()
		require.NoError(t, err)
		require.Equal(t, fullHash, got)
		require.Equal(t, reference.Applied(), at)
		require.NoError(t, s.Close())
	}
}

// TestCrashLeavesAPrefix crashes at many points, with any part of what was not
// synced lost, and applies the rest again.
func TestCrashLeavesAPrefix(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { crashAndReplay(t, seed) })
	}
}

func crashAndReplay(t *testing.T, seed uint64) {
	h := madeUp(t, 10+seed, 1_500)
	reference := open(t)
	hashes := map[Index]uint32{NoIndex: 0}
	applyInGroups(t, reference, h.entries, rand.New(rand.NewPCG(1, 1)), 1, func() {
		hash, at := reference.Hash()
		hashes[at] = hash
	})
	want := dump(t, reference)

	rng := rand.New(rand.NewPCG(seed, 2))
	fs := vfs.NewCrashableMem()
	crashes, replayed := 0, 0
	s := openIn(t, fs)
	for s.Applied() < Index(len(h.entries)-1) {
		rest := h.entries[s.Applied()+1:]
		applyInGroups(t, s, rest[:min(len(rest), 1+rng.IntN(150))], rng, 30, func() {
			if rng.IntN(12) == 0 {
				require.NoError(t, s.Flush())
			}
		})
		before, durable := s.Applied(), s.DurableApplied()
		crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		s.Abandon()
		fs = crashed
		s = openIn(t, fs)
		require.LessOrEqual(t, s.Applied(), before)
		require.GreaterOrEqual(t, s.Applied(), durable, "what DurableApplied promised")
		require.Equal(t, s.Applied(), s.DurableApplied())
		hash, at := s.Hash()
		require.Equal(t, hashes[at], hash, "at entry %d", at)
		crashes++
		replayed += int(before - s.Applied())
	}
	if diff := cmp.Diff(want, dump(t, s)); diff != "" {
		t.Fatalf("(-never crashed +crashed %d times):\n%s", crashes, diff)
	}
	compare(t, h.m, s)
	s.Abandon()
	require.Greater(t, crashes, 5)
	require.Positive(t, replayed, "no crash took anything back: this tests nothing")
}

func TestAbandonFlushesNothing(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	entries := madeUp(t, 4, 500).entries
	_, err := s.Apply(entries[:200])
	require.NoError(t, err)
	require.Equal(t, NoIndex, s.DurableApplied())
	require.NoError(t, s.Flush())
	require.Equal(t, Index(199), s.DurableApplied())
	_, err = s.Apply(entries[200:])
	require.NoError(t, err)
	require.Equal(t, Index(199), s.DurableApplied())
	s.Abandon()
	s.Abandon()

	s = openIn(t, fs)
	require.Equal(t, Index(199), s.Applied())
	_, err = s.Apply(entries[200:])
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Close(), ErrClosed)

	s = openIn(t, fs)
	defer s.Abandon()
	require.Equal(t, Index(499), s.Applied(), "Close flushes")
}

func TestAbandonOfAnEmptyStore(t *testing.T) {
	fs := vfs.NewMem()
	for range 3 {
		s := openIn(t, fs)
		require.Equal(t, NoIndex, s.Applied())
		s.Abandon()
	}
	s := openIn(t, fs)
	require.NoError(t, s.Flush())
	require.NoError(t, s.Close())
}

func TestClosedStoreRefuses(t *testing.T) {
	s := openIn(t, vfs.NewMem())
	entries := madeUp(t, 5, 1_000)
	_, err := s.Apply(entries.entries)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	_, err = s.Apply(nil)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, s.Flush(), ErrClosed)
	_, _, err = s.FullHash()
	require.ErrorIs(t, err, ErrClosed)
	hash, at := s.Hash()
	require.NotZero(t, hash)
	require.Equal(t, Index(999), at)
}
