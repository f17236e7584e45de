package buffer

import (
	"unsafe"

	"google.golang.org/grpc/mem"
)

// BlockBytes is what Place counts from multiples of.
const BlockBytes = 4096

// placeFrom is from how many bytes on it is worth it: the log copies what is less.
const placeFrom = 64 << 10

// Place puts data together in one buffer of the pool so that its byte at `at` stands
// offset bytes behind a multiple of BlockBytes in memory, and offset bytes of the buffer
// at least before it. before is how many bytes of the buffer stand before data. Where it
// makes no difference (little data, at below 0) or does not go, data stands as it may.
func Place(pool mem.BufferPool, data mem.BufferSlice, at, offset int) (buffer mem.Buffer, before int) {
	if len(data) < 2 || data.Len() < placeFrom || at < 0 || at > BlockBytes || offset > BlockBytes {
		return data.MaterializeToBuffer(pool), 0
	}
	if before = offset - at; before < 0 {
		before += BlockBytes
	}
	b := pool.Get(before + data.Len())
	if uintptr(unsafe.Pointer(unsafe.SliceData(*b)))%BlockBytes != 0 { // large memory is aligned as a rule
		*b, before = (*b)[:data.Len()], 0
	}
	data.CopyTo((*b)[before:])
	return mem.NewBuffer(b, pool), before
}
