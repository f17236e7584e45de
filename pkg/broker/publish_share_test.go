package broker

import (
	"context"
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
	told := func() uint32 {
		t.Helper()
		require.NoError(t, stream.Send(frame))
		resp, err := stream.Recv()
		require.NoError(t, err)
		return resp.GetWindowBytes()
	}
	require.EqualValues(t, 8*mebibyte, told())
	share.busy(3) // three more wait
	require.EqualValues(t, 4*mebibyte, told())
	share.busy(-3)
	require.EqualValues(t, 8*mebibyte, told())

	for range 20 { // some end with frames that nobody answers
		ctx, cancel := context.WithCancel(n.ctx())
		gone, err := n.messaging.PublishStream(ctx)
		require.NoError(t, err)
		for range 10 {
			require.NoError(t, gone.Send(frame))
		}
		_, err = gone.Recv()
		require.NoError(t, err)
		cancel()
	}
	for until := time.Now().Add(10 * time.Second); told() != uint32(8*mebibyte) || share.waiting.Load() != 0; {
		require.True(t, time.Now().Before(until), "%d streams wait", share.waiting.Load())
	}
}

// TestStreamsThatWaitForRoomShare: a stream counts though there is no room for its only frame,
// and no longer when it has ended meanwhile.
func TestStreamsThatWaitForRoomShare(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	messaging := n.b.messaging
	all := int64(n.b.cfg.Limits.MaxPendingBytes)
	require.NoError(t, messaging.budget.bytes.Acquire(t.Context(), all))
	awaitWaiting := func(want int64) {
		t.Helper()
		require.Eventually(t, func() bool { return messaging.share.waiting.Load() == want }, 10*time.Second, time.Millisecond)
	}
	frame := &brokerv1.PublishStreamRequest{Frame: 1, Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, "x")}
	ctx, cancel := context.WithCancel(n.ctx())
	defer cancel()
	for range 2 {
		stream, err := n.messaging.PublishStream(ctx)
		require.NoError(t, err)
		require.NoError(t, stream.Send(frame))
	}
	stays := n.publishStream()
	require.NoError(t, stays.Send(frame))
	awaitWaiting(3)
	cancel()
	awaitWaiting(1)
	messaging.budget.bytes.Release(all)
	_, err := stays.Recv()
	require.NoError(t, err)
	awaitWaiting(0)
}
