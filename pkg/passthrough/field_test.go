package passthrough

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

const field protowire.Number = 15

func varint(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func text(b []byte, number protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
}

func TestSplit(t *testing.T) {
	before := text(varint(nil, 1, 300), 2, "name")
	for _, tc := range []struct {
		name       string
		raw        []byte
		head       []byte
		value      string
		sharesHead bool
	}{
		{name: "nothing", raw: nil, sharesHead: true},
		{name: "no such field", raw: before, head: before, sharesHead: true},
		{name: "last", raw: text(bytes.Clone(before), field, "value"), head: before, value: "value", sharesHead: true},
		{name: "alone", raw: text(nil, field, "value"), value: "value", sharesHead: true},
		{name: "followed", raw: varint(text(bytes.Clone(before), field, "value"), 3, 4), head: varint(bytes.Clone(before), 3, 4), value: "value"},
		{name: "twice", raw: text(text(bytes.Clone(before), field, "old"), field, "new"), head: before, value: "new"},
		{name: "another kind", raw: varint(nil, field, 7), head: varint(nil, field, 7), sharesHead: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := bytes.Clone(tc.raw)
			head, value, err := Split(tc.raw, field)
			require.NoError(t, err)
			require.Equal(t, string(tc.head), string(head))
			require.Equal(t, tc.value, string(value))
			require.Equal(t, raw, tc.raw, "the message is not written to")
			if tc.sharesHead && len(head) > 0 {
				require.True(t, &head[0] == &tc.raw[0], "the head is not copied")
			}
			at := FieldAt(mem.BufferSlice{mem.SliceBuffer(tc.raw)}, field)
			if tc.value == "" {
				require.Equal(t, -1, at)
			} else if tc.name != "twice" {
				require.Equal(t, tc.value, string(tc.raw[at:at+len(tc.value)]))
			}
		})
	}
}

// The place shows as soon as the first buffer reaches to it.
func TestFieldAtInPieces(t *testing.T) {
	raw := text(text(nil, 2, "name"), field, "value")
	at := FieldAt(mem.BufferSlice{mem.SliceBuffer(raw)}, field)
	require.Equal(t, len(raw)-len("value"), at)
	for cut := range raw {
		pieces := mem.BufferSlice{mem.SliceBuffer(raw[:cut]), mem.SliceBuffer(raw[cut:])}
		want := -1
		if cut >= at {
			want = at
		}
		require.Equal(t, want, FieldAt(pieces, field), "cut at %d", cut)
	}
	require.Equal(t, -1, FieldAt(nil, field))
}

func FuzzSplit(f *testing.F) {
	f.Add(text(varint(nil, 1, 300), field, "value"))
	f.Add(varint(text(varint(nil, 1, 300), field, "value"), 3, 4))
	f.Add([]byte{0x7a, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		head, value, err := Split(raw, field)
		if err != nil {
			require.Nil(t, value)
			return
		}
		require.LessOrEqual(t, len(head)+len(value), len(raw))
		rest, again, err := Split(head, field)
		require.NoError(t, err)
		require.Nil(t, again, "the field is gone from the head")
		require.Equal(t, head, rest)
		if at := FieldAt(mem.BufferSlice{mem.SliceBuffer(raw)}, field); len(value) > 0 {
			require.Greater(t, at, 0)
		}
	})
}
