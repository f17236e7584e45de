package buffer

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
)

// What matters comes to lie where it was wanted, with room before it, and all is what it was.
func TestPlace(t *testing.T) {
	value := bytes.Repeat([]byte("value"), 40_000)
	for _, tc := range []struct {
		name         string
		head, offset int
		value        []byte
		first        int // bytes of the first of two buffers
		placed       bool
	}{
		{"a small head", 3, 112, value, 16 << 10, true},
		{"a head longer than the room", 300, 64, value, 16 << 10, true},
		{"a head as long as the room", 55, 64, value, 16 << 10, true},
		{"a head of almost a block", 4000, 64, value, 16 << 10, true},
		{"a head that is too long", 5000, 64, value, 16 << 10, false},
		{"no head", -1, 64, value, 16 << 10, false},
		{"little", 3, 64, value[:1000], 500, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := append(make([]byte, max(tc.head, 0)), tc.value...)
			pool := NewPool()
			data := mem.BufferSlice{mem.SliceBuffer(raw[:tc.first]), mem.SliceBuffer(raw[tc.first:])}
			b, before := Place(pool, data, tc.head, tc.offset)
			memory := b.ReadOnlyData()
			require.True(t, bytes.Equal(raw, memory[before:]))
			at := len(memory) - len(tc.value)
			if tc.placed {
				require.GreaterOrEqual(t, at, tc.offset)
				place := uintptr(unsafe.Pointer(&memory[at]))
				require.EqualValues(t, tc.offset, place%BlockBytes)
			} else {
				require.Zero(t, before)
			}
			b.Free()
		})
	}
	one := mem.SliceBuffer(value)
	b, before := Place(NewPool(), mem.BufferSlice{one}, 3, 64)
	require.Zero(t, before)
	require.True(t, &b.ReadOnlyData()[0] == &one[0], "what is one buffer already is not copied")
}

// A batch of a round size still fits the tier of its size.
func TestPlacedBatchTakesNoLargerBuffer(t *testing.T) {
	raw := make([]byte, 200+1<<20+80)
	data := mem.BufferSlice{mem.SliceBuffer(raw[:1000]), mem.SliceBuffer(raw[1000:])}
	b, _ := Place(NewPool(), data, 200, 112)
	require.Equal(t, 1<<20+slack, cap(b.ReadOnlyData()))
}
