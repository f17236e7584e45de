package client

// QueueOfKey returns the queue that messages with this key go to in a topic of n
// queues: FNV-1a of 64 bits, its halves folded, modulo n. It never changes, for
// an order by key depends on it.
func QueueOfKey(key []byte, n int) int {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, b := range key {
		h = (h ^ uint64(b)) * prime
	}
	return int(uint32(h^h>>32) % uint32(n))
}
