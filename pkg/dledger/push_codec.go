package dledger

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that pushCodec builds on
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// entriesField is the number of PushRequest.entries, its last field.
const entriesField protowire.Number = 15

// pushFrame is a PushRequest whose entries stay where they lie: they are sent
// from the memory of the commit log, and received into memory that the garbage
// collector owns, without a copy in between. On the wire it is a PushRequest.
type pushFrame struct {
	request *dledgerv1.PushRequest // without entries
	entries []byte
}

// pushCodec is gRPC's codec for protobuf, and knows pushFrame besides.
type pushCodec struct{ encoding.CodecV2 }

func newPushCodec() pushCodec { return pushCodec{encoding.GetCodecV2("proto")} }

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
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(f.entries)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (c pushCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*pushFrame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	head, entries, err := splitPush(data.Materialize())
	if err != nil {
		return fmt.Errorf("unmarshal push: %w", err)
	}
	f.request, f.entries = new(dledgerv1.PushRequest), entries
	if err := proto.Unmarshal(head, f.request); err != nil {
		return fmt.Errorf("unmarshal push: %w", err)
	}
	return nil
}

var errEntriesNotLast = errors.New("a field follows the entries")

// splitPush finds the entries at the end of a PushRequest.
func splitPush(raw []byte) (head, entries []byte, err error) {
	for rest := raw; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		if number == entriesField && kind == protowire.BytesType {
			entries, m := protowire.ConsumeBytes(rest[n:])
			switch {
			case m < 0:
				return nil, nil, protowire.ParseError(m)
			case n+m != len(rest):
				return nil, nil, errEntriesNotLast
			}
			return raw[:len(raw)-len(rest)], entries, nil
		}
		m := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if m < 0 {
			return nil, nil, protowire.ParseError(m)
		}
		rest = rest[n+m:]
	}
	return raw, nil, nil
}
