package commitlog

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

func someOutline() *outline {
	return &outline{
		segmentID: 7,
		before:    tip{index: 99, term: 3, chain: 1},
		end:       tip{index: 130, term: 5, chain: 2, time: 1_700_000_000},
		pos:       5 * blockBytes, frames: 3,
		runs:    []Run{{First: 100, Term: 3}, {First: 120, Term: 5}},
		extents: []extent{{first: 100, last: 119, pos: 4160, end: 8000}, {first: 120, last: 130, pos: 8256, end: 16000}},
	}
}

func TestOutlineBytes(t *testing.T) {
	o := someOutline()
	b := o.encode()
	require.Len(t, b, outlineHeaderBytes+2*outlineRunBytes+2*outlineExtentBytes+4)
	got, err := parseOutline(b)
	require.NoError(t, err)
	require.Equal(t, o, got)
	for i := range b {
		b[i] ^= 0x20
		_, err := parseOutline(b)
		require.Error(t, err, "byte %d", i)
		b[i] ^= 0x20
	}
}

// What does not hold together is not taken, though its CRC is right.
func TestOutlineThatDoesNotHoldTogether(t *testing.T) {
	for name, spoil := range map[string]func(*outline){
		"no entry":                    func(o *outline) { o.end.index = 99 },
		"no frames":                   func(o *outline) { o.frames = 1 },
		"end within a block":          func(o *outline) { o.pos++ },
		"first term elsewhere":        func(o *outline) { o.runs[0].First++ },
		"terms fall":                  func(o *outline) { o.runs[1].Term = 2 },
		"a term below the one before": func(o *outline) { o.before.term = 4 },
		"a term behind the end":       func(o *outline) { o.runs[1].First = 131 },
		"another last term":           func(o *outline) { o.end.term = 6 },
		"no terms":                    func(o *outline) { o.runs = nil },
		"a hole":                      func(o *outline) { o.extents[1].first++ },
		"one too few":                 func(o *outline) { o.extents = o.extents[:1] },
		"positions run backwards":     func(o *outline) { o.extents[1].pos = 4200 },
		"an entry in the header":      func(o *outline) { o.extents[0].pos = 100 },
		"an entry in the seal":        func(o *outline) { o.extents[1].end = 4*blockBytes + 1 },
	} {
		o := someOutline()
		spoil(o)
		_, err := parseOutline(o.encode())
		require.Error(t, err, name)
	}
}

// FuzzOutline gives arbitrary bytes a right CRC. What is taken is exactly what it says.
func FuzzOutline(f *testing.F) {
	f.Add(someOutline().encode())
	f.Add(someOutline().encode()[:outlineHeaderBytes+4])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 {
			sum := len(b) - 4
			binary.LittleEndian.PutUint32(b[sum:], crc32.Checksum(b[:sum], castagnoli))
		}
		o, err := parseOutline(b)
		if err != nil {
			return
		}
		require.Equal(t, b, o.encode())
		require.Equal(t, o.before.index+1, o.runs[0].First)
		require.Equal(t, o.end.index, o.extents[len(o.extents)-1].last)
	})
}

func TestOutlineNames(t *testing.T) {
	base, ok := parseOutlineName(outlineName(7))
	require.True(t, ok)
	require.Equal(t, Index(7), base)
	for _, name := range []string{"00000000000000000007.log", "outline-7.log", "outline-00000000000000000007", "outline--0000000000000000007.log", "x" + outlineName(7)} {
		_, ok := parseOutlineName(name)
		require.False(t, ok, name)
	}
}
