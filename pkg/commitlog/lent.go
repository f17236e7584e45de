package commitlog

const (
	// FrameRoom is how many bytes of Lent.Room a frame takes for its header.
	FrameRoom = groupHeaderBytes
	// BlockBytes is what writes to the disk begin and end at: bytes that lie in memory as
	// they will lie on the disk need not be copied for it.
	BlockBytes = blockBytes
)

// holdFrom is how many bytes of entries are kept rather than copied: a chunk of their
// own costs more than copying what is smaller.
const holdFrom = 64 << 10

// Lent is encoded entries, or the body of one, in memory of the caller's.
type Lent struct {
	Bytes []byte
	// Hold lets the log keep Bytes, which take size bytes of memory, instead of copying
	// them; release, which may be called from anywhere, is how it gives them back. Until
	// then nobody may modify them. Nil: they are copied. It is called at most once, and
	// must neither block nor call the log, as release.
	Hold func() (size int, release func())
	// Room is the memory right before Bytes, over which its capacity reaches. With Hold
	// it is the log's too, which writes headers there: that of a frame, FrameRoom bytes,
	// and before a body that of its entry, HeaderBytes behind it. Where these begin at a
	// multiple of BlockBytes in memory, they are written from where they lie. Without
	// room entries are kept but copied for the disk, and a body is copied.
	Room []byte
}

// holdable says whether the bytes, which are lent, are kept.
func (b *Lent) holdable(bytes []byte) bool { return b.Hold != nil && len(bytes) >= holdFrom }

// entry is room for an entry's header and its body, nil if it is to be copied.
func (b *Lent) entry(body []byte) []byte {
	if !b.holdable(body) || len(b.Room) < HeaderBytes {
		return nil
	}
	return b.over(body, HeaderBytes)
}

// headFor is room for a frame's header before the bytes and n bytes before them, nil if
// there is none. Its capacity reaches over all of them.
func (b *Lent) headFor(bytes []byte, n int) []byte {
	if len(b.Room) < groupHeaderBytes+n {
		return nil
	}
	return b.over(bytes, groupHeaderBytes+n)[:groupHeaderBytes]
}

// over is n bytes of the room and the bytes behind it.
func (b *Lent) over(bytes []byte, n int) []byte {
	end := len(b.Room) + len(bytes)
	whole := b.Room[len(b.Room)-n : end : end]
	assert(&whole[n] == &bytes[0], "what is lent does not lie behind its room")
	return whole
}

// chunk takes hold of the memory: a chunk with nothing but those entries.
func (b *Lent) chunk(first Index, entries, head []byte) *chunk {
	size, release := b.Hold()
	n := len(entries)
	return &chunk{first: first, buf: entries[:n:n], head: head, size: int64(size), release: release}
}
