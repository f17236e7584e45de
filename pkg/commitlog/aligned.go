package commitlog

import "unsafe"

// alignedMemory is n bytes that begin at a multiple of the block size, as direct writes
// want them.
func alignedMemory(n int) []byte {
	b := make([]byte, n)
	if at := offsetInBlock(b); at != 0 { // large ones come aligned
		b = make([]byte, n+blockBytes)
		at = offsetInBlock(b)
		b = b[(blockBytes-at)%blockBytes:]
	}
	return b[:n:n]
}

// isAligned says whether b is whole blocks, some, at a multiple of the block size.
func isAligned(b []byte) bool {
	return len(b) > 0 && len(b)%blockBytes == 0 && offsetInBlock(b) == 0
}

func offsetInBlock(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) % blockBytes)
}
