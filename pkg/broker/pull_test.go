package broker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func TestLongPullIsWokenByMessages(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	got := make(chan *brokerv1.PullResponse, 1)
	go func() {
		resp, _ := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", MaxWaitMs: int32(patience.Milliseconds())})
		got <- resp
	}()
	n.awaitHeld(1)
	n.publish(makeBatch(t, batch.Stamp{Queue: queues[0]}, "news"))
	require.Equal(t, []string{"news"}, values(t, (<-got).GetBatches()))
	n.awaitHeld(0)

	_, resp := n.pull("t", 0, 1, time.Millisecond)
	require.Empty(t, resp.GetInfos(), "the end of the queue is no error")
	require.EqualValues(t, 1, resp.GetEndOffset())
}

func (n *node) awaitHeld(pulls int64) {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return n.b.hold.held.Load() == pulls }, patience, time.Millisecond)
}

func TestPullsOutOfRange(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 2)
	for _, tc := range []struct {
		req  *brokerv1.PullRequest
		code Code
		grpc codes.Code
		text string
	}{
		{&brokerv1.PullRequest{Topic: "nope"}, CodeUnknownTopic, codes.NotFound, `there is no topic "nope"`},
		{&brokerv1.PullRequest{Topic: "t", Queue: 2}, CodeUnknownQueue, codes.NotFound, `topic "t" has queues 0 to 1, not 2`},
		{&brokerv1.PullRequest{Topic: "t", Offset: 1}, CodeOffsetTooHigh, codes.OutOfRange, "offset 1 of t/0 is above the end, 0 (the first is 0)"},
		{&brokerv1.PullRequest{Topic: "t", Offset: -1}, CodeOffsetTooLow, codes.OutOfRange, "offset -1 of t/0 is below the first, 0 (the end is 0)"},
	} {
		_, err := n.messaging.Pull(n.ctx(), tc.req)
		requireCode(t, err, tc.code, "definite")
		require.Equal(t, tc.grpc, status.Code(err))
		require.Equal(t, tc.text, status.Convert(err).Message())
	}
}

// TestPullsOfAnotherQueue: who says which queue is meant does not end up in a topic
// that was made anew under its name.
func TestPullsOfAnotherQueue(t *testing.T) {
	n := startSingle(t, nil)
	old := n.createTopic("t", 1)
	stream := func(id uint32) error {
		stream, err := n.messaging.PullStream(n.ctx())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", QueueId: id, CreditBytes: 1 << 20}))
		_, err = stream.Recv()
		return err
	}
	n.publish(makeBatch(t, batch.Stamp{Queue: old[0]}, "a"))
	_, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", QueueId: old[0]})
	require.NoError(t, err)
	require.NoError(t, stream(old[0]))

	_, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "t"})
	require.NoError(t, err)
	anew := n.createTopic("t", 1)
	n.publish(makeBatch(t, batch.Stamp{Queue: anew[0]}, "b"))
	_, err = n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", QueueId: old[0]})
	requireCode(t, err, CodeUnknownQueue, "definite")
	require.Equal(t, fmt.Sprintf(`topic "t" was deleted and made anew: its queue 0 has the id %d now, not %d`, anew[0], old[0]), status.Convert(err).Message())
	requireCode(t, stream(old[0]), CodeUnknownQueue, "definite")
	require.NoError(t, stream(anew[0]))
	require.NoError(t, stream(0), "who does not say takes what is there")
}

func TestPullGathersScatteredBatches(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 2)
	var want [2][]string
	for i := range 60 { // neighbours in the ledger and not
		q := i / 5 % 2
		if i >= 30 {
			q = i % 2
		}
		want[q] = append(want[q], fmt.Sprint(i, "a"), fmt.Sprint(i, "b"))
		n.publish(makeBatch(t, batch.Stamp{Queue: queues[q]}, fmt.Sprint(i, "a"), fmt.Sprint(i, "b")))
	}
	for q := range want {
		got, resp := n.pull("t", uint32(q), 0, 0)
		require.Equal(t, want[q], got)
		for i, info := range resp.GetInfos() {
			require.EqualValues(t, 2*i, info.GetBaseOffset())
			require.Positive(t, info.GetAppendTimeUnixMs())
			require.EqualValues(t, 1, info.GetTerm())
		}
		inside, _ := n.pull("t", uint32(q), 3, 0)
		require.Equal(t, want[q][2:], inside, "the batch that holds the offset comes whole")
		one, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Queue: uint32(q), MaxBytes: 1})
		require.NoError(t, err)
		require.Equal(t, want[q][:2], values(t, one.GetBatches()), "one batch always goes through")
	}
}

func TestPullStreamKeepsToItsCredit(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	one := makeBatch(t, batch.Stamp{Queue: queues[0]}, "x")
	for range 3 {
		n.publish(one)
	}
	stream, err := n.messaging.PullStream(n.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: int64(len(one) + 1)}))
	resp, err := stream.Recv()
	require.NoError(t, err)
	require.Len(t, resp.GetInfos(), 1)
	resp, err = stream.Recv() // one byte of credit is left: one more batch, on account
	require.NoError(t, err)
	require.Len(t, resp.GetInfos(), 1)
	require.EqualValues(t, 1, resp.GetInfos()[0].GetBaseOffset())
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{CreditBytes: int64(len(one))}))
	resp, err = stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 2, resp.GetInfos()[0].GetBaseOffset())

	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{CreditBytes: 1 << 20}))
	n.awaitHeld(1)
	n.publish(one)
	resp, err = stream.Recv()
	require.NoError(t, err)
	require.EqualValues(t, 3, resp.GetInfos()[0].GetBaseOffset())

	n.awaitHeld(1)
	_, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: "t"})
	require.NoError(t, err)
	_, err = stream.Recv()
	requireCode(t, err, CodeUnknownQueue, "definite")
}

func TestPullStreamStartsWithCredit(t *testing.T) {
	n := startSingle(t, nil)
	n.createTopic("t", 1)
	stream, err := n.messaging.PullStream(n.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: -1}))
	_, err = stream.Recv()
	requireCode(t, err, CodeLimitExceeded, "definite")
}

func TestWaitingPullsAreBounded(t *testing.T) {
	n := startSingle(t, func(c *Config) { c.Limits.MaxHeldPulls = 1 })
	n.createTopic("t", 1)
	stream, err := n.messaging.PullStream(n.ctx())
	require.NoError(t, err)
	require.NoError(t, stream.Send(&brokerv1.PullStreamRequest{Topic: "t", CreditBytes: 1}))
	n.awaitHeld(1)
	_, err = n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", MaxWaitMs: 1000})
	requireCode(t, err, CodeLimitExceeded, "definite")
	_, err = n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t"})
	require.NoError(t, err, "who does not wait needs no place")
}

// TestPullReadsNothingTwice: a batch that does not fit an answer any more is not read for
// it, to be read again for the next one.
func TestPullReadsNothingTwice(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 1)
	var want []string
	size := 0
	for i := range 30 {
		v := fmt.Sprint(i, strings.Repeat("x", 300_000))
		want = append(want, v)
		b := makeBatch(t, batch.Stamp{Queue: queues[0]}, v)
		size += len(b)
		n.publish(b)
	}
	readBytes := func() float64 {
		families, err := n.b.metrics.registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "broker_commitlog_read_bytes_total" {
				return f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		t.Fatal("the broker does not count what it reads")
		return 0
	}
	before := readBytes()
	var got []string
	for len(got) < len(want) {
		resp, err := n.messaging.Pull(n.ctx(), &brokerv1.PullRequest{Topic: "t", Offset: int64(len(got)), MaxBytes: 1_000_000})
		require.NoError(t, err)
		require.LessOrEqual(t, len(resp.GetBatches()), 1_000_000)
		got = append(got, values(t, resp.GetBatches())...)
	}
	require.Equal(t, want, got)
	require.Greater(t, readBytes()-before, 0.6*float64(size), "most of it has left the tail")
	require.Less(t, readBytes()-before, 1.1*float64(size))
}
