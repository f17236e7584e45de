package broker

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	protobuf "google.golang.org/protobuf/proto"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/buffer"
)

// What is sent from where it lies is what protobuf would have sent, and each frame of
// the ledger is let go once, when both the puller and gRPC are done with it.
func TestPullAnswerIsProtobuf(t *testing.T) {
	for name, sizes := range map[string][]int{
		"nothing":      nil,
		"small":        {100},
		"large":        {5000, 70_000},
		"mixed":        {100, 200, 5000, 300, 1 << 20, 100},
		"at the limit": {1024, 1025},
	} {
		t.Run(name, func(t *testing.T) {
			held := &heldFrame{}
			held.holds.Store(1)
			got := &pulled{}
			want := &brokerv1.PullStreamResponse{FirstOffset: 3, EndOffset: 300}
			for i, n := range sizes {
				b := bytes.Repeat([]byte{byte(i + 1)}, n)
				held.holds.Add(1)
				got.batches, got.size = append(got.batches, pulledBatch{bytes: b, held: held}), got.size+n
				want.Infos = append(want.Infos, &brokerv1.BatchInfo{BaseOffset: int64(i), Term: 1})
				want.Batches = append(want.Batches, b...)
			}
			head := protobuf.CloneOf(want)
			head.Batches = nil
			sent, err := newMessageCodec(nil, buffer.NewPool()).Marshal(&pullAnswer{head: head, got: got})
			require.NoError(t, err)
			require.EqualValues(t, sent.Len(), protobuf.Size(want))
			var plain brokerv1.PullStreamResponse
			require.NoError(t, protobuf.Unmarshal(sent.Materialize(), &plain))
			require.True(t, protobuf.Equal(want, &plain))
			got.release()
			if len(sizes) > 0 && sizes[len(sizes)-1] > 1024 {
				require.Greater(t, held.holds.Load(), int32(1), "gRPC has not sent it yet")
			}
			sent.Free()
			require.EqualValues(t, 1, held.holds.Load())
		})
	}
}

func TestPulledBatchesAreJoined(t *testing.T) {
	held := &heldFrame{}
	held.holds.Store(3)
	got := &pulled{size: 3, batches: []pulledBatch{{bytes: []byte("ab"), held: held}, {bytes: []byte("c"), held: held}}}
	require.Equal(t, "abc", string(got.join()))
	require.EqualValues(t, 1, held.holds.Load())
}
