package broker

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/buffer"
	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

func TestPublishCodecIsProtobuf(t *testing.T) {
	codec := newMessageCodec(nil, buffer.NewPool())
	for _, batches := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("batch"), 100_000)} {
		raw, err := protobuf.Marshal(&brokerv1.PublishStreamRequest{Frame: 300, Batches: batches})
		require.NoError(t, err)
		half := len(raw) / 2
		var got publishRequest
		require.NoError(t, codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw[:half]), mem.SliceBuffer(raw[half:])}, &got))
		require.EqualValues(t, 300, got.GetFrame())
		require.True(t, bytes.Equal(batches, got.contents()))
		if len(batches) > 1<<16 {
			lent := got.lend()
			require.True(t, &lent.Room[:len(lent.Room)+1][len(lent.Room)] == &got.batches[0], "the room lies before them")
			require.GreaterOrEqual(t, len(lent.Room), commitlog.FrameRoom+commitlog.HeaderBytes)
			size, release := lent.Hold()
			require.Greater(t, size, len(batches))
			got.release()
			require.True(t, bytes.Equal(batches, lent.Room[len(lent.Room):len(lent.Room)+len(batches)]), "they are held")
			release()
		}
		got.release()
		require.Empty(t, got.contents())
		got.release()

		var plain publishRequest // by a codec that does not know it
		require.NoError(t, codec.CodecV2.Unmarshal(mem.BufferSlice{mem.SliceBuffer(raw)}, &plain))
		require.EqualValues(t, 300, plain.GetFrame())
		require.True(t, bytes.Equal(batches, plain.contents()))
	}
	sent, err := codec.Marshal(&brokerv1.PublishStreamResponse{Frame: 4})
	require.NoError(t, err)
	var resp brokerv1.PublishStreamResponse
	require.NoError(t, codec.Unmarshal(sent, &resp))
	require.EqualValues(t, 4, resp.GetFrame())
}

// Whatever a client sends, the codec reads what protobuf reads, or refuses.
func FuzzPublishCodec(f *testing.F) {
	raw, err := protobuf.Marshal(&brokerv1.PublishStreamRequest{Frame: 3, Batches: []byte("batches")})
	require.NoError(f, err)
	f.Add(raw)
	f.Add(append(raw, raw...))
	f.Add([]byte{0x7a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var want brokerv1.PublishStreamRequest
		wantErr := protobuf.Unmarshal(raw, &want)
		var got publishRequest
		gotErr := newMessageCodec(nil, buffer.NewPool()).Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(raw))}, &got)
		require.Equal(t, wantErr == nil, gotErr == nil, "protobuf says %v, the codec %v", wantErr, gotErr)
		if wantErr != nil {
			return
		}
		require.Equal(t, want.GetFrame(), got.GetFrame())
		require.True(t, bytes.Equal(want.GetBatches(), got.contents()))
	})
}
