package batch

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// minBufferBytes spares the first records of a batch from growing its buffer.
const minBufferBytes = 1 << 10

// bufferSizes is how many capacities pooled buffers have, each four times the one
// before: what a batch is copied for as it grows is a third of its bytes in all. The
// largest keeps a rare huge batch from staying in memory for ever.
const (
	bufferSizes    = 6
	maxPooledBytes = minBufferBytes << (2 * (bufferSizes - 1)) // 1 MiB
)

// Codec is what builders and readers share: compressors and spare buffers. Make
// one per process or client; it is safe for concurrent use and needs no closing.
type Codec struct {
	buffers [bufferSizes]sync.Pool // of *[]byte, by size
	boxes   sync.Pool              // of *[]byte that are empty: saves the allocation of one per Release
	encoder func() (*zstd.Encoder, error)
	decoder func() (*zstd.Decoder, error)
}

// NewCodec returns a codec; zstd's memory is taken when it is first used.
func NewCodec() *Codec {
	return &Codec{
		encoder: sync.OnceValues(func() (*zstd.Encoder, error) {
			// A single segment always states its content size; without it, frames of less than 256 bytes do not.
			return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		}),
		decoder: sync.OnceValues(func() (*zstd.Decoder, error) {
			return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxMemory(MaxBatchBytes), zstd.WithDecodeAllCapLimit(true))
		}),
	}
}

// buffer returns an empty slice that holds n bytes.
func (c *Codec) buffer(n int) []byte {
	at, size := bufferSize(n)
	if at == bufferSizes {
		return make([]byte, 0, n)
	}
	box, _ := c.buffers[at].Get().(*[]byte)
	if box == nil {
		return make([]byte, 0, size)
	}
	buf := *box
	*box = nil
	c.boxes.Put(box)
	return buf[:0]
}

// bufferSize is which size of buffer holds n bytes; bufferSizes: none does.
func bufferSize(n int) (at, size int) {
	for size = minBufferBytes; at < bufferSizes && size < n; at++ {
		size *= 4
	}
	return at, size
}

// grow returns a buffer with the bytes of b and room for need bytes in all; a batch
// is not expected to become larger than limit.
func (c *Codec) grow(b []byte, need, limit int) []byte {
	grown := append(c.buffer(max(need, min(4*cap(b), limit))), b...)
	c.Release(b)
	return grown
}

// fit moves a batch that would waste most of its buffer into one of its size, so
// that a thousand small batches in flight take no thousand large buffers.
func (c *Codec) fit(b []byte) []byte {
	if 4*len(b) >= cap(b) || cap(b) <= minBufferBytes {
		return b
	}
	fitting := append(c.buffer(len(b)), b...)
	c.Release(b)
	return fitting
}

// Release takes back the bytes of a batch that Build returned. Nobody may read
// them from now on, nor the records that were read from them.
func (c *Codec) Release(b []byte) {
	at, size := bufferSize(cap(b))
	if at == bufferSizes || size != cap(b) {
		return
	}
	box, _ := c.boxes.Get().(*[]byte)
	if box == nil {
		box = new([]byte)
	}
	*box = b
	c.buffers[at].Put(box)
}

// compress packs the records of the batch b, whose header is not yet written,
// into a new buffer with room for a header; nil when that would not be smaller.
func (c *Codec) compress(how Compression, b []byte) []byte {
	if how == None {
		return nil
	}
	records := b[HeaderBytes:]
	out := c.buffer(len(b))
	switch how {
	case None:
	case S2:
		if n := s2.MaxEncodedLen(len(records)); cap(out) < HeaderBytes+n {
			c.Release(out)
			out = c.buffer(HeaderBytes + n)
		}
		packed := s2.Encode(out[HeaderBytes:cap(out)], records)
		out = out[:HeaderBytes+len(packed)]
	case Zstd:
		if encoder, err := c.encoder(); err == nil {
			out = encoder.EncodeAll(records, out[:HeaderBytes])
		}
	}
	if len(out) <= HeaderBytes || len(out) >= len(b) {
		c.Release(out)
		return nil
	}
	return out
}

// decompress unpacks records into exactly size bytes; size was checked against MaxBatchBytes.
func (c *Codec) decompress(how Compression, records []byte, size int) ([]byte, error) {
	switch how {
	case None:
		return records, nil
	case S2:
		return decompressS2(records, size)
	case Zstd:
		return c.decompressZstd(records, size)
	}
	return nil, invalid("compression %d is reserved", uint8(how))
}

func decompressS2(records []byte, size int) ([]byte, error) {
	n, err := s2.DecodedLen(records)
	if err != nil || n != size {
		return nil, invalid("s2 block of %d bytes, header says %d", n, size)
	}
	out, err := s2.Decode(make([]byte, size), records)
	if err != nil {
		return nil, invalid("s2: %v", err)
	}
	return out, nil
}

func (c *Codec) decompressZstd(records []byte, size int) ([]byte, error) {
	var frame zstd.Header
	if err := frame.Decode(records); err != nil {
		return nil, invalid("zstd: %v", err)
	}
	// Other encoders may leave the size out; the capacity below bounds what comes out all the same.
	if frame.HasFCS && frame.FrameContentSize != uint64(size) {
		return nil, invalid("zstd frame of %d bytes, header says %d", frame.FrameContentSize, size)
	}
	decoder, err := c.decoder()
	if err != nil {
		return nil, fmt.Errorf("batch: zstd: %w", err)
	}
	out, err := decoder.DecodeAll(records, make([]byte, 0, size))
	if err != nil {
		return nil, invalid("zstd: %v", err)
	}
	if len(out) != size {
		return nil, invalid("zstd frame holds %d bytes, header says %d", len(out), size)
	}
	return out, nil
}
