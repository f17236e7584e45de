package client

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"unsafe"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/passthrough"
	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// frameCodec moves record batches past protobuf: on the wire it is the standard
// encoding, but the trailing bytes field (number 15 in all our frames) is handed
// over as it is instead of being copied. All other messages take the usual way.
type frameCodec struct{ standard encoding.CodecV2 }

func newFrameCodec() frameCodec {
	return frameCodec{standard: encoding.GetCodecV2(proto.Name)}
}

// Name makes gRPC announce plain protobuf.
func (frameCodec) Name() string { return proto.Name }

const batchesField = 15

// publishFrame is a PublishStreamRequest whose batches lie in several buffers.
type publishFrame struct {
	number  uint64
	batches []*sealedBytes
}

// size is how long the frame is on the wire.
func (f *publishFrame) size() int {
	batches := 0
	for _, b := range f.batches {
		batches += len(b.data)
	}
	return protowire.SizeTag(1) + protowire.SizeVarint(f.number) + protowire.SizeTag(batchesField) + protowire.SizeBytes(batches)
}

// Marshal encodes a message.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*publishFrame)
	if !ok {
		return c.standard.Marshal(v)
	}
	size := 0
	for _, b := range f.batches {
		size += len(b.data)
	}
	head := make([]byte, 0, 24)
	head = protowire.AppendTag(head, 1, protowire.VarintType)
	head = protowire.AppendVarint(head, f.number)
	head = protowire.AppendTag(head, batchesField, protowire.BytesType)
	head = binary.AppendUvarint(head, uint64(size))
	out := make(mem.BufferSlice, 0, 1+len(f.batches))
	out = append(out, mem.SliceBuffer(head))
	for _, b := range f.batches {
		out = append(out, b.lend())
	}
	return out, nil
}

// pullFrame is a PullStreamResponse whose batches are a slice of the bytes that arrived.
type pullFrame struct {
	brokerv1.PullStreamResponse
	batches []byte
}

// Unmarshal decodes a message.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*pullFrame)
	if !ok {
		return c.standard.Unmarshal(data, v)
	}
	head, batches, err := passthrough.Split(joined(data), batchesField)
	if err != nil {
		return fmt.Errorf("pull frame: %w", err)
	}
	f.batches = batches
	return protobuf.Unmarshal(head, &f.PullStreamResponse)
}

// joined is the bytes of data, in memory of their own that nobody may write to: what a
// string is made of need not be cleared before it is filled.
func joined(data mem.BufferSlice) []byte {
	var s strings.Builder
	s.Grow(data.Len())
	for _, b := range data {
		s.Write(b.ReadOnlyData())
	}
	return unsafe.Slice(unsafe.StringData(s.String()), s.Len())
}

// sealedBytes are the bytes of a finished batch. They are kept until the batch is
// acknowledged and gRPC has let go of every copy that it was lent (it reads after
// SendMsg returned, and a broken stream may hold one longer than its successor);
// then they go back to the codec's spare buffers.
type sealedBytes struct {
	data  []byte
	codec *batch.Codec
	refs  atomic.Int32
}

func newSealedBytes(data []byte, codec *batch.Codec) *sealedBytes {
	s := &sealedBytes{data: data, codec: codec}
	s.refs.Store(1)
	return s
}

// lend wraps the bytes for gRPC, which gives them back through Put.
func (s *sealedBytes) lend() mem.Buffer {
	if mem.IsBelowBufferPoolingThreshold(len(s.data)) {
		return mem.SliceBuffer(s.data)
	}
	s.refs.Add(1)
	lent := s.data
	return mem.NewBuffer(&lent, s)
}

// Get completes mem.BufferPool; nothing asks for it.
func (s *sealedBytes) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// Put is gRPC giving back what lend gave it.
func (s *sealedBytes) Put(*[]byte) { s.release() }

// release drops one reference.
func (s *sealedBytes) release() {
	if s.refs.Add(-1) == 0 && !mem.IsBelowBufferPoolingThreshold(len(s.data)) {
		s.codec.Release(s.data)
	}
}
