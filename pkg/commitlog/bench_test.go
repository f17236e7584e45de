package commitlog_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// benchConfig is a log as a broker has it, on the real disk.
func benchConfig(b *testing.B) commitlog.Config {
	b.Helper()
	return commitlog.Config{Dir: b.TempDir(), ClusterID: "c", Group: "g", MemberID: "n"}
}

// One iteration is one group: an append of batches and its sync.
func BenchmarkAppendSync(b *testing.B) {
	for _, bench := range []struct{ batches, size int }{{1, 128}, {1, 1 << 10}, {16, 64 << 10}} {
		for _, pageCache := range []bool{false, true} {
			b.Run(fmt.Sprintf("%dx%d/pagecache=%v", bench.batches, bench.size, pageCache), func(b *testing.B) {
				cfg := benchConfig(b)
				cfg.PageCache = pageCache
				l := mustOpen(b, cfg)
				l.BecomeMaster(1)
				bodies := make([]commitlog.Body, bench.batches)
				for i := range bodies {
					bodies[i] = body(i, bench.size)
				}
				b.SetBytes(int64(bench.batches * bench.size))
				next := Index(0)
				for b.Loop() {
					require.NoError(b, l.AppendMaster(1, next, bodies))
					next += Index(len(bodies))
					mustSync(b, l)
					if next%4096 == 0 {
						require.NoError(b, l.PurgeBefore(next))
					}
				}
			})
		}
	}
}

// The append alone: stamp, copy, chain.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{128, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			cfg := benchConfig(b)
			cfg.PageCache = true
			l := mustOpen(b, cfg)
			l.BecomeMaster(1)
			bodies := []commitlog.Body{body(1, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			next, unsynced := Index(0), 0
			for b.Loop() {
				require.NoError(b, l.AppendMaster(1, next, bodies))
				next++
				if unsynced += size; unsynced > 32<<20 {
					b.StopTimer()
					mustSync(b, l)
					require.NoError(b, l.PurgeBefore(next))
					unsynced = 0
					b.StartTimer()
				}
			}
		})
	}
}

// Sequential reads of 256 KiB, from memory and from files.
func BenchmarkRead(b *testing.B) {
	for _, hot := range []bool{true, false} {
		for _, size := range []int{128, 1 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("hot=%v/%d", hot, size), func(b *testing.B) {
				cfg := benchConfig(b)
				cfg.PageCache = true
				if !hot {
					cfg.TailCacheBytes = 1
				}
				l := mustOpen(b, cfg)
				const total = 32 << 20
				for written := 0; written < total; written += 1 << 20 {
					appendN(b, l, 1, (1<<20)/size, size)
					mustSync(b, l)
				}
				end, _ := l.Durable()
				next, read := Index(0), 0
				for b.Loop() {
					f, err := l.Read(next, end, 256<<10)
					require.NoError(b, err)
					read += len(f.Bytes)
					if next = f.Last + 1; next > end {
						next = 0
					}
				}
				b.SetBytes(int64(read / b.N))
			})
		}
	}
}

// openBytes is how large a log BenchmarkOpen opens; LEDGERMQ_OPEN_BYTES sets it.
func openBytes(b *testing.B) int64 {
	b.Helper()
	text := os.Getenv("LEDGERMQ_OPEN_BYTES")
	if text == "" {
		return 256 << 20
	}
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(b, err)
	return n
}

// Opening a log after a clean stop, and after its process was killed.
func BenchmarkOpen(b *testing.B) {
	size := openBytes(b)
	cfg := benchConfig(b)
	l := mustOpen(b, cfg)
	l.BecomeMaster(1)
	batches := make([]commitlog.Body, 8)
	for i := range batches {
		batches[i] = body(i, 1<<20)
	}
	for written := int64(0); written < size; written += 8 << 20 {
		end, _ := l.End()
		require.NoError(b, l.AppendMaster(1, end+1, batches))
		mustSync(b, l)
	}
	for _, clean := range []bool{false, true} {
		b.Run(fmt.Sprintf("%dMiB/clean=%v", size>>20, clean), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				b.StopTimer()
				if clean {
					require.NoError(b, l.Close())
				} else {
					l.Abandon()
				}
				var err error
				b.StartTimer()
				l, err = commitlog.Open(cfg)
				require.NoError(b, err)
			}
		})
	}
	l.Abandon()
}
