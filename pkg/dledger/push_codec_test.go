package dledger

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

func TestPushCodecIsProtobuf(t *testing.T) {
	codec := newPushCodec(buffer.NewPool())
	for _, entries := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("entry"), 100000)} {
		want := &dledgerv1.PushRequest{
			Header: &dledgerv1.Header{ClusterId: "c", RequestId: 7}, Type: dledgerv1.PushType_PUSH_TYPE_APPEND,
			Term: 3, PrevIndex: -1, LastIndex: 1 << 40, Entries: entries,
		}
		head := proto.CloneOf(want)
		head.Entries = nil

		sent, err := codec.Marshal(&pushFrame{request: head, entries: entries})
		require.NoError(t, err)
		var plain dledgerv1.PushRequest
		require.NoError(t, proto.Unmarshal(sent.Materialize(), &plain))
		require.True(t, proto.Equal(want, &plain), "what is sent is a PushRequest")

		raw, err := proto.Marshal(want)
		require.NoError(t, err)
		var got pushFrame
		half := (len(raw) + 1) / 2
		require.NoError(t, codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw[:half]), mem.SliceBuffer(raw[half:])}, &got))
		require.True(t, proto.Equal(head, got.request), "so is what is received")
		require.True(t, bytes.Equal(entries, got.entries))
		if len(entries) > 1<<16 {
			require.True(t, &got.room[:len(got.room)+1][len(got.room)] == &got.entries[0], "the room lies before them")
			require.GreaterOrEqual(t, len(got.room), commitlog.FrameRoom)
		}
		got.release()
	}
	other, err := codec.Marshal(&dledgerv1.VoteRequest{Term: 4})
	require.NoError(t, err)
	var vote dledgerv1.VoteRequest
	require.NoError(t, codec.Unmarshal(other, &vote))
	require.EqualValues(t, 4, vote.GetTerm())
}

func FuzzPushCodec(f *testing.F) {
	raw, err := proto.Marshal(&dledgerv1.PushRequest{Term: 3, Entries: []byte("entries")})
	require.NoError(f, err)
	f.Add(raw)
	f.Add([]byte{0x7a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var got pushFrame
		if newPushCodec(buffer.NewPool()).Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, &got) != nil {
			return
		}
		var want dledgerv1.PushRequest
		require.NoError(t, proto.Unmarshal(raw, &want), "what the codec takes, protobuf takes")
		require.True(t, bytes.Equal(want.GetEntries(), got.entries))
		require.Empty(t, got.request.GetEntries())
	})
}
