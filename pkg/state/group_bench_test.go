package state

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// The size that issue 5 names: groups, and topics of eight queues; each group is in one
// topic.
const (
	manyGroups = 10_000
	manyTopics = 1_000
)

// fillGroups makes groups with progress in eight queues each.
func fillGroups(t testing.TB, s *Store) {
	var entries []Entry
	for i := range manyTopics {
		entries = append(entries, createEntry(t, fmt.Sprint("t", i), 8))
	}
	for i := range manyGroups {
		entries = append(entries, commandEntry(t, createGroup(fmt.Sprint("g", i))))
	}
	apply(t, s, entries...)
	entries = entries[:0]
	for i, g := range s.Groups() {
		topic, _ := s.Topic(fmt.Sprint("t", i%manyTopics))
		entries = append(entries, commandEntry(t, grantTo(g.ID, uint64(i)<<32, topic.Queues...)))
	}
	apply(t, s, entries...)
}

// BenchmarkOpenManyGroups is the start of a store with 10,000 groups in 80,000 queues.
func BenchmarkOpenManyGroups(b *testing.B) {
	fs := vfs.NewMem()
	s := openIn(b, fs)
	fillGroups(b, s)
	require.NoError(b, s.Close())
	var before, after runtime.MemStats
	for b.Loop() {
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&before)
		b.StartTimer()
		s = openIn(b, fs)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		groups, records := s.GroupCounts()
		require.Equal(b, []int{manyGroups, 8 * manyGroups}, []int{groups, records})
		s.Abandon()
		b.StartTimer()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
}
