package dledger

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that pushCodec builds on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/passthrough"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// entriesField is the number of PushRequest.entries, its last field.
const entriesField protowire.Number = 15

// pushFrame is a PushRequest whose entries stay where they lie: they are sent
// from the memory of the commit log, and received into one buffer, from which they
// are appended. On the wire it is a PushRequest.
type pushFrame struct {
	request *dledgerv1.PushRequest // without entries
	entries []byte
	lent    commitlog.Frame // that has the entries to send
	buffer  mem.Buffer      // that has the received ones; nil: nobody else uses their memory
	room    []byte          // the memory of buffer before the received ones
}

// hold lets somebody else keep the entries that were received.
func (f *pushFrame) hold() (size int, release func()) {
	f.buffer.Ref()
	return cap(f.buffer.ReadOnlyData()), f.buffer.Free
}

// release gives back what holds the entries, once nobody reads them.
func (f *pushFrame) release() {
	f.lent.Release()
	if f.buffer != nil {
		f.buffer.Free()
	}
	f.entries, f.buffer, f.room = nil, nil, nil
}

// lentFrame is a frame of the log that gRPC gives back when it has sent it, which
// is some time after SendMsg has returned.
type lentFrame struct{ frame commitlog.Frame }

// Put implements mem.BufferPool.
func (l *lentFrame) Put(*[]byte) { l.frame.Release() }

// Get completes mem.BufferPool; nothing asks for it.
func (*lentFrame) Get(n int) *[]byte {
	b := make([]byte, n)
	return &b
}

// lend makes a buffer of the entries; the frame of the log goes with it.
func (f *pushFrame) lend() mem.Buffer {
	if mem.IsBelowBufferPoolingThreshold(cap(f.entries)) { // gRPC would not give it back
		copied := mem.SliceBuffer(append([]byte(nil), f.entries...))
		f.lent.Release()
		return copied
	}
	lent := &lentFrame{frame: f.lent}
	f.lent = commitlog.Frame{}
	return mem.NewBuffer(&f.entries, lent)
}

// GetHeader returns the header of the request, as the messages of protobuf do.
func (f *pushFrame) GetHeader() *dledgerv1.Header { return f.request.GetHeader() }

// pushCodec is gRPC's codec for protobuf, and knows pushFrame besides.
type pushCodec struct {
	encoding.CodecV2
	pool mem.BufferPool
}

func newPushCodec(pool mem.BufferPool) pushCodec {
	return pushCodec{CodecV2: encoding.GetCodecV2("proto"), pool: pool}
}

// Marshal implements encoding.CodecV2.
func (c pushCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*pushFrame)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	head, err := proto.Marshal(f.request)
	if err != nil {
		return nil, fmt.Errorf("marshal push: %w", err)
	}
	if len(f.entries) == 0 {
		return mem.BufferSlice{mem.SliceBuffer(head)}, nil
	}
	head = protowire.AppendTag(head, entriesField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(f.entries)))
	return mem.BufferSlice{mem.SliceBuffer(head), f.lend()}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c pushCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*pushFrame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole, before := buffer.Place(c.pool, data, passthrough.FieldAt(data, entriesField), commitlog.FrameRoom)
	memory := whole.ReadOnlyData()
	head, entries, err := passthrough.Split(memory[before:], entriesField)
	f.request = new(dledgerv1.PushRequest)
	if room := len(memory) - len(entries); err == nil && len(entries) > 0 && &memory[room] != &entries[0] {
		err = errEntriesNotLast
	}
	if err == nil {
		err = proto.Unmarshal(head, f.request)
	}
	if err != nil {
		whole.Free()
		return fmt.Errorf("unmarshal push: %w", err)
	}
	if len(entries) == 0 {
		whole.Free()
		return nil
	}
	f.entries, f.buffer, f.room = entries, whole, memory[:len(memory)-len(entries)]
	return nil
}

// errEntriesNotLast refuses what no member sends.
var errEntriesNotLast = errors.New("a field follows the entries")
