package commitlog_test

import (
	"bytes"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// What a reader holds stays as it is while the log goes on, until it is released.
func TestHeldFramesStay(t *testing.T) {
	cfg := config(crashfs.New())
	cfg.SegmentBytes, cfg.TailCacheBytes = 8<<20, 1<<20
	l := mustOpen(t, cfg)
	l.BecomeMaster(1)
	for _, size := range []int{100, 50_000, 300_000} {
		appendN(t, l, 1, 4, size)
		first, _ := l.End()
		held, err := l.Read(first, first, size*2)
		require.NoError(t, err)
		want := bytes.Clone(held.Bytes)
		for range 3 << 20 / size {
			appendN(t, l, 1, 1, size)
			mustSync(t, l)
		}
		require.True(t, bytes.Equal(want, held.Bytes), "entries of %d bytes", size)
		again, err := l.Read(first, first, size*2) // by now from the file
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, again.Bytes))
		again.Release()
		held.Release()
		require.Nil(t, held.Bytes)
		held.Release() // a frame knows that it has been
		copied, err := l.Read(first, first, size*2)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, copied.Bytes))
	}
}

// Memory goes round: in the long run a log takes none for what it appends, nor
// for what is read and released.
func TestTailMemoryIsUsedAgain(t *testing.T) {
	cfg := config(crashfs.New())
	cfg.SegmentBytes, cfg.TailCacheBytes, cfg.FS = 64<<20, 4<<20, nil
	cfg.Dir = t.TempDir()
	l := mustOpen(t, cfg)
	l.BecomeMaster(1)
	bodies := []commitlog.Body{body(1, 200_000)}
	step := func() {
		end, _ := l.End()
		require.NoError(t, l.AppendMaster(1, end+1, bodies))
		f, err := l.Read(end+1, end+1, 1)
		require.NoError(t, err)
		mustSync(t, l)
		f.Release()
	}
	for range 50 { // fills the cache
		step()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		step()
	}
	runtime.ReadMemStats(&after)
	perStep := int64(after.TotalAlloc-before.TotalAlloc) / 100
	require.Less(t, perStep, int64(20_000*raceFactor), "an entry has 200,000 bytes")
}

// Readers come and go while the writer appends, syncs and drops what is old.
func TestConcurrentRelease(t *testing.T) {
	cfg := config(crashfs.New())
	cfg.SegmentBytes, cfg.TailCacheBytes = 1<<20, 256<<10
	l := mustOpen(t, cfg)
	l.BecomeMaster(1)
	appendN(t, l, 1, 1, 1000)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				end, _ := l.End()
				f, err := l.Read(max(0, end-40), end, 64<<10)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := commitlog.Verify(f.Bytes); err != nil {
					t.Errorf("entries %d to %d: %v", f.First, f.Last, err)
				}
				f.Release()
			}
		})
	}
	for range 200 {
		appendN(t, l, 1, 3, 20_000)
		mustSync(t, l)
	}
	close(stop)
	readers.Wait()
}

// Entries that a caller lends are kept where they are until nobody reads them.
func TestLentEntriesAreGivenBackOnce(t *testing.T) {
	leader := mustOpen(t, config(crashfs.New()))
	leader.BecomeMaster(1)
	cfg := config(crashfs.New())
	cfg.MemberID, cfg.SegmentBytes, cfg.TailCacheBytes = "n2", 8<<20, 1<<20
	l := mustOpen(t, cfg)
	given := map[Index]int{}
	lend := func(size int) (first Index, want []byte) {
		appendN(t, leader, 1, 3, size)
		end, _ := leader.End()
		for i := end - 2; i <= end; i++ { // they need not lie in one chunk there
			f, err := leader.Read(i, i, size*2)
			require.NoError(t, err)
			want = append(want, f.Bytes...)
		}
		lent := bytes.Clone(want)
		require.NoError(t, l.AppendLent(commitlog.Lent{Bytes: lent, Hold: func() (int, func()) {
			return len(lent), func() {
				given[end-2]++
				clear(lent) // somebody else has the memory now
			}
		}}))
		mustSync(t, leader)
		return end - 2, want
	}
	small, _ := lend(1000)
	first, want := lend(40_000)
	held, err := l.Read(first, first+2, len(want))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, held.Bytes), "one chunk has them all")
	for range 50 {
		lend(40_000)
		mustSync(t, l)
	}
	require.NotContains(t, given, small, "copied: it is too little to be worth a hold")
	require.Equal(t, 1, given[first+3], "evicted")
	require.Zero(t, given[first], "evicted, but somebody reads it")
	require.True(t, bytes.Equal(want, held.Bytes))
	held.Release()
	require.Equal(t, 1, given[first])
	var again []byte
	for i := first; i <= first+2; i++ { // by now from the file
		f, err := l.Read(i, i, len(want))
		require.NoError(t, err)
		again = append(again, f.Bytes...)
	}
	require.True(t, bytes.Equal(want, again))

	last, _ := lend(40_000)
	require.NoError(t, l.TruncateFrom(last))
	require.Equal(t, 1, given[last], "truncated")
	for first, n := range given {
		require.Equal(t, 1, n, "entries from %d", first)
	}
}

// A body that a leader is lent is kept where it lies, headers are put before it, and it
// is written from there: what is read, then and after a restart, is what a copy gives.
func TestLentBodies(t *testing.T) {
	const room = commitlog.FrameRoom + commitlog.HeaderBytes
	for _, tc := range []struct {
		name       string
		size, room int
		kept       bool
	}{
		{"with room for both headers", 100_000, room, true},
		{"with more room", 70_000, 2 * room, true},
		{"with room for one", 100_000, commitlog.HeaderBytes, true},
		{"without room", 100_000, commitlog.HeaderBytes - 1, false},
		{"too little", 1000, room, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := crashfs.New()
			cfg := config(fs)
			cfg.SegmentBytes, cfg.TailCacheBytes = 1<<20, 4<<20
			l := mustOpen(t, cfg)
			twinFS := crashfs.New()
			cfg.FS, cfg.Clock = twinFS, config(twinFS).Clock
			twin := mustOpen(t, cfg)
			given := 0
			var held []commitlog.Frame
			for i := range Index(3) {
				b := body(int(i), tc.size)
				memory := append(make([]byte, tc.room), b.Bytes...)
				lent := commitlog.Body{Type: b.Type, Bytes: memory[tc.room:]}
				lent.Lent.Room = memory[:tc.room]
				lent.Lent.Hold = func() (int, func()) {
					return len(memory), func() { given++; clear(memory) }
				}
				l.BecomeMaster(1)
				twin.BecomeMaster(1)
				require.NoError(t, l.AppendMaster(1, i, []commitlog.Body{lent}))
				require.NoError(t, twin.AppendMaster(1, i, []commitlog.Body{b}))
				f, err := l.Read(i, i, 1<<20)
				require.NoError(t, err)
				held = append(held, f)
				if !tc.kept {
					clear(memory)
				}
			}
			mustSync(t, l)
			mustSync(t, twin)
			want := mustEntries(t, twin)
			again := mustOpen(t, config(fs.CrashWith(crashfs.Loss{})))
			require.True(t, equalEntries(want, mustEntries(t, again)))
			mustTruncate(t, l, 0)
			require.Zero(t, given, "somebody reads them")
			for i := range held {
				require.True(t, bytes.Equal(want[i], held[i].Bytes))
				held[i].Release()
			}
			givenBack := 0
			if tc.kept {
				givenBack = 3
			}
			require.Equal(t, givenBack, given)
		})
	}
}
