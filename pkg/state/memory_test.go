package state

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatIsCountedIsSmall holds what the broker's limits count on: bytes in memory per
// producer, window, delayed batch, half message and progress of a consumer group.
func TestWhatIsCountedIsSmall(t *testing.T) {
	const many = 50_000
	measure := func(what string, most int64, fill func() any) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		kept := fill()
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := int64(after.HeapAlloc-before.HeapAlloc) / many
		runtime.KeepAlive(kept)
		t.Logf("%s: %d bytes", what, each)
		require.LessOrEqual(t, each, most, what)
	}
	measure("producer", 128, func() any {
		w := newWorking()
		for i := range uint64(many) {
			w.addProducer(i, &producer{})
		}
		return &w
	})
	w := newWorking()
	for i := range uint64(many) {
		w.addProducer(i, &producer{queues: make([]QueueID, 0, 8)})
	}
	measure("window", 160, func() any {
		q := newQueue(1, "t", 0)
		for i := range uint64(many) {
			w.addWindow(q, &window{queue: 1, producer: i})
		}
		return q
	})
	runtime.KeepAlive(&w)
	measure("delayed batch", 128, func() any {
		var d delays
		for i := range Index(many) {
			d.add(&delayed{id: i, due: int64(i)})
		}
		return &d
	})
	measure("progress", 96, func() any {
		groups := newGroupTable()
		st := groups.add(&Group{ID: 1, Name: "g"})
		for q := range QueueID(many) {
			groups.set(st, q, Progress{})
		}
		return groups
	})
	measure("half message", 108, func() any { // of 256, with the leader's 148
		var t transactions
		for i := range Index(many) {
			t.add(&half{id: i})
		}
		return &t
	})
}
