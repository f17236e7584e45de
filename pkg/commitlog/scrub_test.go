package commitlog_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// pass scrubs once from the beginning to the end.
func pass(t *testing.T, l *commitlog.Log) (size int64, err error) {
	t.Helper()
	for next, steps := Index(0), 0; ; steps++ {
		require.Less(t, steps, 10_000, "the scrub does not come to an end")
		var n int64
		var done bool
		next, n, done, err = l.Scrub(next, 4096)
		size += n
		if err != nil || done {
			return size, err
		}
	}
}

// scrubAll is a pass that finds what there is to find.
func scrubAll(l *commitlog.Log) error {
	next, done := Index(0), false
	for steps := 0; !done; steps++ {
		var err error
		if next, _, done, err = l.Scrub(next, 1<<20); err != nil {
			return err
		}
		if steps > 10_000 {
			return errors.New("the scrub does not come to an end")
		}
	}
	return nil
}

// A pass reads every sealed entry from its file and finds any damage, which is
// faulty from then on.
func TestScrub(t *testing.T) {
	fs := newFS()
	cfg := tolerant(fs)
	cfg.TailCacheBytes = 64 << 20 // memory does not hide the disk
	l := mustOpen(t, cfg)
	for range 20 {
		appendN(t, l, 1, 2, 3000)
		mustSync(t, l)
	}
	all := mustEntries(t, l)
	active := Index(0)
	for _, path := range fs.Files() {
		var base Index
		base, _ = commitlog.ParseSegmentName(path)
		active = max(active, base)
	}
	size, err := pass(t, l)
	require.NoError(t, err)
	require.Equal(t, int64(len(bytes.Join(all[:active], nil))), size)
	require.Empty(t, l.Faulty())

	path := fs.Files()[1]
	data, err := fs.ReadFile(path)
	require.NoError(t, err)
	hurt := Index(-1)
	for i, e := range all {
		if at := bytes.Index(data, e); at >= 0 {
			hurt = Index(i)
			require.NoError(t, damage(fs, path, int64(at+500)))
			break
		}
	}
	_, err = pass(t, l)
	require.NoError(t, err)
	require.Len(t, l.Faulty(), 1)
	require.Equal(t, hurt, l.Faulty()[0].First)
	require.Equal(t, hurt, l.Faulty()[0].Last)
	require.NoError(t, l.Repair(hurt, peerCopy(all)))
	again, err := pass(t, l)
	require.NoError(t, err)
	require.Equal(t, size, again)
	require.Empty(t, l.Faulty())
}
