package state

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// BenchmarkApply applies batches round robin to the queues, in groups; ns/op are
// per batch. "idempotent" batches have a producer and so a window to store.
func BenchmarkApply(b *testing.B) {
	for _, queues := range []int{1, 16, 1_000} {
		for _, group := range []int{1, 64} {
			for _, producer := range []uint64{0, 2} {
				kind := map[uint64]string{0: "plain", 2: "idempotent"}[producer]
				b.Run(fmt.Sprintf("queues=%d/group=%d/%s", queues, group, kind), func(b *testing.B) {
					benchmarkApply(b, queues, group, producer)
				})
			}
		}
	}
}

func benchmarkApply(b *testing.B, queues, group int, producer uint64) {
	s, err := Open(Config{Dir: b.TempDir()})
	require.NoError(b, err)
	defer s.Abandon()
	apply(b, s, createEntry(b, "a", uint32(queues)), registerEntry(b, ""))
	body := batchBody(b, batch.Stamp{Queue: 1, ProducerID: producer}, 100, 1)
	entries := make([]Entry, group)
	for i := range entries {
		entries[i] = Entry{Type: EntryBatch, Term: 1, Body: append([]byte(nil), body...)}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += group {
		for i := range entries {
			e := &entries[i]
			e.Index = Index(n+i) + 2
			binary.LittleEndian.PutUint32(e.Body[16:], uint32(1+(n+i)%queues))
			if producer != 0 {
				binary.LittleEndian.PutUint64(e.Body[40:], uint64((n+i)/queues*100))
			}
		}
		outcomes, err := s.Apply(entries)
		if err != nil || outcomes[0].Code != CodeOK {
			b.Fatal(err, outcomes[0])
		}
	}
}

func BenchmarkLocate(b *testing.B) {
	s, want := filled(b, vfs.NewMem(), 20_000)
	defer s.Abandon()
	require.NoError(b, s.Flush())
	for name, l := range map[string]Location{"tail": want[len(want)-10], "old": want[1_000]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				if _, err := s.Locate(1, l.BaseOffset, 8); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
