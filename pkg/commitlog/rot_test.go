package commitlog_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// cachedFS is a file system with a page cache that holds files as they once were. Direct
// reads pass it by.
type cachedFS struct {
	*crashfs.FS
	cache  map[string][]byte      // by path; what is not in it reads as the disk has it
	direct func(b []byte) (n int) // what a direct read makes of what the disk has: how many bytes are spoilt
}

func (f cachedFS) Open(path string) (commitlog.File, error) {
	file, err := f.FS.Open(path)
	return &cachedFile{File: file, fs: f, path: path}, err
}

type cachedFile struct {
	commitlog.File
	fs   cachedFS
	path string
}

func (f *cachedFile) ReadAt(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if cached := f.fs.cache[f.path]; off < int64(len(cached)) {
		copy(b[:n], cached[off:])
	}
	return n, err
}

func (f *cachedFile) ReadDirect(b []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(b, off)
	if f.fs.direct != nil {
		clear(b[:f.fs.direct(b)])
	}
	return n, err
}

// rot damages an entry of a sealed segment and returns which.
func rot(t *testing.T, fs *crashfs.FS, all [][]byte) (path string, hurt Index) {
	t.Helper()
	path = segmentFiles(fs)[1]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	for i, e := range all {
		if at := bytes.Index(data, e); at >= 0 {
			require.NoError(t, damage(fs, path, int64(at+len(e)-20)))
			return path, Index(i)
		}
	}
	require.Fail(t, "the segment holds no entry")
	return "", 0
}

// A sector rots of which the page cache holds the good bytes. Whoever looks at it sees
// what the disk has: the read, the second look that tells what exactly is damaged, the
// scrub, and the next Open.
func TestRotBelowThePageCache(t *testing.T) {
	for _, first := range []string{"read", "scrub", "open"} {
		t.Run(first, func(t *testing.T) {
			fs, all := outlinedLog(t)
			disk := cachedFS{FS: fs, cache: map[string][]byte{}}
			for _, path := range segmentFiles(fs) {
				data, err := fs.ReadFile(path)
				require.NoError(t, err)
				disk.cache[path] = data
			}
			l := mustOpen(t, tolerant(disk))
			_, hurt := rot(t, fs, all)
			switch first {
			case "read":
				_, err := l.Read(hurt, hurt, 1<<20)
				require.ErrorIs(t, err, commitlog.ErrFaulty)
			case "scrub":
				_, err := pass(t, l)
				require.NoError(t, err)
			case "open":
				l.Abandon()
				dropOutlines(t, fs)
				l = mustOpen(t, tolerant(disk))
			}
			require.Len(t, l.Faulty(), 1)
			require.Equal(t, hurt, l.Faulty()[0].First)
			require.NoError(t, readAround(l, all))
			l.Abandon()
			l = mustOpen(t, tolerant(disk))
			require.Len(t, l.Faulty(), 1, "it is found again")
			require.NoError(t, repairAll(l, all))
			require.True(t, equalEntries(mustEntries(t, l), all))
		})
	}
}

// The disk gives good bytes to whoever reads the whole segment, and bad ones to the scrub,
// again and again. The scrub says so and gets on.
func TestScrubGetsOnWithADiskThatChangesItsMind(t *testing.T) {
	spoil, whole := false, 80<<10
	cfg := tolerant(cachedFS{FS: newFS(), direct: func(b []byte) int {
		if spoil && len(b) < whole {
			return len(b)
		}
		return 0
	}})
	cfg.SegmentBytes = 128 << 10
	mustOpen(t, cfg).Abandon() // files that were created know no direct reads here
	l := mustOpen(t, cfg)
	for range 60 {
		appendN(t, l, 1, 2, 3000)
		mustSync(t, l)
	}
	all := mustEntries(t, l)
	l.Abandon()
	l = mustOpen(t, cfg)
	spoil = true
	end, _ := l.End()
	bad := 0
	for next, steps := Index(0), 0; ; steps++ {
		require.Less(t, steps, len(all)+1, "the scrub does not get on")
		after, _, done, err := l.Scrub(next, 4096)
		if done {
			break
		}
		var corruption *commitlog.CorruptionError
		if asType(err, &corruption) {
			after, bad = max(corruption.Index, after)+1, bad+1
		} else {
			require.NoError(t, err)
		}
		require.Greater(t, after, next)
		next = after
	}
	require.Positive(t, bad)
	require.Greater(t, end, Index(bad), "the active segment is not scrubbed")
	spoil = false
	require.True(t, equalEntries(mustEntries(t, l), all), "nothing of it is faulty")
}
