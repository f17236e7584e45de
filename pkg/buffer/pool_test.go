package buffer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSizes(t *testing.T) {
	for _, tc := range []struct{ n, capacity int }{
		{0, 2 << 10},
		{1, 2 << 10},
		{2 << 10, 2 << 10},
		{2<<10 + 1, 4 << 10},
		{16 << 10, 16 << 10},
		{32 << 10, 32 << 10},
		{32<<10 + 1, 72 << 10},
		{64 << 10, 72 << 10},
		{72 << 10, 72 << 10},
		{72<<10 + 1, 136 << 10},
		{1<<20 + 100, 1<<20 + 8<<10},
		{1<<20 + 8<<10 + 1, 2<<20 + 8<<10},
		{16 << 20, 16<<20 + 8<<10},
		{16<<20 + 8<<10 + 1, 16<<20 + 8<<10 + 1},
	} {
		p := NewPool()
		b := p.Get(tc.n)
		require.Len(t, *b, tc.n)
		require.Equal(t, tc.capacity, cap(*b), "%d bytes", tc.n)
		p.Put(b)
	}
}

// Every buffer has the capacity of its tier, whatever was asked for.
func TestAnyBufferServesItsTier(t *testing.T) {
	p := NewPool()
	for n := 1; n < 40<<20; n += 1 + n/3 {
		b := p.Get(n)
		*b = (*b)[:1] // a user may hand back a part of it
		p.Put(b)
		again := p.Get(cap(*b))
		require.Len(t, *again, cap(*b))
	}
}

func TestForeignBuffersStayOut(t *testing.T) {
	p := NewPool()
	foreign := make([]byte, 3000)
	p.Put(&foreign)
	require.Equal(t, 4<<10, cap(*p.Get(3000)))
}

func BenchmarkPool(b *testing.B) {
	p := NewPool()
	for b.Loop() {
		p.Put(p.Get(1 << 20))
	}
}
