package broker

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	protobuf "google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/passthrough"
)

// batchesField is the number of the field that holds batches, the last one of every
// message that has one.
const batchesField protowire.Number = 15

// publishRequest is a PublishStreamRequest whose batches stay in the buffer in which
// they came. A codec that does not know it fills the embedded message.
type publishRequest struct {
	brokerv1.PublishStreamRequest
	batches []byte
	buffer  mem.Buffer // that holds batches; nil: nobody else uses their memory
	room    []byte     // the memory of buffer before batches
}

// contents are the batches, wherever the codec has put them.
func (r *publishRequest) contents() []byte {
	if r.buffer != nil {
		return r.batches
	}
	return r.GetBatches()
}

// release gives the buffer back, once nobody reads the batches any more.
func (r *publishRequest) release() {
	if r.buffer != nil {
		r.buffer.Free()
		r.batches, r.buffer, r.room = nil, nil, nil
	}
}

// lend lets the ledger keep the batches, if they are one.
func (r *publishRequest) lend() commitlog.Lent {
	if r.buffer == nil {
		return commitlog.Lent{}
	}
	b := r.buffer
	return commitlog.Lent{Room: r.room, Hold: func() (int, func()) {
		b.Ref()
		return cap(b.ReadOnlyData()), b.Free
	}}
}

// messageCodec is another codec for protobuf that knows publishRequest and pullAnswer
// besides.
type messageCodec struct {
	encoding.CodecV2
	pool mem.BufferPool
}

// newMessageCodec goes on from base; nil is gRPC's own codec.
func newMessageCodec(base encoding.CodecV2, pool mem.BufferPool) messageCodec {
	if base == nil {
		base = encoding.GetCodecV2(proto.Name)
	}
	return messageCodec{CodecV2: base, pool: pool}
}

// Marshal implements encoding.CodecV2.
func (c messageCodec) Marshal(v any) (mem.BufferSlice, error) {
	if a, ok := v.(*pullAnswer); ok {
		return a.marshal()
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements encoding.CodecV2.
func (c messageCodec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*publishRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole, before := buffer.Place(c.pool, data, passthrough.FieldAt(data, batchesField), commitlog.FrameRoom+commitlog.HeaderBytes)
	memory := whole.ReadOnlyData()
	head, batches, err := passthrough.Split(memory[before:], batchesField)
	if err == nil {
		err = protobuf.Unmarshal(head, &r.PublishStreamRequest)
	}
	if err != nil || len(batches) == 0 {
		whole.Free()
		if err != nil {
			err = fmt.Errorf("publish request: %w", err)
		}
		return err
	}
	r.batches, r.buffer = batches, whole
	if room := len(memory) - len(batches); &memory[room] == &batches[0] { // else something follows them
		r.room = memory[:room]
	}
	return nil
}
