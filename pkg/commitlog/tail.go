package commitlog

import (
	"slices"
	"sort"
)

// chunkBytes is how much memory the tail cache takes at a time. It is also
// the most that one Read from memory returns: a frame that fits the L2 cache.
const chunkBytes = 256 << 10

// chunk is a piece of memory with consecutive encoded entries. Bytes below
// len(buf) do not change while anybody has a hold on the chunk: readers and the
// writer hold slices of them. Appending fills the room behind.
type chunk struct {
	first  Index
	buf    []byte
	starts []uint32 // where each entry begins in buf
	memory []byte   // all of it, for the next use; nil: it is somebody else's
	head   []byte   // room for a frame's header right before buf, over which its capacity reaches; nil: there is none
	size   int64    // bytes of memory that it takes
	holds  int      // the tail's own and those of frames that were not released

	release func() // gives somebody else's memory back
}

func (c *chunk) last() Index { return c.first + Index(len(c.starts)) - 1 }

// start is where entry i begins; for the entry after the last, where it ends.
func (c *chunk) start(i Index) int {
	if n := int(i - c.first); n < len(c.starts) {
		return int(c.starts[n])
	}
	return len(c.buf)
}

// upTo is the last entry of the run of whole entries from `from` to `to` that
// fits maxBytes, from itself at least.
func (c *chunk) upTo(from, to Index, maxBytes int) Index {
	begin := c.start(from)
	n := sort.Search(int(to-from), func(n int) bool {
		return c.start(from+Index(n)+2)-begin > maxBytes
	})
	return from + Index(n)
}

// slice is the bytes of the entries from `from` to `to`.
func (c *chunk) slice(from, to Index) []byte {
	end := c.start(to + 1)
	return c.buf[c.start(from):end:end]
}

// grow makes room for one more entry of n bytes and returns the room.
func (c *chunk) grow(n int) []byte {
	at := len(c.buf)
	c.starts = append(c.starts, uint32(at))
	c.buf = c.buf[:at+n]
	return c.buf[at:]
}

// tail is the newest entries of the log: all that is not written yet, and
// before it what the limit leaves room for. It is one structure, so that an
// appended body is copied once, for the writer and the readers alike.
type tail struct {
	chunks []*chunk // consecutive
	bytes  int64    // memory held
	limit  int64
	step   int // size of a new chunk

	spare      []*chunk // nobody has a hold on them
	spareBytes int64
}

// spareShare is which part of the limit may lie about as spare chunks.
const spareShare = 8

// inPlaceFrom is how many bytes of entries, from the beginning of a chunk on, become a
// frame of their own, written from where they lie. Padding costs it half a block.
const inPlaceFrom = 64 << 10

// newTail bounds the memory; a small tail takes it in small chunks.
func newTail(limit int64) tail {
	return tail{limit: limit, step: int(min(max(limit/4, blockBytes), chunkBytes))}
}

// room returns a chunk that can take entry i of n bytes at its end.
func (t *tail) room(i Index, n int) *chunk {
	if len(t.chunks) > 0 {
		if c := t.chunks[len(t.chunks)-1]; cap(c.buf)-len(c.buf) >= n {
			return c
		}
	}
	c := t.newChunk(t.nextRoom(n))
	c.first = i
	t.addChunk(c)
	return c
}

// afterLent is the size of a chunk behind one that is somebody else's memory. The next of
// those may close it soon: a large one would be mostly empty.
const afterLent = 4 * blockBytes

// nextRoom is how large the next chunk is, for an entry of n bytes.
func (t *tail) nextRoom(n int) int {
	if k := len(t.chunks); k > 0 && t.chunks[k-1].memory == nil && n+groupHeaderBytes <= afterLent {
		return min(afterLent, t.step)
	}
	return t.chunkRoom(n)
}

// addChunk puts a chunk, on which nobody has a hold yet, at the end.
func (t *tail) addChunk(c *chunk) {
	c.holds = 1
	t.chunks = append(t.chunks, c)
	t.bytes += c.size
}

// chunkRoom is how large the chunk for an entry of n bytes is: one of a few sizes,
// a block above a power of two, so that a batch of a round size fits with its
// header and that of a frame, and the chunk has a second use.
func (t *tail) chunkRoom(n int) int {
	n += groupHeaderBytes
	if n <= t.step {
		return t.step
	}
	for size := t.step; size < 16*chunkBytes; size *= 2 {
		if n <= size+blockBytes {
			return size + blockBytes
		}
	}
	return n
}

// newChunk returns an empty chunk of that size, a spare one if there is one.
func (t *tail) newChunk(size int) *chunk {
	for n := len(t.spare) - 1; n >= 0; n-- {
		if c := t.spare[n]; len(c.memory) == size {
			t.spare = slices.Delete(t.spare, n, n+1)
			t.spareBytes -= int64(size)
			return c
		}
	}
	c := &chunk{memory: alignedMemory(size), size: int64(size)}
	c.reset()
	return c
}

// reset makes a chunk with memory of its own empty.
func (c *chunk) reset() {
	c.head = c.memory[:groupHeaderBytes]
	c.buf, c.starts = c.memory[groupHeaderBytes:groupHeaderBytes], c.starts[:0]
}

// letGo gives up one hold on c. After the last one the chunk may be used again.
func (t *tail) letGo(c *chunk) {
	c.holds--
	assert(c.holds >= 0, "a frame was released twice")
	switch {
	case c.holds > 0:
	case c.release != nil:
		c.release()
	case (t.spareBytes+c.size)*spareShare <= t.limit:
		c.reset()
		t.spare, t.spareBytes = append(t.spare, c), t.spareBytes+c.size
	}
}

// find returns the position of the chunk that holds entry i, if one does.
func (t *tail) find(i Index) (int, bool) {
	n := sort.Search(len(t.chunks), func(n int) bool { return t.chunks[n].last() >= i })
	return n, n < len(t.chunks) && t.chunks[n].first <= i
}

// piece is consecutive entries in memory, one buffer of a write.
type piece struct {
	first, last Index
	bytes       []byte
}

// part is consecutive entries that become one frame.
type part struct {
	pieces []piece
	bytes  int64
	before tip    // the entry before the first
	place  []byte // room for the frame's header and the entries, as they lie in memory; nil: they lie apart
}

func (p *part) last() Index { return p.pieces[len(p.pieces)-1].last }

// gather returns what the next write takes: whole entries behind `before`, up to maxBytes
// but one at least. What fills a good part of a chunk from its beginning becomes a frame
// in place, unless all are to be together in one.
func (t *tail) gather(before tip, maxBytes int64, together bool) (parts []part, size int64) {
	n, ok := t.find(before.index + 1)
	if !ok {
		return nil, 0
	}
	for _, c := range t.chunks[n:] {
		from := max(before.index+1, c.first)
		pieces, bytes := c.pieces(from, maxBytes-size, size == 0)
		if len(pieces) == 0 {
			break
		}
		size += bytes
		switch n := len(parts) - 1; {
		case !together && from == c.first && c.head != nil && bytes >= int64(min(inPlaceFrom, t.step)):
			parts = append(parts, part{pieces: pieces, bytes: bytes, before: before, place: c.head[:groupHeaderBytes+bytes]})
		case n >= 0 && parts[n].place == nil:
			parts[n].pieces, parts[n].bytes = append(parts[n].pieces, pieces...), parts[n].bytes+bytes
		default:
			parts = append(parts, part{pieces: pieces, bytes: bytes, before: before})
		}
		before = t.tipAt(pieces[len(pieces)-1].last)
		if before.index < c.last() {
			break
		}
	}
	return parts, size
}

// pieces are the entries of c from `from` on that fit maxBytes, one at least if it must be.
func (c *chunk) pieces(from Index, maxBytes int64, must bool) (pieces []piece, size int64) {
	for i := from; i <= c.last(); {
		last := c.upTo(i, c.last(), int(min(extentBytes, max(maxBytes-size, 0))))
		p := piece{first: i, last: last, bytes: c.slice(i, last)}
		if !must && size+int64(len(p.bytes)) > maxBytes {
			break
		}
		pieces, size, must = append(pieces, p), size+int64(len(p.bytes)), false
		i = last + 1
	}
	return pieces, size
}

// bytesFrom is the length of all entries from `from` on, which are in memory.
func (t *tail) bytesFrom(from Index) (size int64) {
	n, ok := t.find(from)
	if !ok {
		return 0
	}
	for _, c := range t.chunks[n:] {
		size += int64(len(c.buf) - c.start(max(from, c.first)))
	}
	return size
}

// tipAt is the history's end at entry i, which is in memory.
func (t *tail) tipAt(i Index) tip {
	n, ok := t.find(i)
	assert(ok, "entry %d is not in memory", i)
	h, err := ParseHeader(t.chunks[n].slice(i, i))
	assert(err == nil, "entry %d in memory: %v", i, err)
	return tip{index: h.Index, term: h.Term, chain: h.ChainCRC, time: h.AppendTime}
}

// truncate drops the entries from i on. Readers may hold their bytes, so the
// room behind the cut is given up, never written again.
func (t *tail) truncate(i Index) {
	for n := len(t.chunks) - 1; n >= 0 && t.chunks[n].last() >= i; n-- {
		c := t.chunks[n]
		if c.first >= i {
			t.bytes -= c.size
			t.letGo(c)
			t.chunks[n] = nil
			t.chunks = t.chunks[:n]
			continue
		}
		cut := c.start(i)
		c.starts = c.starts[: i-c.first : i-c.first]
		c.buf = c.buf[:cut:cut]
	}
}

// evict gives up the oldest chunks beyond the limit, none that holds entries
// above durable and never the newest one.
func (t *tail) evict(durable Index) {
	for t.bytes > t.limit && len(t.chunks) > 1 && t.chunks[0].last() <= durable {
		t.bytes -= t.chunks[0].size
		t.letGo(t.chunks[0])
		t.chunks[0] = nil // the array behind the slice must not keep it
		t.chunks = t.chunks[1:]
	}
}
