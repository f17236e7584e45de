package buffer

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

const (
	minExponent = 11 // 2 KiB: gRPC pools nothing of 1 KiB or less
	maxExponent = 24 // 16 MiB
	// slackFrom is the exponent from which a buffer is a little larger than its power
	// of two: what carries a batch of a round size is that batch and a few bytes, and
	// may have to be moved to a certain place in a block.
	slackFrom = 16
	slack     = 8 << 10
)

// Pool is a mem.BufferPool with a size for every power of two. gRPC's own one
// clears a buffer at each use, all of it, and jumps from 32 KiB to 1 MiB.
type Pool struct {
	tiers [maxExponent - minExponent + 1]sync.Pool // of *[]byte with the tier's capacity
}

var _ mem.BufferPool = (*Pool)(nil)

// NewPool returns an empty pool.
func NewPool() *Pool { return new(Pool) }

// Get returns a buffer of n bytes with whatever is in them. One of more than 16 MiB
// comes from the heap.
func (p *Pool) Get(n int) *[]byte {
	tier := tierFor(n)
	if tier >= len(p.tiers) {
		b := make([]byte, n)
		return &b
	}
	if b, _ := p.tiers[tier].Get().(*[]byte); b != nil {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, tierSize(tier))
	return &b
}

// Put takes back a buffer that Get returned; nobody may read it from now on.
func (p *Pool) Put(b *[]byte) {
	if tier := tierFor(cap(*b)); tier < len(p.tiers) && tierSize(tier) == cap(*b) {
		p.tiers[tier].Put(b)
	}
}

// tierFor is the smallest tier with room for n bytes.
func tierFor(n int) int {
	exponent := max(bits.Len(uint(max(n, 1)-1)), minExponent)
	if exponent > slackFrom && n <= 1<<(exponent-1)+slack {
		exponent--
	}
	return exponent - minExponent
}

func tierSize(tier int) int {
	exponent := tier + minExponent
	if exponent >= slackFrom {
		return 1<<exponent + slack
	}
	return 1 << exponent
}
