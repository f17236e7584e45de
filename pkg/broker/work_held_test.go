package broker

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// publishRecords publishes records as one batch.
func (n *node) publishRecords(queue uint32, records ...batch.Record) {
	n.t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{MaxBytes: 4 << 20})
	require.NoError(n.t, err)
	for _, r := range records {
		r.Timestamp = 1
		require.NoError(n.t, b.Append(&r))
	}
	body, err := b.Build(batch.Stamp{Queue: queue})
	require.NoError(n.t, err)
	require.Nil(n.t, n.publish(body).GetError())
}

// TestHeldMessageKeepsNoBatch: small messages that wait in memory do not keep the large
// batches that they came with.
func TestHeldMessageKeepsNoBatch(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{Fifo: true})
	const batches = 64
	for i := range batches {
		n.publishRecords(queue, batch.Record{MessageGroup: "stuck", Value: []byte("x")},
			batch.Record{MessageGroup: fmt.Sprint("free", i), Value: make([]byte, 1<<20)})
	}
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc >> 20)
	}
	before := heap()
	n.nack(time.Hour, receiptsOf(n.receive(1, long, patience))...)
	for done := 0; done < batches; {
		got := n.receive(16, long, patience)
		n.ack(receiptsOf(got)...)
		done += len(got)
	}
	w := n.b.work.queues
	require.NoError(t, w.with(n.b.leaderships.serving(), func() {
		require.Len(t, w.mu.queues, 1)
		for _, q := range w.mu.queues {
			require.Len(t, q.held, batches-1, "what waits behind the head")
		}
		require.Less(t, w.mu.held, batches*1000)
	}))
	// What else the broker does has tens of mebibytes for a moment.
	require.Eventually(t, func() bool { return heap()-before < batches/2 }, patience, 10*time.Millisecond, "MiB")
}

// TestBatchIsReadOnceForManyMessages: messages that come again, and are not in memory any
// more, are read with one look at their batch.
func TestBatchIsReadOnceForManyMessages(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{BackoffMinMs: 1, BackoffMaxMs: 1})
	n.publishRecords(queue, make([]batch.Record, 100)...)
	records := make([]batch.Record, 200)
	for i := range records {
		records[i].Value = fmt.Appendf(make([]byte, 0, 4000), "%4000d", i)
	}
	n.publishRecords(queue, records...)
	all := func() (got []*brokerv1.WorkMessage) {
		for len(got) < 300 {
			got = append(got, n.receive(300-int32(len(got)), long, patience)...)
		}
		return got
	}
	first := all()
	// What else the broker does may take memory meanwhile: then it is looked at again.
	for receipts, attempt := receiptsOf(first), uint32(2); ; attempt++ {
		n.nack(0, receipts...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		again := all()
		runtime.ReadMemStats(&after)
		require.Equal(t, valuesOf(first), valuesOf(again))
		for _, m := range again {
			require.Equal(t, attempt, m.GetAttempt())
		}
		took := int(after.TotalAlloc-before.TotalAlloc) >> 20
		if took < 32 {
			break
		}
		require.Less(t, attempt, uint32(5), "%d MiB for less than one that was read", took)
		receipts = receiptsOf(again)
	}
}

// TestReadingForAnAnswerIsBounded: of large messages that are not in memory no more are
// read than an answer may have; the others come with the next one.
func TestReadingForAnAnswerIsBounded(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{BackoffMinMs: 1, BackoffMaxMs: 1})
	const messages = 40
	for range messages {
		n.publishRecords(queue, batch.Record{Value: make([]byte, 1<<20)})
	}
	var first []string
	for len(first) < messages {
		first = append(first, receiptsOf(n.receive(messages, long, patience))...)
	}
	n.nack(0, first...)
	w, lead := n.b.work.queues, n.b.leaderships.serving()
	q := n.theQueue()
	require.Eventually(t, func() bool {
		ready := 0
		require.NoError(t, w.with(lead, func() { ready = q.table.Ready() }))
		return ready == messages
	}, patience, time.Millisecond)
	g, _ := n.b.store.Group("g")
	topic, _ := n.b.store.Topic("t")
	r := &receiving{lead: lead, group: g, topic: topic, max: messages, invisible: long}
	view, _ := w.view(g.ID, q.queue)
	got, err := w.take(r, []workView{view})
	require.NoError(t, err)
	require.Len(t, got.leases, messages)
	filled, err := w.fill(n.ctx(), r, got.leases)
	require.NoError(t, err)
	require.NotEmpty(t, filled)
	require.LessOrEqual(t, len(filled), w.puller.maxBytes>>20+2)
	for _, l := range filled {
		require.NotNil(t, l.record)
	}
	w.giveBack(lead, filled)
	require.NoError(t, w.with(lead, func() { require.Equal(t, messages, q.table.Ready()) }))
}

// TestResetWhileAQueueIsReadOn: a queue may be dropped while somebody reads it on. The race
// detector looks on.
func TestResetWhileAQueueIsReadOn(t *testing.T) {
	n := startSingle(t, nil)
	queue := n.createTopic("t", 1)[0]
	n.createWorkGroup("g", &brokerv1.WorkPolicy{})
	n.publishRecords(queue, make([]batch.Record, 2*scanChunk)...)
	n.receive(1, long, patience)
	w, lead, q := n.b.work.queues, n.b.leaderships.serving(), n.theQueue()
	g, _ := n.b.store.Group("g")
	topic, _ := n.b.store.Topic("t")
	r := &receiving{lead: lead, group: g, topic: topic, max: 2 * scanChunk, invisible: long}
	look := func() taken {
		view, _ := w.view(g.ID, q.queue)
		got, err := w.take(r, []workView{view})
		require.NoError(t, err)
		return got
	}
	require.Len(t, look().leases, scanChunk-1)
	got := look()
	require.Same(t, q, got.scan)
	require.Len(t, got.backlog, scanChunk)
	scanned := make(chan error, 1)
	require.NoError(t, w.with(lead, func() {
		go func() { scanned <- w.scan(n.ctx(), r, got) }()
		w.dropLocked(q) // as after a reset
	}))
	require.NoError(t, <-scanned)
	require.NoError(t, w.with(lead, func() { require.Zero(t, w.mu.held) }))
}
