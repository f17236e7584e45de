package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

func inFuture(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

// recall asks for a recall.
func (n *node) recall(handle string) error {
	_, err := brokerv1.NewDeliveryServiceClient(n.conn).Recall(n.ctx(), &brokerv1.RecallRequest{Handle: handle})
	return err
}

// arrivals reads a queue until it has so many messages, and says when each came.
func (n *node) arrivals(topic string, count int) (all []string, at []int64) {
	n.t.Helper()
	for len(all) < count {
		got, _ := n.pull(topic, 0, int64(len(all)), patience/2)
		now := time.Now().UnixMilli()
		for _, v := range got {
			all, at = append(all, v), append(at, now)
		}
	}
	return all, at
}

// TestDelayedMessagesOutliveTheLeader: what was acknowledged before the leader was
// killed is delivered by the next one, at its time, once, in the order of the times.
func TestDelayedMessagesOutliveTheLeader(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	const count = 40
	topic, due, want, last := leader.publishDelayed(count)
	leader.kill()
	again := followers[0].publish(last) // held until there is a leader
	require.True(t, again.GetDuplicate())
	require.NotEmpty(t, again.GetHandle(), "a resend learns the handle too")
	reader := followers[1]
	got, at := reader.arrivals(topic, count/2)
	second, _ := c.leader(followers...)
	second.kill() // in the middle: the first one comes back for it
	leader.restart()
	rest := leader
	got2, at2 := []string{}, []int64{}
	for len(got)+len(got2) < count {
		resp, err := rest.messaging.Pull(rest.ctx(), &brokerv1.PullRequest{Topic: topic, Offset: int64(len(got) + len(got2)), MaxWaitMs: 100})
		if err != nil {
			continue // between leaders
		}
		for _, v := range values(t, resp.GetBatches()) {
			got2, at2 = append(got2, v), append(at2, time.Now().UnixMilli())
		}
	}
	got, at = append(got, got2...), append(at, at2...)
	require.Equal(t, want, got)
	for i := range at {
		require.GreaterOrEqual(t, at[i], due[i], "message %d is early", i)
	}
	second.restart()
	c.leader()
	end := leader.pullAll(topic, 0)
	require.Equal(t, want, end)
	c.awaitSameState()
}

// publishDelayed publishes messages to a new topic, the latest first, and says when each is
// due, in the order of the times. All are there before the first is due: on a machine that was
// too slow for that it begins anew, with more time.
func (n *node) publishDelayed(count int) (topic string, due []int64, want []string, last []byte) {
	t := n.t
	t.Helper()
	for ahead := 600 * time.Millisecond; ; ahead *= 3 {
		topic, due, want = fmt.Sprint("t", ahead), nil, nil
		queue := n.createTopic(topic, 1)[0]
		id, err := n.messaging.RegisterProducer(n.ctx(), &brokerv1.RegisterProducerRequest{})
		require.NoError(t, err)
		first := inFuture(ahead)
		for i := range count {
			due = append([]int64{first + int64(count-i)*20}, due...)
			want = append([]string{fmt.Sprint(i)}, want...)
			last = makeBatch(t, batch.Stamp{Queue: queue, ProducerID: id.GetProducerId(), ProducerEpoch: id.GetEpoch(), FirstSequence: int64(i), DeliverAt: due[0]}, want[0])
			res := n.publish(last)
			require.Nil(t, res.GetError())
			require.Equal(t, int64(-1), res.GetBaseOffset())
			require.NotEmpty(t, res.GetHandle())
		}
		if time.Now().UnixMilli() < first {
			return topic, due, want, last
		}
		require.Less(t, ahead, patience, "too slow")
	}
}

// awaitSameState waits until all members have applied the same entries with the
// same state.
func (c *cluster) awaitSameState() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		hash, at := c.nodes[0].b.store.Hash()
		for _, n := range c.nodes[1:] {
			if h, a := n.b.store.Hash(); h != hash || a != at {
				return false
			}
		}
		return true
	}, patience, time.Millisecond)
	want, _, err := c.nodes[0].b.store.FullHash()
	require.NoError(c.t, err)
	for _, n := range c.nodes[1:] {
		got, _, err := n.b.store.FullHash()
		require.NoError(c.t, err)
		require.Equal(c.t, want, got)
	}
}

func TestRecallBeforeAndAfterDelivery(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	recalled := n.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: inFuture(time.Hour)}, "recalled"))
	delivered := n.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: inFuture(50 * time.Millisecond)}, "delivered"))
	require.NoError(t, n.recall(recalled.GetHandle()))
	requireCode(t, n.recall(recalled.GetHandle()), CodeNotWaiting, "definite")
	got, _ := n.arrivals("t", 1)
	require.Equal(t, []string{"delivered"}, got)
	requireCode(t, n.recall(delivered.GetHandle()), CodeNotWaiting, "definite")
	for _, wrong := range []string{"", "d", "d-1-2x", "d--1-2", "D-1-2", "d-1-02"} {
		requireCode(t, n.recall(wrong), CodeInvalidHandle, "definite")
	}
	far := n.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: inFuture(maxDelay + time.Hour)}, "x"))
	require.Equal(t, string(CodeDeliveryTooFar), far.GetError().GetCode())
	require.False(t, far.GetError().GetIndefinite())
	year := n.publish(makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: inFuture(maxDelay - time.Hour)}, "x"))
	require.Nil(t, year.GetError())
	require.Equal(t, 1, n.b.store.Waiting().Delayed)

	n.shutdown()
	n.restart()
	n.awaitServing(1)
	require.Equal(t, 1, n.b.store.Waiting().Delayed)
	require.NoError(t, n.recall(year.GetHandle()))
	require.Zero(t, n.b.store.Waiting().Delayed)
}

// TestRetentionCarriesWhatWaits: old segments go although messages in them wait, and
// those come at their time all the same. What is delivered stays for a while.
func TestRetentionCarriesWhatWaits(t *testing.T) {
	n := startSingle(t, func(c *Config) {
		smallSegments(c)
		c.Retention = RetentionConfig{Size: 4 * mebibyte, CheckInterval: 10 * time.Millisecond}
	})
	queue := n.createTopic("t", 1)[0]
	waits := n.createTopic("waits", 1)[0]
	var handles []string
	for i := range 10 {
		res := n.publish(makeBatch(t, batch.Stamp{Queue: waits, DeliverAt: inFuture(time.Hour) + int64(i)}, fmt.Sprint(i)))
		require.Nil(t, res.GetError())
		handles = append(handles, res.GetHandle())
	}
	recall, err := parseHandle(handles[9])
	require.NoError(t, err)
	for i := 0; int64(n.b.ledger.Begin()) <= recall.GetId(); i++ {
		n.publishBulk(queue, i, i)
	}
	require.NoError(t, n.recall(handles[0]), "a handle stays the same")
	require.Positive(t, testutil.ToFloat64(n.b.delivery.metrics.carried))
	n.shutdown()
	n.cfg.Retention = RetentionConfig{}
	n.restart()
	n.awaitServing(1)
	require.Equal(t, 9, n.b.store.Waiting().Delayed)
	n.b.delivery.ahead.Store(int64(2 * time.Hour))
	signal(n.b.delivery.wake)
	got, _ := n.arrivals("waits", 9)
	require.Equal(t, []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"}, got)
	require.Zero(t, n.b.store.Waiting())
}

// TestManyAreDueAtOnce: publishes are answered while a flood is delivered.
func TestManyAreDueAtOnce(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	other := n.createTopic("other", 1)[0]
	const frames, perFrame = 20, 500
	published, rounds := 0, 0
	for ; published == 0; rounds++ { // this test may find the time to look only when all is over
		require.Less(t, rounds, 20, "nothing was published meanwhile")
		published = n.floodThenPublish(queue, other, frames, perFrame)
	}
	require.Len(t, n.pullAll("t", 0), rounds*frames*perFrame)
}

// floodThenPublish has many delayed messages be due at once, and publishes others for as long
// as some of them wait. It returns how many those were.
func (n *node) floodThenPublish(queue, other uint32, frames, perFrame int) (published int) {
	t := n.t
	t.Helper()
	n.b.delivery.ahead.Store(0)
	due := inFuture(time.Hour)
	for range frames {
		var frame []byte
		for range perFrame {
			frame = append(frame, makeBatch(t, batch.Stamp{Queue: queue, DeliverAt: due}, "x")...)
		}
		resp, err := n.messaging.Publish(n.ctx(), &brokerv1.PublishRequest{Batches: frame})
		require.NoError(t, err)
		require.Len(t, resp.GetResults(), perFrame)
	}
	n.b.delivery.ahead.Store(int64(2 * time.Hour))
	signal(n.b.delivery.wake)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for n.b.store.Waiting().Delayed > 0 {
		_, err := n.messaging.Publish(ctx, &brokerv1.PublishRequest{Batches: makeBatch(t, batch.Stamp{Queue: other}, "y")})
		require.NoError(t, err)
		published++
	}
	return published
}
