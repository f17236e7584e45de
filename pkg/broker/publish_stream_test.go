package broker

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// requireCode checks the code and the outcome of a broker's error.
func requireCode(t *testing.T, err error, code Code, outcome string) {
	t.Helper()
	require.Error(t, err)
	info := errorInfo(t, err)
	require.NotNil(t, info, "%v", err)
	require.Equal(t, string(code), info.GetReason(), "%v", err)
	require.Equal(t, outcome, info.GetMetadata()["outcome"], "%v", err)
}

func (n *node) publishStream() brokerv1.MessagingService_PublishStreamClient {
	n.t.Helper()
	stream, err := n.messaging.PublishStream(n.ctx())
	require.NoError(n.t, err)
	return stream
}

func TestPublishStreamAnswersInOrder(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.StreamWindowBytes = 64 * kibibyte })
	queues := n.createTopic("t", 1)
	stream := n.publishStream()
	const frames = 2000
	sent := make(chan error, 1)
	go func() {
		for i := uint64(1); i <= frames; i++ {
			one := makeBatch(t, batch.Stamp{Queue: queues[0]}, fmt.Sprintf("%d", i))
			if err := stream.Send(&brokerv1.PublishStreamRequest{Frame: i, Batches: append(one, one...)}); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for i := uint64(1); i <= frames; i++ {
		resp, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, i, resp.GetFrame())
		require.Len(t, resp.GetResults(), 2)
		require.EqualValues(t, 2*(i-1), resp.GetResults()[0].GetBaseOffset())
		require.EqualValues(t, 2*i-1, resp.GetResults()[1].GetBaseOffset())
	}
	_, err := stream.Recv()
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-sent)
	require.Len(t, n.pullAll("t", 0), 2*frames)
}

func TestPublishStreamRefusesSingleBatches(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxBatchBytes = 2 * kibibyte })
	queues := n.createTopic("t", 1)
	good := func(v string) []byte { return makeBatch(t, batch.Stamp{Queue: queues[0]}, v) }
	corrupt := good("damaged")
	corrupt[len(corrupt)-1] ^= 1
	var frame []byte
	for _, b := range [][]byte{good("a"), corrupt, makeBatch(t, batch.Stamp{Queue: 999}, "x"), good(string(make([]byte, 4096))), good("b")} {
		frame = append(frame, b...)
	}
	stream := n.publishStream()
	require.NoError(t, stream.Send(&brokerv1.PublishStreamRequest{Frame: 7, Batches: frame}))
	resp, err := stream.Recv()
	require.NoError(t, err)
	var codesSeen []string
	for _, r := range resp.GetResults() {
		codesSeen = append(codesSeen, r.GetError().GetCode())
		require.False(t, r.GetError().GetIndefinite())
	}
	require.Equal(t, []string{"", "CORRUPT_BATCH", "UNKNOWN_QUEUE", "MESSAGE_TOO_LARGE", ""}, codesSeen)
	require.Equal(t, []string{"a", "b"}, n.pullAll("t", 0))

	require.NoError(t, stream.Send(&brokerv1.PublishStreamRequest{Frame: 8, Batches: good("c")}))
	require.NoError(t, stream.Send(&brokerv1.PublishStreamRequest{Frame: 9, Batches: []byte("these bytes are no batch")}))
	resp, err = stream.Recv()
	require.NoError(t, err, "what came before is answered")
	require.EqualValues(t, 8, resp.GetFrame())
	_, err = stream.Recv()
	requireCode(t, err, CodeInvalidBatch, "definite")
}

func TestFramesOfTooManyBatches(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	frame := bytes.Repeat(makeBatch(t, batch.Stamp{Queue: queues[0]}, "x"), maxFrameBatches)
	resp, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: frame})
	require.NoError(t, err)
	require.Len(t, resp.GetResults(), maxFrameBatches)
	frame = append(frame, makeBatch(t, batch.Stamp{Queue: queues[0]}, "one more")...)
	_, err = n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: frame})
	requireCode(t, err, CodeLimitExceeded, "definite")
	stream := n.publishStream()
	require.NoError(t, stream.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: frame}))
	_, err = stream.Recv()
	requireCode(t, err, CodeLimitExceeded, "definite")
	_, got := n.pull("t", 0, 0, 0)
	require.EqualValues(t, maxFrameBatches, got.GetEndOffset())
}

func TestIdempotentBatchesAreStoredOnce(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	p, err := followers[0].messaging.RegisterProducer(leader.ctx(), &brokerv1.RegisterProducerRequest{RequestId: "r1"})
	require.NoError(t, err)
	again, err := leader.messaging.RegisterProducer(leader.ctx(), &brokerv1.RegisterProducerRequest{RequestId: "r1"})
	require.NoError(t, err)
	require.Equal(t, p.GetProducerId(), again.GetProducerId(), "the request is the same")

	stamp := func(seq int64) batch.Stamp {
		return batch.Stamp{Queue: queues[0], ProducerID: p.GetProducerId(), ProducerEpoch: p.GetEpoch(), FirstSequence: seq}
	}
	first := leader.publish(makeBatch(t, stamp(0), "a", "b"))
	require.Nil(t, first.GetError())
	resent := followers[1].publish(makeBatch(t, stamp(0), "a", "b"))
	require.True(t, resent.GetDuplicate())
	require.Equal(t, first.GetBaseOffset(), resent.GetBaseOffset())
	require.Positive(t, first.GetTerm())
	require.EqualValues(t, -1, resent.GetLedgerIndex(), "the entry of the resend does not hold the batch")
	require.Zero(t, resent.GetTerm())
	require.Equal(t, "OUT_OF_ORDER_SEQUENCE", leader.publish(makeBatch(t, stamp(5), "f")).GetError().GetCode())

	leader.kill() // the window survives with the state
	require.True(t, followers[0].publish(makeBatch(t, stamp(0), "a", "b")).GetDuplicate())
	require.False(t, followers[0].publish(makeBatch(t, stamp(2), "c")).GetDuplicate())
	require.Equal(t, []string{"a", "b", "c"}, followers[1].pullAll("t", 0))
}

func TestStreamsNameTheLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	_, err := followers[0].publishStream().Recv()
	requireCode(t, err, CodeNotLeader, "definite")
	require.Equal(t, leader.b.Addrs().Client, errorInfo(t, err).GetMetadata()["leader_addr"])
	pull, err := followers[0].messaging.PullStream(leader.ctx())
	require.NoError(t, err)
	require.NoError(t, pull.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 1}))
	_, err = pull.Recv()
	requireCode(t, err, CodeNotLeader, "definite")

	// A handed over leadership ends its streams, idle ones too, after their frames
	// were answered.
	stream := leader.publishStream()
	require.NoError(t, stream.Send(&brokerv1.PublishStreamRequest{Frame: 1, Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, "a")}))
	resp, err := stream.Recv()
	require.NoError(t, err)
	require.Nil(t, resp.GetResults()[0].GetError())
	to := followers[1].cfg.Node.ID
	moved, err := followers[0].admin.TransferLeadership(leader.ctx(), &brokerv1.TransferLeadershipRequest{Transferee: to})
	require.NoError(t, err)
	require.Equal(t, to, moved.GetLeader())
	_, err = stream.Recv()
	requireCode(t, err, CodeNotLeader, "definite")
	require.Equal(t, codes.Unavailable, status.Code(err))
	c.leader()
	require.Equal(t, []string{"a"}, followers[0].pullAll("t", 0))
}

// TestNothingIsLostOnStreamsAcrossFailovers publishes through a stream while the
// leader is killed. What was acknowledged is there afterwards, once, in order.
func TestNothingIsLostOnStreamsAcrossFailovers(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queues := leader.createTopic("t", 1)
	stream := leader.publishStream()
	acked := 0
	for i := 1; ; i++ {
		err := stream.Send(&brokerv1.PublishStreamRequest{Frame: uint64(i), Batches: makeBatch(t, batch.Stamp{Queue: queues[0]}, fmt.Sprint(i))})
		if err != nil {
			break
		}
		if i == 200 {
			go leader.b.Kill()
		}
		if i < 20 { // keep some frames in flight
			continue
		}
		resp, err := stream.Recv()
		if err != nil {
			break
		}
		require.Nil(t, resp.GetResults()[0].GetError())
		acked++
	}
	require.GreaterOrEqual(t, acked, 150)
	require.ErrorIs(t, <-leader.done, ErrKilled)
	leader.done <- nil
	got := followers[0].pullAll("t", 0)
	require.GreaterOrEqual(t, len(got), acked)
	for i, v := range got {
		require.Equal(t, fmt.Sprint(i+1), v)
	}
}
