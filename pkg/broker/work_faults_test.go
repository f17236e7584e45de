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
	"github.com/ledgermq/ledgermq/pkg/state"
)

// onlyOnce is the policy of a group whose messages are dead letters after one attempt.
func onlyOnce() *brokerv1.WorkPolicy {
	return &brokerv1.WorkPolicy{MaxAttempts: 1, BackoffMinMs: 1, BackoffMaxMs: 1}
}

// TestDeadLettersOfBeforeAReset are not moved: the ledger would refuse each of them, and
// have its copy nevertheless.
func TestDeadLettersOfBeforeAReset(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", onlyOnce())
	n.fillSingly(queue, 3)
	require.Len(t, n.receive(1, long, patience), 1)
	q, w := n.theQueue(), n.b.work.queues
	_, err := n.groups().ResetGroup(n.ctx(), &brokerv1.ResetGroupRequest{
		Group: "g", To: &brokerv1.ResetGroupRequest_Start{Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Earliest{Earliest: true}}},
	})
	require.NoError(t, err)
	applied := n.b.store.Applied()
	now := time.Now()
	require.NoError(t, w.with(n.b.leaderships.serving(), func() {
		w.touchLocked(q, func() { require.True(t, q.table.Add(now, lease.Message{Offset: 7, Attempts: 1})) })
		w.soonLocked(now)
	}))
	require.Eventually(t, func() bool { return w.active.Load() == 0 }, patience, time.Millisecond)
	require.Equal(t, applied, n.b.store.Applied(), "nothing was proposed")
	w.mu.Lock()
	require.Equal(t, []int{0, 0}, []int{w.mu.entries, w.mu.held})
	w.mu.Unlock()
	require.Len(t, n.receive(3, long, patience), 3)
}

// TestWorkOfAQueueThatCameLater: a group that read the topic before gets all of a new queue,
// wherever it began in the others.
func TestWorkOfAQueueThatCameLater(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 1)
	receive := func(group string, wait time.Duration) []string {
		t.Helper()
		resp, err := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{
			Group: group, Topic: "t", MaxMessages: 10, InvisibleMs: long.Milliseconds(), MaxWaitMs: int32(wait.Milliseconds()),
			Start: &brokerv1.GroupStart{At: &brokerv1.GroupStart_Latest{Latest: true}},
		})
		require.NoError(t, err)
		return valuesOf(resp.GetMessages())
	}
	require.Empty(t, receive("g", 0))
	resp, err := n.admin.AlterTopic(n.ctx(), &brokerv1.AlterTopicRequest{Name: "t", Queues: 2})
	require.NoError(t, err)
	n.fillSingly(resp.GetTopic().GetQueueIds()[1], 3)
	require.Equal(t, []string{"0", "1", "2"}, receive("g", patience))
	n.createWorkGroup("fresh", &brokerv1.WorkPolicy{})
	require.Empty(t, receive("fresh", 0), "who comes later begins where it said, in all of them")
}

// TestDeletedDeadLetters: the topic of dead letters is gone at once when it is deleted, and
// made anew; where somebody wanted to be able to have it back, the next dead letter does so.
func TestDeletedDeadLetters(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", onlyOnce())
	n.fillSingly(queue, 3)
	die := func(want ...string) {
		t.Helper()
		require.Equal(t, []string{""}, n.nack(0, n.receive(1, long, patience)[0].GetReceipt()))
		var values []string
		for _, l := range n.awaitDead(len(want)) {
			values = append(values, string(l.GetMessage().GetValue()))
		}
		require.Equal(t, want, values)
	}
	die("0")
	resp, err := n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: deadLetters("g")})
	require.NoError(t, err)
	require.Zero(t, resp.GetUndeleteUntilUnixMs())
	die("1")
	resp, err = n.admin.DeleteTopic(n.ctx(), &brokerv1.DeleteTopicRequest{Name: deadLetters("g"), GraceMs: new(int64(3600_000))})
	require.NoError(t, err)
	require.NotZero(t, resp.GetUndeleteUntilUnixMs())
	require.Empty(t, n.deadLetters(true))
	die("1", "2")
	require.Zero(t, n.lag("g"))
}

// TestTrimOfADelayedHead: what is not kept any more does not hold up its message group.
func TestTrimOfADelayedHead(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{Fifo: true})
	b, err := batch.NewBuilder(batch.BuilderConfig{})
	require.NoError(t, err)
	for _, value := range []string{"0", "1", "2"} {
		require.NoError(t, b.Append(&batch.Record{Timestamp: 1, MessageGroup: "a", Value: []byte(value)}))
	}
	body, err := b.Build(batch.Stamp{Queue: queue})
	require.NoError(t, err)
	require.Nil(t, n.publish(body).GetError())
	require.Equal(t, []string{""}, n.nack(time.Hour, receiptsOf(n.receive(1, long, patience))...))
	require.Empty(t, n.receive(1, long, 0))
	_, err = n.trim("t", 1)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, valuesOf(n.receive(1, long, patience)))
}

// TestUnreadableDeadLetter keeps no other one from being moved.
func TestUnreadableDeadLetter(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", onlyOnce())
	n.fillSingly(queue, 1)
	bad := makeBatch(t, batch.Stamp{Queue: queue}, "bad")
	bad[batch.HeaderBytes] = 0xff
	binary.LittleEndian.PutUint32(bad, crc32.Checksum(bad[4:], crc32.MakeTable(crc32.Castagnoli)))
	require.Nil(t, n.publish(bad).GetError())
	n.fillSingly(queue, 1)
	require.Len(t, n.receive(1, long, patience), 1) // the queue is known
	moved, err := n.b.work.queues.buryAll(n.ctx(), n.theQueue(), []lease.Offset{1, 0, 2})
	require.ErrorContains(t, err, "offset 1")
	require.Equal(t, map[state.Offset]bool{0: true, 2: true}, moved)
	require.Len(t, n.awaitDead(2), 2)
}

// receiveLater is a Receive that waits; the channel has what it is given.
func (n *node) receiveLater(group string) <-chan []*brokerv1.WorkMessage {
	n.t.Helper()
	given := make(chan []*brokerv1.WorkMessage, 1)
	go func() {
		resp, _ := n.work().Receive(n.ctx(), &brokerv1.ReceiveRequest{
			Group: group, Topic: "t", MaxMessages: 1, InvisibleMs: long.Milliseconds(), MaxWaitMs: int32(patience.Milliseconds()),
		})
		given <- resp.GetMessages()
	}()
	w := n.b.work.queues
	g, ok := n.b.store.Group(group)
	require.True(n.t, ok)
	require.Eventually(n.t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for key := range w.mu.queues {
			if key.group == g.ID {
				return true
			}
		}
		return false
	}, patience, time.Millisecond)
	return given
}

// TestForgottenWhileSomebodyWaits: who waits is told of what arrives, however long nothing did.
func TestForgottenWhileSomebodyWaits(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	given := n.receiveLater("g")
	w, lead, q := n.b.work.queues, n.b.leaderships.serving(), n.theQueue()
	require.NoError(t, w.with(lead, func() { q.used = time.Now().Add(-2 * workIdle) }))
	w.forget(lead)
	n.fillSingly(queue, 1)
	began := time.Now()
	require.Len(t, <-given, 1)
	require.Less(t, time.Since(began), patience/2)
}

// TestRoomOfAnotherGroup: who waits because other groups have as much as all may is told when
// they have less.
func TestRoomOfAnotherGroup(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.createWorkGroup("other", &brokerv1.WorkPolicy{})
	n.fillSingly(queue, 1)
	got := n.receive(1, long, patience)
	w, lead := n.b.work.queues, n.b.leaderships.serving()
	require.NoError(t, w.with(lead, func() { w.mu.entries += maxWork - 1 }))
	given := n.receiveLater("other")
	began := time.Now()
	require.Equal(t, []string{""}, n.ack(receiptsOf(got)...))
	require.Len(t, <-given, 1)
	require.Less(t, time.Since(began), patience/2)
}

// TestReleasedIsAsIfNeverGivenOut: what nobody has begun with is ready at once, and has had no
// attempt.
func TestReleasedIsAsIfNeverGivenOut(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", onlyOnce())
	n.fillSingly(queue, 3)
	release := func(receipts []string) []string {
		t.Helper()
		resp, err := n.work().Nack(n.ctx(), &brokerv1.NackRequest{Receipts: receipts, Untouched: true})
		require.NoError(t, err)
		return codesOf(t, receipts, resp.GetResults())
	}
	first := receiptsOf(n.receive(3, long, patience))
	require.Equal(t, []string{"", "", string(CodeInvalidHandle)}, release([]string{first[0], first[2], "x"}))
	got := n.receive(3, long, patience)
	require.Equal(t, []string{"0", "2"}, valuesOf(got))
	require.Equal(t, uint32(1), got[0].GetAttempt())
	require.Equal(t, []string{string(CodeReceiptExpired), ""}, release(first[:2]))
	require.Equal(t, []string{"1"}, valuesOf(n.receive(3, long, patience)))
	require.Equal(t, make([]string, 2), n.ack(receiptsOf(got)...))
}
