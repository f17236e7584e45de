package commitlog_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
)

// purgedLog is a closed log of which the oldest segments were purged.
func purgedLog(t *testing.T) (fs *crashfs.FS, all [][]byte, begin Index) {
	t.Helper()
	fs, all = outlinedLog(t)
	l := mustOpen(t, config(fs))
	base, ok := commitlog.ParseSegmentName(segmentFiles(fs)[1])
	require.True(t, ok)
	require.NoError(t, l.PurgeBefore(base))
	require.NoError(t, l.Close())
	require.GreaterOrEqual(t, len(segmentFiles(fs)), 3)
	return fs, all, base
}

// The header of the oldest segment after a purge is damaged, or cannot be read. Its outline says
// what stood there, at this start and at the next; without one that fits the log is refused.
func TestDamagedHeaderAfterAPurge(t *testing.T) {
	for name, hurt := range map[string]func(fs *crashfs.FS, path string) bool{
		"rot":        func(fs *crashfs.FS, path string) bool { return fs.Flip(path, 33, 1) },
		"unreadable": func(fs *crashfs.FS, path string) bool { return fs.Spoil(path, 0, true) },
	} {
		t.Run(name, func(t *testing.T) {
			fs, all, begin := purgedLog(t)
			first := segmentFiles(fs)[0]
			before := mustOpen(t, tolerant(fs.Clone()))
			require.True(t, hurt(fs, first))

			bare := fs.Clone()
			require.NoError(t, bare.Remove(outlineFiles(bare)[0]))
			_, err := commitlog.Open(tolerant(bare))
			require.Error(t, err)
			other := fs.Clone() // the outline is another segment's
			wrong, err := other.ReadFile(outlineFiles(other)[1])
			require.NoError(t, err)
			other.WriteFile(outlineFiles(other)[0], wrong)
			_, err = commitlog.Open(tolerant(other))
			require.Error(t, err)
			_, err = commitlog.Open(config(fs.Clone())) // nobody has a copy: nothing is made up
			require.Error(t, err)

			for range 3 {
				l := mustOpen(t, tolerant(fs))
				require.Equal(t, begin, l.Begin())
				require.Equal(t, before.PrevTerm(), l.PrevTerm())
				require.Equal(t, before.Runs(), l.Runs()[:len(before.Runs())])
				require.Empty(t, l.Faulty())
				require.NoError(t, scrubAll(l))
				require.True(t, equalEntries(mustEntries(t, l), all[begin:]))
				appendN(t, l, 90, 1, 300)
				mustSync(t, l)
				all = append(all[:begin:begin], mustEntries(t, l)...)
				require.NoError(t, l.Close())
			}

			l := mustOpen(t, tolerant(fs))
			base, _ := commitlog.ParseSegmentName(segmentFiles(fs)[1])
			require.NoError(t, l.PurgeBefore(base))
			require.NoError(t, l.Close())
			l = mustOpen(t, config(fs)) // what was damaged is gone, with its outline
			require.True(t, equalEntries(mustEntries(t, l), all[base:]))
		})
	}
}

// The damage is larger: the history is not what the outline begins with, or another one's.
func TestWitnessIsNotBelieved(t *testing.T) {
	fs, _, _ := purgedLog(t)
	first := segmentFiles(fs)[0]
	require.True(t, fs.Flip(first, 33, 1))
	require.True(t, fs.Flip(segmentFiles(fs)[1], 33, 1)) // nobody confirms it
	_, err := commitlog.Open(tolerant(fs))
	require.Error(t, err)

	fs, _, _ = purgedLog(t)
	files := segmentFiles(fs)
	data, err := fs.ReadFile(files[1]) // another segment stands under the name
	require.NoError(t, err)
	data[33] ^= 1
	fs.WriteFile(files[0], data)
	l, err := commitlog.Open(tolerant(fs))
	if err == nil { // what stands there is not taken for its entries
		defer l.Abandon()
		require.NotEmpty(t, l.Faulty())
		_, err = l.Read(l.Begin(), l.Begin(), 1<<20)
		require.ErrorIs(t, err, commitlog.ErrFaulty)
	}
}

// A damaged header is made from what stands before its segment. A purge must not take that away:
// the next Open would refuse a log of which nothing is missing.
func TestPurgeKeepsWhatADamagedHeaderIsMadeFrom(t *testing.T) {
	for name, hurt := range map[string]func(fs *crashfs.FS, path string) bool{
		"rot":        func(fs *crashfs.FS, path string) bool { return fs.Flip(path, 33, 1) },
		"unreadable": func(fs *crashfs.FS, path string) bool { return fs.Spoil(path, 0, true) },
	} {
		t.Run(name, func(t *testing.T) {
			fs, all := outlinedLog(t)
			files := segmentFiles(fs)
			base := make([]Index, len(files))
			for n, path := range files {
				base[n], _ = commitlog.ParseSegmentName(path)
			}
			require.True(t, hurt(fs, files[2]))
			l := mustOpen(t, tolerant(fs))
			require.NoError(t, l.PurgeBefore(base[2]))
			require.NoError(t, l.Close())
			l = mustOpen(t, tolerant(fs))
			require.Equal(t, base[1], l.Begin())
			require.Empty(t, l.Faulty())
			require.True(t, equalEntries(mustEntries(t, l), all[base[1]:]))
			require.NoError(t, l.PurgeBefore(base[3]))
			require.NoError(t, l.Close())
			l = mustOpen(t, config(fs))
			require.Equal(t, base[3], l.Begin())
			require.True(t, equalEntries(mustEntries(t, l), all[base[3]:]))
		})
	}
}
