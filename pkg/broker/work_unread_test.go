package broker

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/lease"
)

// publishUnreadable publishes a batch whose records no reader understands.
func (n *node) publishUnreadable(queue uint32) {
	n.t.Helper()
	bad := makeBatch(n.t, batch.Stamp{Queue: queue}, "bad")
	bad[batch.HeaderBytes] = 0xff
	binary.LittleEndian.PutUint32(bad, crc32.Checksum(bad[4:], crc32.MakeTable(crc32.Castagnoli)))
	require.Nil(n.t, n.publish(bad).GetError())
}

// TestUnreadableBatchStopsItsQueueOnly: the messages of other queues come, and who receives
// where there is nothing else is told why; a reset behind the batch goes on.
func TestUnreadableBatchStopsItsQueueOnly(t *testing.T) {
	n := startSingle(t, nil)
	queues := n.createTopic("t", 2)
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.publishUnreadable(queues[0])
	n.fillSingly(queues[0], 1)
	require.Empty(t, n.receive(10, long, 100*time.Millisecond), "there may be some in the other queue")
	n.fillSingly(queues[1], 3)
	var got []*brokerv1.WorkMessage
	for len(got) < 3 {
		got = append(got, n.receive(1, long, patience)...)
	}
	require.Equal(t, []string{"0", "1", "2"}, valuesOf(got))
	n.publishUnreadable(queues[1])
	require.Empty(t, n.receive(1, long, 100*time.Millisecond), "one that is held may come again")
	n.ack(receiptsOf(got)...)
	_, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{Group: "g", Topic: "t", InvisibleMs: 1000, MaxWaitMs: int32(patience.Milliseconds())})
	require.Equal(t, string(CodeInvalidBatch), infoOf(err).GetReason(), "nothing else can come")

	_, err = n.groups().ResetGroup(n.ctx(), &brokerv1.ResetGroupRequest{
		Group: "g", Topic: "t", Queues: []uint32{0}, To: &brokerv1.ResetGroupRequest_Start{Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Offset{Offset: 1}}},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"0"}, valuesOf(n.receive(1, long, patience)))
}

// TestUnreadableMessageIsPutOff: a message that cannot be read when it is its turn again
// keeps no other one from coming, and no attempt counts.
func TestUnreadableMessageIsPutOff(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{MaxAttempts: 1})
	n.fillSingly(queue, 1)
	require.Len(t, n.receive(1, long, patience), 1)
	n.publishUnreadable(queue)
	n.fillSingly(queue, 1)
	w, lead, q := n.b.work.queues, n.b.leaderships.serving(), n.theQueue()
	require.NoError(t, w.with(lead, func() { // as if it had been readable when it was read on
		now := time.Now()
		w.touchLocked(q, func() {
			require.True(t, q.table.Add(now, lease.Message{Offset: 1}))
			require.True(t, q.table.Add(now, lease.Message{Offset: 2}))
		})
		q.cursor = 3
	}))
	got := n.receive(2, long, patience)
	require.Len(t, got, 1)
	require.Equal(t, int64(2), got[0].GetOffset())
	require.NoError(t, w.with(lead, func() {
		require.Equal(t, 3, q.table.Len())
		require.Equal(t, 2, q.table.Leased())
	}))
	require.Empty(t, n.receive(1, long, 0))
	require.Empty(t, n.deadLetters(false))
}

// TestUnwantedIsNoDeadLetter: a message that a filter does not want, and that could not be
// made done at once, was given to nobody: no attempt counts, and it is not a dead letter.
func TestUnwantedIsNoDeadLetter(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{MaxAttempts: 1, BackoffMinMs: 1, BackoffMaxMs: 1})
	n.fillSingly(queue, 1)
	w := n.b.work.queues
	waiting := func(size int) {
		w.gatherer.mu.Lock()
		defer w.gatherer.mu.Unlock()
		w.gatherer.mu.size = size
	}
	receive := func(wait time.Duration) []*brokerv1.WorkMessage {
		resp, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{
			Group: "g", Topic: "t", MaxMessages: 1, InvisibleMs: 20, MaxWaitMs: int32(wait.Milliseconds()),
			Filter: &brokerv1.Filter{Kind: brokerv1.Filter_KIND_TAG, Expression: "wanted"},
		})
		require.NoError(t, err)
		return resp.GetMessages()
	}
	waiting(maxGathering) // as many as may
	require.Eventually(t, func() bool { return len(receive(50*time.Millisecond)) == 0 && w.active.Load() == 1 }, patience, time.Millisecond)
	q := n.theQueue()
	require.NoError(t, w.with(n.b.leaderships.serving(), func() {
		require.Equal(t, 1, q.table.Len())
		require.Zero(t, q.table.Leased(), "nobody was given it")
	}))
	waiting(0)
	got := n.receive(1, long, patience)
	require.Len(t, got, 1)
	require.Equal(t, uint32(1), got[0].GetAttempt())
	require.Empty(t, n.deadLetters(false))
}

// TestUncountedAttemptWaits: a message whose lease has ended waits for its back-off also when
// the attempt could not be stored.
func TestUncountedAttemptWaits(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{BackoffMinMs: 600_000, BackoffMaxMs: 600_000})
	n.fillSingly(queue, 1)
	require.Len(t, n.receive(1, long, patience), 1)
	w, lead, q := n.b.work.queues, n.b.leaderships.serving(), n.theQueue()
	now := time.Now()
	var all []pinned
	require.NoError(t, w.with(lead, func() {
		w.touchLocked(q, func() {
			for _, l := range q.table.Tick(now.Add(2 * long)) { // as when its time is over
				all = append(all, pinned{q: q, attempts: l.Attempt, visible: now.Add(10 * time.Minute)})
			}
		})
	}))
	require.Len(t, all, 1)
	w.settled(lead, all, []error{errorf(CodeLimitExceeded, "as many as may be were tried")})
	require.NoError(t, w.with(lead, func() {
		require.Zero(t, q.table.Ready())
		require.Zero(t, q.table.Pinned())
		require.WithinDuration(t, now.Add(10*time.Minute), q.table.Next(), time.Second)
	}))
}
