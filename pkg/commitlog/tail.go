package commitlog

import "sort"

// chunkBytes is how much memory the tail cache takes at a time. It is also
// the most that one Read from memory returns: a frame that fits the L2 cache.
const chunkBytes = 256 << 10

// chunk is a piece of memory with consecutive encoded entries. Bytes below
// len(buf) never change: readers and the writer hold slices of them. Appending
// fills the room behind; a chunk is never reused.
type chunk struct {
	first  Index
	buf    []byte
	starts []uint32 // where each entry begins in buf
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
}

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
	c := &chunk{first: i, buf: make([]byte, 0, max(n, t.step))}
	t.chunks = append(t.chunks, c)
	t.bytes += int64(cap(c.buf))
	return c
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

// gather returns what the next write takes: whole entries from `from` on, up
// to maxBytes but one at least, in pieces that become extents of the index.
func (t *tail) gather(from Index, maxBytes int64) (pieces []piece, size int64) {
	n, ok := t.find(from)
	if !ok {
		return nil, 0
	}
	for _, c := range t.chunks[n:] {
		for i := max(from, c.first); i <= c.last(); {
			last := c.upTo(i, c.last(), int(min(extentBytes, max(maxBytes-size, 0))))
			p := piece{first: i, last: last, bytes: c.slice(i, last)}
			if size > 0 && size+int64(len(p.bytes)) > maxBytes {
				return pieces, size
			}
			pieces, size = append(pieces, p), size+int64(len(p.bytes))
			i = last + 1
		}
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
			t.bytes -= int64(cap(c.buf))
			t.chunks[n] = nil
			t.chunks = t.chunks[:n]
			continue
		}
		cut := c.start(i)
		t.bytes -= int64(cap(c.buf) - cut)
		c.starts = c.starts[: i-c.first : i-c.first]
		c.buf = c.buf[:cut:cut]
	}
}

// evict gives up the oldest chunks beyond the limit, none that holds entries
// above durable and never the newest one.
func (t *tail) evict(durable Index) {
	for t.bytes > t.limit && len(t.chunks) > 1 && t.chunks[0].last() <= durable {
		t.bytes -= int64(cap(t.chunks[0].buf))
		t.chunks[0] = nil // the array behind the slice must not keep it
		t.chunks = t.chunks[1:]
	}
}
