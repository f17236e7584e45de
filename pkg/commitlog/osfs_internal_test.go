package commitlog

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWritesOfAnyShape writes what fits direct writes and what does not, in buffers
// cut anywhere, and reads it back through the page cache.
func TestWritesOfAnyShape(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tc := range []struct {
		name     string
		off      int64
		size     int
		pieces   int
		reserved int64
	}{
		{"a block", 4096, 4096, 3, 1 << 20},
		{"not a block", 4096, 4000, 3, 1 << 20},
		{"not at a block", 100, 8192, 2, 1 << 20},
		{"more than a staging buffer", 8192, 5<<20 + 4096, 700, 16 << 20},
		{"in one buffer", 0, 3 << 20, 1, 16 << 20},
		{"frames in place", 4096, 6 << 20, 24, 16 << 20},
		{"beyond the end of the file", 1 << 20, 64 << 10, 5, 1 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a")
			f, err := osFS{}.Create(path)
			require.NoError(t, err)
			require.NoError(t, f.Preallocate(tc.reserved))
			require.NoError(t, osFS{}.Rename(path, path+"2"), "the name does not matter")
			written := make([]byte, tc.size)
			for i := range written {
				written[i] = byte(rng.Uint32())
			}
			before := make([]byte, tc.reserved)
			_, err = f.ReadAt(before, 0) // the page cache knows the file as it was
			require.NoError(t, err)
			require.NoError(t, f.WriteAt(tc.off, cutAligned(rng, written, tc.pieces)...))
			require.NoError(t, f.Sync())
			got := make([]byte, tc.size)
			_, err = f.ReadAt(got, tc.off)
			require.NoError(t, err)
			require.True(t, bytes.Equal(written, got))
			testReadDirect(t, rng, f.(directReader), tc.off, written)
			require.NoError(t, f.Close())
			onDisk, err := os.ReadFile(path + "2")
			require.NoError(t, err)
			require.Len(t, onDisk, int(max(tc.reserved, tc.off+int64(tc.size))))
			require.True(t, bytes.Equal(written, onDisk[tc.off:tc.off+int64(tc.size)]))
			require.ErrorIs(t, f.WriteAt(0, make([]byte, blockBytes)), os.ErrClosed)
		})
	}
}

// testReadDirect reads what was written into memory and from places that fit direct reads
// and such that do not.
func testReadDirect(t *testing.T, rng *rand.Rand, f directReader, off int64, written []byte) {
	t.Helper()
	for range 20 {
		at, n := rng.IntN(len(written)), rng.IntN(len(written))+1
		b := make([]byte, n)
		if rng.IntN(3) > 0 {
			at = at &^ (blockBytes - 1)
			b = alignedMemory(int(alignUp(int64(n))))
		}
		want := written[at:min(at+len(b), len(written))]
		got, err := f.ReadDirect(b, off+int64(at))
		require.GreaterOrEqual(t, got, len(want), "%d bytes at %d: %v", len(b), at, err)
		require.True(t, bytes.Equal(want, b[:len(want)]))
	}
}

// cutAligned is cut, with some pieces of whole blocks where the kernel takes them as
// they are.
func cutAligned(rng *rand.Rand, b []byte, pieces int) (out [][]byte) {
	for _, p := range cut(rng, b, pieces) {
		if whole := len(p) &^ (blockBytes - 1); whole > 0 && rng.IntN(2) == 0 {
			moved := alignedMemory(whole)
			copy(moved, p)
			out, p = append(out, moved), p[whole:]
		}
		out = append(out, p)
	}
	return out
}

// cut divides b into so many buffers, some of which are empty.
func cut(rng *rand.Rand, b []byte, pieces int) (out [][]byte) {
	for range pieces - 1 {
		n := rng.IntN(2*len(b)/pieces + 1)
		n = min(n, len(b))
		out, b = append(out, b[:n], nil), b[n:]
	}
	return append(out, b)
}
