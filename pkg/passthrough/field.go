package passthrough

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// FieldAt is where the value of a bytes field begins in a message that lies in buffers,
// in bytes from the front; -1: it does not show in the first of them.
func FieldAt(data mem.BufferSlice, field protowire.Number) int {
	if len(data) == 0 {
		return -1
	}
	b := data[0].ReadOnlyData()
	for at := 0; at < len(b); {
		number, kind, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return -1
		}
		at += n
		if number == field && kind == protowire.BytesType {
			if _, n = protowire.ConsumeVarint(b[at:]); n < 0 {
				return -1
			}
			return at + n
		}
		if n = protowire.ConsumeFieldValue(number, kind, b[at:]); n < 0 {
			return -1
		}
		at += n
	}
	return -1
}

// Split takes the value of a bytes field out of a message; nil: it has none. head is
// everything else. Both share the memory of raw, unless something follows the field: our
// programs put it last, others need not. Of a field that comes twice the last value
// counts, as protobuf has it.
func Split(raw []byte, field protowire.Number) (head, value []byte, err error) {
	head = raw
	for at := 0; at < len(head); {
		number, kind, n := protowire.ConsumeTag(head[at:])
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		m := protowire.ConsumeFieldValue(number, kind, head[at+n:])
		if m < 0 {
			return nil, nil, protowire.ParseError(m)
		}
		if number != field || kind != protowire.BytesType {
			at += n + m
			continue
		}
		value, _ = protowire.ConsumeBytes(head[at+n:])
		head = append(head[:at:at], head[at+n+m:]...) // nothing follows, or it is copied
	}
	return head, value, nil
}
