package broker

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func TestPublishShare(t *testing.T) {
	s := newPublishShare(LimitsConfig{MaxPendingBytes: 64 * mebibyte, StreamWindowBytes: 8 * mebibyte})
	for waiting, want := range map[int64]Size{0: 8 * mebibyte, 1: 8 * mebibyte, 8: 8 * mebibyte, 16: 4 * mebibyte, 1 << 20: leastShare} {
		s.busy(waiting)
		require.EqualValues(t, want, s.each(), "%d streams wait", waiting)
		s.busy(-waiting)
	}
	small := newPublishShare(LimitsConfig{MaxPendingBytes: 8 * mebibyte, StreamWindowBytes: kibibyte})
	require.EqualValues(t, leastShare, small.each())
}

// TestPublishStreamTellsTheShare: who waits for answers shares with those who wait at that
// moment, and with nobody who has got them or is gone.
func TestPublishStreamTellsTheShare(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxPendingBytes = 16 * mebibyte })
	queues := n.createTopic("t", 1)
	share := n.b.messaging.share
	frame := &brokerv1.PublishStreamRequest{Frame: 1, Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, "x")}
	stream := n.publishStream()
	told := func(want Size) {
		t.Helper()
		require.NoError(t, stream.Send(frame))
		resp, err := stream.Recv()
		require.NoError(t, err)
		require.EqualValues(t, want, resp.GetWindowBytes())
		require.Eventually(t, func() bool { return share.waiting.Load() == 0 }, 5*time.Second, time.Millisecond)
	}
	told(8 * mebibyte)
	share.busy(3) // three more wait
	require.NoError(t, stream.Send(frame))
	resp, err := stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 4*mebibyte, resp.GetWindowBytes())
	share.busy(-3)
	told(8 * mebibyte)

	for range 20 { // some end with frames that nobody has answered
		gone := n.publishStream()
		for range 10 {
			if err := gone.Send(frame); err != nil {
				require.ErrorIs(t, err, io.EOF)
				break
			}
		}
		require.NoError(t, gone.Send(&brokerv1.PublishStreamRequest{Frame: 2, Batches: []byte("these bytes are no batch")}))
	}
	require.Eventually(t, func() bool { return share.waiting.Load() == 0 }, 5*time.Second, time.Millisecond)
	told(8 * mebibyte)
}
