package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/lease"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// theQueue is what the leader knows of the only queue that anybody receives from.
func (n *node) theQueue() *workQueue {
	n.t.Helper()
	w := n.b.work.queues
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Len(n.t, w.mu.queues, 1)
	for _, q := range w.mu.queues {
		return q
	}
	return nil
}

// TestDoneIsLookedUpLast: a message that was read as not done, and is done when it is
// leased, is not given out.
func TestDoneIsLookedUpLast(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 2)
	got := n.receive(1, long, patience)
	require.Equal(t, []string{""}, n.ack(got[0].GetReceipt()))
	q := n.theQueue()
	require.NoError(t, n.b.work.queues.with(n.b.leaderships.serving(), func() {
		require.True(t, q.table.Add(time.Now(), lease.Message{Offset: 0})) // as if it had been read before
	}))
	require.Equal(t, []string{"1"}, valuesOf(n.receive(2, long, patience)))
}

// TestWorkIsForgotten: what nobody uses, and what is gone, costs no memory; the rest of it
// is in the state.
func TestWorkIsForgotten(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 3)
	got := n.receive(1, long, patience)
	w, lead := n.b.work.queues, n.b.leaderships.serving()
	w.forget(lead)
	require.Equal(t, int64(1), w.active.Load(), "somebody holds a message")
	require.Equal(t, []string{""}, n.nack(0, got[0].GetReceipt()))
	q := n.theQueue()
	require.NoError(t, w.with(lead, func() { q.used = time.Now().Add(-2 * workIdle) }))
	w.forget(lead)
	require.Zero(t, w.active.Load())
	w.mu.Lock()
	require.Equal(t, []int{0, 0}, []int{w.mu.entries, w.mu.held})
	w.mu.Unlock()
	again := n.receive(3, long, patience)
	require.Equal(t, []string{"0", "1", "2"}, valuesOf(again))
	require.Equal(t, uint32(2), again[0].GetAttempt())

	_, err := n.groups().DeleteGroup(n.ctx(), &brokerv1.DeleteGroupRequest{Name: "g"})
	require.Equal(t, string(CodeGroupNotEmpty), infoOf(err).GetReason(), "somebody holds messages")
	_, err = n.groups().DeleteGroup(n.ctx(), &brokerv1.DeleteGroupRequest{Name: "g", Force: true})
	require.NoError(t, err)
	w.forget(lead)
	require.Zero(t, w.active.Load())
	require.Equal(t, []string{string(CodeUnknownGroup)}, n.ack(again[0].GetReceipt()))
}

// TestTooMuchWork says why nothing comes although there is something.
func TestTooMuchWork(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 2)
	require.Len(t, n.receive(1, long, patience), 1)
	w := n.b.work.queues
	g, _ := n.b.store.Group("g")
	require.NoError(t, w.with(n.b.leaderships.serving(), func() { w.mu.leased[g.ID] += maxGroupLeases }))
	_, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "g", Topic: "t", InvisibleMs: 1000})
	require.Equal(t, string(CodeTooManyInFlight), infoOf(err).GetReason())
}

// TestWorkKeepsWithinReach: what is too far from the oldest message that is not done, so that
// its acknowledgement could not be stored, is not given out.
func TestWorkKeepsWithinReach(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 4 << 20})
	require.NoError(t, err)
	const messages = state.WorkWindow + 2_000
	for range messages {
		require.NoError(t, b.Append(&batch.Record{Timestamp: 1}))
	}
	body, err := b.Build(batch.Stamp{Queue: queue})
	require.NoError(t, err)
	require.Nil(t, n.publish(body).GetError())
	oldest := n.receive(1, long, patience)
	require.Equal(t, []string{""}, n.nack(time.Hour, oldest[0].GetReceipt()))
	done := 1
	for {
		resp, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "g", Topic: "t", MaxMessages: 1024, InvisibleMs: 60_000})
		if err != nil {
			require.Equal(t, string(CodeTooManyInFlight), infoOf(err).GetReason(), "%v", err)
			break
		}
		require.NotEmpty(t, resp.GetMessages())
		for _, code := range n.ack(receiptsOf(resp.GetMessages())...) {
			require.Empty(t, code)
		}
		done += len(resp.GetMessages())
	}
	require.Greater(t, done, state.WorkWindow-2*scanChunk)
	next := make(chan []*brokerv1.WorkMessage, 1) // of one who waits already
	go func() {
		resp, _ := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "g", Topic: "t", MaxMessages: 1, InvisibleMs: 60_000, MaxWaitMs: int32(patience.Milliseconds())})
		next <- resp.GetMessages()
	}()
	require.Eventually(t, func() bool { return n.b.hold.held.Load() == 1 }, patience, time.Millisecond)
	require.Equal(t, []string{""}, n.ack(oldest[0].GetReceipt()))
	got := <-next
	require.Len(t, got, 1)
	n.ack(receiptsOf(got)...)
	done++
	for done < messages {
		got := n.receive(1024, long, patience)
		n.ack(receiptsOf(got)...)
		done += len(got)
	}
	require.Zero(t, n.lag("g"))
}
