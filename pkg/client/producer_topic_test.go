package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
)

// TestProducerUsesQueuesThatAreAdded without being made anew, and keeps each key in the
// order of the ledger.
func TestProducerUsesQueuesThatAreAdded(t *testing.T) {
	c := newCluster(t, 3)
	c.topic("t", 1)
	p := newProducer(t, c, ProducerConfig{TopicRefresh: 100 * time.Millisecond})
	ctx := within(t, patience)
	const keys = 16
	newest := [keys]Receipt{}
	moved := map[int]bool{}
	for n := 0; len(moved) < 3; n++ {
		if n == 10 {
			c.topic("t", 2) // two more
		}
		if ctx.Err() != nil {
			t.Fatal("the new queues are not used")
		}
		var results [keys]*Result
		for k := range keys {
			results[k] = p.Publish(ctx, Message{Key: fmt.Appendf(nil, "key-%d", k), Value: fmt.Append(nil, n)})
		}
		for k, r := range results {
			got, err := r.Get(ctx)
			if err != nil {
				t.Fatal(err)
			}
			before := newest[k]
			switch {
			case n == 0 || got.LedgerIndex > before.LedgerIndex:
			case got.LedgerIndex == before.LedgerIndex && got.Queue == before.Queue && got.Offset > before.Offset:
			default:
				t.Fatalf("key %d: %+v came after %+v", k, got, before)
			}
			newest[k], moved[got.Queue] = got, true
		}
	}
	if p.Queues() != 3 {
		t.Fatalf("the producer has %d queues", p.Queues())
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsOlderThanAGrowthGoesFirst: a batch of the new layout waits for all that were
// begun before.
func TestWhatIsOlderThanAGrowthGoesFirst(t *testing.T) {
	p := idleProducer(7)
	q := p.queues[0]
	q.open = batchFor(t, p, q, time.Now())
	s := &session{p: p}
	old := sendAll(t, s)
	lingers := batchFor(t, p, q, time.Now())
	q.open = lingers
	if !p.adopt(&Topic{queueIDs: []uint32{1, 9}}) || len(p.queues) != 2 || p.queues[1].who != q.who {
		t.Fatalf("the queue was not taken into use: %+v", p.queues)
	}
	young := batchFor(t, p, p.queues[1], time.Now())
	p.queues[1].open = young
	if p.adopt(&Topic{queueIDs: []uint32{1, 9, 10}}) {
		t.Fatal("one growth after the other")
	}
	if diff := cmp.Diff([]int{0}, queuesOf(sendAll(t, s))); diff != "" {
		t.Fatalf("what was begun before is sent on (-want +got):\n%s", diff)
	}
	for _, b := range []*outBatch{old[0], lingers} {
		if got := sendAll(t, s); len(got) != 0 {
			t.Fatalf("%d batches went before those that are older than the growth", len(got))
		}
		p.mu.Lock()
		s.frames = s.frames[1:]
		s.storedLocked(b, &brokerv1.BatchResult{}, time.Now())
		p.mu.Unlock()
	}
	if diff := cmp.Diff([]int{1}, queuesOf(sendAll(t, s))); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	if h, err := batch.Verify(young.sealed.data); err != nil || h.Queue != 9 {
		t.Fatalf("%+v, %v", h, err)
	}
	if !p.adopt(&Topic{queueIDs: []uint32{1, 9, 10}}) {
		t.Fatal("the next growth")
	}
	if p.adopt(&Topic{queueIDs: []uint32{4, 5, 6, 7, 8}}) || p.adopt(&Topic{queueIDs: []uint32{1}}) {
		t.Fatal("a topic that was made anew is another one")
	}
}

func queuesOf(batches []*outBatch) (queues []int) {
	for _, b := range batches {
		queues = append(queues, b.queue)
	}
	return queues
}

// TestBatchesOfAFIFOTopic say that their messages have groups only if all do; what the
// topic does not take stands alone, so that nothing is refused with it.
func TestBatchesOfAFIFOTopic(t *testing.T) {
	p := idleProducer(7)
	p.mu.topic.Type = FIFOTopic
	for _, m := range []Message{
		{MessageGroup: "a"},
		{MessageGroup: "a"},
		{Key: []byte("k")},
		{MessageGroup: "a", DeliverAt: time.UnixMilli(5)},
		{MessageGroup: "b"},
	} {
		if r := p.Publish(t.Context(), m); r.batch.err != nil {
			t.Fatal(r.batch.err)
		}
	}
	type one struct {
		Count   uint32
		Grouped bool
		Due     int64
	}
	var got []one
	for _, b := range sendAll(t, &session{p: p}) {
		h, err := batch.Verify(b.sealed.data)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, one{h.Count, h.Grouped, h.DeliverAt})
	}
	if diff := cmp.Diff([]one{{2, true, 0}, {1, false, 0}, {1, false, 5}, {1, true, 0}}, got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	p.mu.topic.Type = MixedTopic
	p.Publish(t.Context(), Message{MessageGroup: "a"})
	if p.queues[0].open.grouped {
		t.Fatal("only topics with a type are told")
	}
}

// TestMessageGroupsChooseTheQueue, whatever the key.
func TestMessageGroupsChooseTheQueue(t *testing.T) {
	p := idleProducer(7, 7, 7, 7, 7)
	for i := range 20 {
		group := fmt.Sprint("group-", i)
		for _, key := range []string{"", "x", "y"} {
			p.mu.Lock()
			q := p.queueLocked(&Message{MessageGroup: group, Key: []byte(key)})
			p.mu.Unlock()
			if want := QueueOfKey([]byte(group), 5); q.index != want {
				t.Fatalf("%s went to queue %d, not %d", group, q.index, want)
			}
		}
	}
}

// TestBatchesFitTheTopic: they are closed before they are larger than it takes.
func TestBatchesFitTheTopic(t *testing.T) {
	p := idleProducer(7)
	p.mu.topic.MaxMessageBytes = 1 << 10
	for range 30 {
		p.Publish(t.Context(), Message{Value: make([]byte, 100)})
	}
	for range 5 {
		for _, b := range sendAll(t, &session{p: p}) {
			if h, err := batch.Verify(b.sealed.data); err != nil || h.RecordsBytes > 1<<10 {
				t.Fatalf("%d bytes, %v", h.RecordsBytes, err)
			}
		}
	}
	p.mu.spare = append(p.mu.spare, nil)
	if !p.adopt(&Topic{queueIDs: []uint32{1}, Settings: TopicSettings{MaxMessageBytes: 1 << 12}}) || p.mu.spare != nil {
		t.Fatal("builders for the old bound are kept")
	}
}
