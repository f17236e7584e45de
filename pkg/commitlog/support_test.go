package commitlog_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

type (
	Index = commitlog.Index
	Term  = commitlog.Term
)

const dir = "/data/log"

// long says whether the exhaustive variants run. It is said aloud, so that a
// green run tells which one it was.
func long(t *testing.T) bool {
	t.Helper()
	if os.Getenv("LEDGERMQ_LONG") != "" {
		t.Log("LEDGERMQ_LONG is set: the long variant runs")
		return true
	}
	t.Log("the short variant runs; LEDGERMQ_LONG=1 runs the long one")
	return false
}

// segmentIDs never repeat, whichever logs a test opens one after another.
var segmentIDs atomic.Uint64

// config is a small log on a file system in memory.
func config(fs commitlog.FS) commitlog.Config {
	var now atomic.Int64
	now.Store(1_700_000_000_000_000_000)
	return commitlog.Config{
		Dir: dir, FS: fs, ClusterID: "c", Group: "g0", MemberID: "n1",
		SegmentBytes: 32 << 10, TailCacheBytes: 1, MaxGroupBytes: 64 << 10,
		Clock:     func() time.Time { return time.Unix(0, now.Add(1000)) },
		SegmentID: func() uint64 { return 0xABCD_0000_0000_0000 + segmentIDs.Add(1) },
	}
}

// mustOpen opens the log and abandons it when the test ends.
func mustOpen(t testing.TB, cfg commitlog.Config) *commitlog.Log {
	t.Helper()
	l, err := commitlog.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(l.Abandon)
	return l
}

// body makes a body of n bytes, at least 4, whose content depends on seed.
func body(seed, n int) commitlog.Body {
	b := make([]byte, max(n, 4))
	for i := range b[4:] {
		b[4+i] = byte(seed + i*7)
	}
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], crc32.MakeTable(crc32.Castagnoli)))
	return commitlog.Body{Type: commitlog.TypeBatch, Bytes: b}
}

// appendN appends entries of n bytes each as master of term.
func appendN(t testing.TB, l *commitlog.Log, term Term, count, n int) {
	t.Helper()
	end, _ := l.End()
	var bodies []commitlog.Body
	for i := range count {
		bodies = append(bodies, body(int(end)+1+i, n))
	}
	l.BecomeMaster(term)
	require.NoError(t, l.AppendMaster(term, end+1, bodies))
}

// mustSync syncs until nothing waits.
func mustSync(t testing.TB, l *commitlog.Log) commitlog.Persisted {
	t.Helper()
	for {
		p, err := l.Sync()
		require.NoError(t, err)
		if end, _ := l.End(); p.Index == end {
			return p
		}
	}
}

func mustTruncate(t testing.TB, l *commitlog.Log, i Index) {
	t.Helper()
	l.BecomeSlave(1)
	require.NoError(t, l.TruncateFrom(i))
}

// entries reads the whole log as encoded entries, one each, and checks that
// what it says about itself holds together.
func entries(l *commitlog.Log) ([][]byte, error) {
	end, endTerm := l.End()
	begin := l.Begin()
	var all [][]byte
	chain, err := l.ChainAt(begin - 1)
	if err != nil {
		return nil, err
	}
	for i := begin; i <= end; {
		f, err := l.Read(i, end, 1<<20)
		if err != nil {
			return nil, err
		}
		s, err := commitlog.Verify(f.Bytes)
		if err != nil {
			return nil, err
		}
		if f.First != i || s.First != i || s.Last != f.Last || s.PrevChain != chain {
			return nil, fmt.Errorf("read at %d: frame %d-%d, summary %+v, chain before %08x", i, f.First, f.Last, s, chain)
		}
		for rest := f.Bytes; len(rest) > 0; {
			_, _, after, err := commitlog.NextEntry(rest)
			if err != nil {
				return nil, err
			}
			all = append(all, rest[:len(rest)-len(after)])
			rest = after
		}
		i, chain = f.Last+1, s.Chain
	}
	if n := len(all); n > 0 {
		h, err := commitlog.ParseHeader(all[n-1])
		if err != nil || h.Term != endTerm {
			return nil, fmt.Errorf("last entry has term %d, End says %d: %w", h.Term, endTerm, err)
		}
	}
	return all, nil
}

func mustEntries(t testing.TB, l *commitlog.Log) [][]byte {
	t.Helper()
	all, err := entries(l)
	require.NoError(t, err)
	return all
}

func requireCount(t testing.TB, l *commitlog.Log, n int) [][]byte {
	t.Helper()
	all := mustEntries(t, l)
	require.Equal(t, n, len(all)) // Len would print all the bytes
	return all
}

// equalEntries says whether two logs hold the same bytes.
func equalEntries(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func newFS() *crashfs.FS { return crashfs.New() }

// dropOutlines deletes the outlines, as a log of an earlier version has none.
func dropOutlines(t testing.TB, fs *crashfs.FS) {
	t.Helper()
	for _, path := range outlineFiles(fs) {
		require.NoError(t, fs.Remove(path))
	}
	require.NoError(t, fs.SyncDir(dir))
}

// writeOutlines writes all that are due.
func writeOutlines(l *commitlog.Log) error {
	for more := true; more; {
		var err error
		if more, err = l.WriteOutline(); err != nil {
			return err
		}
	}
	return nil
}

func outlineFiles(fs *crashfs.FS) (paths []string) {
	for _, path := range fs.Files() {
		if strings.HasPrefix(filepath.Base(path), "outline-") {
			paths = append(paths, path)
		}
	}
	return paths
}

func asType[T error](err error, target *T) bool { return errors.As(err, target) }

// holdSync makes the next file sync wait: it closes inSync and goes on when
// goOn is closed.
func holdSync(fs *crashfs.FS, inSync, goOn chan struct{}) {
	var once sync.Once
	fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if c.Op == crashfs.OpSync {
			once.Do(func() {
				close(inSync)
				<-goOn
			})
		}
		return crashfs.Fault{}
	})
}

// awaitSync waits until holdSync holds a sync. A Sync that returned without one
// has told a lie.
func awaitSync(t *testing.T, inSync chan struct{}, synced chan error) {
	t.Helper()
	select {
	case <-inSync:
	case err := <-synced:
		t.Fatalf("Sync returned without a sync: %v", err)
	}
}

// TestMain keeps the files in which rapid remembers failures out of the tree:
// the seed that it prints is enough. The garbage collector runs seldom: thousands of
// small logs and disks come and go here, and what lives at a time is next to nothing.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	if err := flag.Set("rapid.nofailfile", "true"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
