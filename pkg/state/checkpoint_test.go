package state

import (
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestCheckpoint takes checkpoints of a store that goes on, on real files: each is
// the state at its index, and a store that goes on from it becomes the same.
func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	openAt := func(name string) *Store {
		s, err := Open(Config{Dir: filepath.Join(dir, name), MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
		require.NoError(t, err)
		return s
	}
	s := openAt("store")
	defer s.Abandon()
	apply(t, s, createEntry(t, "a", 1))
	for range 200 {
		apply(t, s, batchEntry(t, batch.Stamp{Queue: 1}, 2))
	}
	want := s.Tip()
	tip, err := s.Checkpoint(filepath.Join(dir, "copy"))
	require.NoError(t, err)
	require.Equal(t, want, tip)
	require.Equal(t, want.Index, s.DurableApplied())
	var later []Entry
	for range 100 {
		e := batchEntry(t, batch.Stamp{Queue: 1}, 3)
		apply(t, s, e)
		later = append(later, e)
	}
	require.NoError(t, s.Flush())

	got, err := Inspect(filepath.Join(dir, "copy"))
	require.NoError(t, err)
	require.Equal(t, want, got)
	other := openAt("copy")
	defer other.Abandon()
	require.Equal(t, want, other.Tip())
	apply(t, other, later...)
	require.Equal(t, s.Tip(), other.Tip())
	mine, _, err := s.FullHash()
	require.NoError(t, err)
	theirs, _, err := other.FullHash()
	require.NoError(t, err)
	require.Equal(t, mine, theirs)

	_, err = s.Checkpoint(filepath.Join(dir, "copy"))
	require.Error(t, err, "there is something already")
	_, err = Inspect(filepath.Join(dir, "nothing"))
	require.ErrorIs(t, err, ErrCorrupt)
	s.Abandon()
	_, err = s.Checkpoint(filepath.Join(dir, "late"))
	require.ErrorIs(t, err, ErrClosed)
}

func TestInspectAnEmptyStore(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, openIn(t, fs).Close())
	tip, err := inspect(fs, "state")
	require.NoError(t, err)
	require.Equal(t, Tip{Index: NoIndex, Term: NoTerm}, tip)
}

// The newest stamp goes along with the state: to the next start, and with a seed.
func TestNewestStamp(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: filepath.Join(dir, "state")})
	require.NoError(t, err)
	require.Zero(t, s.NewestStamp())
	_, err = s.Apply([]Entry{{Index: 0, Term: 1, Type: EntryNoop, AppendTimeUnixNano: 70}, {Index: 1, Term: 1, Type: EntryNoop, AppendTimeUnixNano: 90}})
	require.NoError(t, err)
	require.EqualValues(t, 90, s.NewestStamp())
	_, err = s.Checkpoint(filepath.Join(dir, "copy"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	for _, name := range []string{"state", "copy"} {
		s, err = Open(Config{Dir: filepath.Join(dir, name)})
		require.NoError(t, err)
		require.EqualValues(t, 90, s.NewestStamp())
		require.NoError(t, s.Close())
	}
}
