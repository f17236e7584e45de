package broker

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// packedBatch has one record that takes up to that many bytes with the batch's header, and
// a few thousand when packed.
func packedBatch(t *testing.T, queue uint32, unpacked int) []byte {
	t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 1 << 20, RecordBytes: batch.MaxBatchBytes, Compression: batch.Zstd})
	require.NoError(t, err)
	record := &batch.Record{Timestamp: 1}
	const lengths = 8 // of the value and the record, at most
	record.Value = bytes.Repeat([]byte("x"), unpacked-batch.HeaderBytes-batch.RecordSize(record)-lengths)
	require.NoError(t, b.Append(record))
	packed, err := b.Build(batch.Stamp{Queue: queue})
	require.NoError(t, err)
	return packed
}

// The largest message that can be published is received, buried, listed, pulled from the
// dead letters and put back, however little it took when it was published.
func TestLargestMessageIsWork(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	n.createWorkGroup("g", &brokerv1.WorkPolicy{MaxAttempts: 1, BackoffMinMs: 1, BackoffMaxMs: 1})
	require.Equal(t, string(CodeMessageTooLarge), n.publish(packedBatch(t, queues[0], batch.MaxPublishedBytes+100)).GetError().GetCode())
	largest := packedBatch(t, queues[0], batch.MaxPublishedBytes)
	require.Nil(t, n.publish(largest).GetError())
	received := n.receive(1, long, long)
	require.Len(t, received, 1)
	size := len(received[0].GetValue())
	require.Greater(t, size, batch.MaxPublishedBytes-200)
	require.Equal(t, []string{""}, n.nack(0, receiptsOf(received)...))
	letters := n.awaitDead(1)
	require.Len(t, letters[0].GetMessage().GetValue(), size)
	require.Len(t, letters[0].GetMessage().GetHeaders(), 7)

	stream, err := n.messaging.PullStream(n.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: deadLetters("g"), CreditBytes: 1 << 24}))
	pulled, err := stream.Recv()
	require.NoError(t, err)
	require.Less(t, len(pulled.GetBatches()), 2*len(largest), "packed as it was")

	redriven, err := n.work().RedriveDeadLetters(n.ctx(), &brokerv1.RedriveDeadLettersRequest{Group: "g", Offsets: []int64{0}})
	require.NoError(t, err)
	require.Nil(t, redriven.GetResults()[0].GetError())
	again := n.receive(1, long, long)
	require.Len(t, again, 1)
	require.Len(t, again[0].GetValue(), size)
}

// A worker's queue is read a little at a time, also where a little unpacks to much.
func TestPackedWorkIsReadABatchAtATime(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	const batches, size = 8, 1 << 20
	for range batches {
		require.Nil(t, n.publish(packedBatch(t, queues[0], size)).GetError())
	}
	all, err := n.b.work.queues.readRecords(n.ctx(), queue{id: state.QueueID(queues[0]), topic: "t"}, 0, workReadBytes)
	require.NoError(t, err)
	require.Len(t, all, 1)
}

// What was stored when limits were higher is delivered.
func TestLimitsOfToday(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		c.Storage.SegmentBytes = 64 * mebibyte
		c.Limits.MaxBatchBytes, c.Limits.MaxFrameBytes = 12*mebibyte, 16*mebibyte
	})
	queues := n.createTopic("t", 1)
	stream := n.publishStream()
	large := makeBatch(t, batch.Stamp{Queue: queues[0]}, string(bytes.Repeat([]byte("x"), 10<<20)))
	require.NoError(t, stream.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: large}))
	resp, err := stream.Recv()
	require.NoError(t, err)
	require.Nil(t, resp.GetResults()[0].GetError())
	require.NoError(t, stream.CloseSend())
	n.kill()
	n.cfg.Limits.MaxBatchBytes, n.cfg.Limits.MaxFrameBytes = 4*mebibyte, 8*mebibyte
	n.restart()
	n.awaitServing(1)
	pulling, err := n.messaging.PullStream(n.ctx())
	require.NoError(t, err)
	require.NoError(t, pulling.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 1 << 24}))
	pulled, err := pulling.Recv()
	require.NoError(t, err)
	require.Greater(t, len(pulled.GetBatches()), 10<<20)
}
