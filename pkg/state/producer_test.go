package state

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// historyStep is the time between two entries of a made up history: enough for the
// last uses of producers to be noted now and then.
const historyStep = 5 * time.Minute

func (m *model) touch(p *modelProducer) {
	if m.usesFrom != 0 && m.now-p.used >= time.Hour.Milliseconds() {
		p.used = m.now
	}
}

// expire is the model's: it looks through everything.
func (m *model) expire(c *recordv1.ExpireProducers, o *Outcome) {
	if m.usesFrom == 0 {
		m.usesFrom = max(1, m.now)
		for _, p := range m.producers {
			p.used = m.usesFrom
		}
	}
	for _, id := range c.GetIds() {
		p := m.producers[id]
		if p == nil || p.used >= c.GetUnusedSinceUnixMs() {
			continue
		}
		delete(m.producers, id)
		for _, q := range m.queues {
			delete(q.sent, id)
		}
		o.Count++
	}
}

// expireCommand names some producers, and some that are none.
func (h *historian) expireCommand(c *recordv1.Command) {
	e := &recordv1.ExpireProducers{UnusedSinceUnixMs: max(0, h.m.now-int64(h.choose(4))*time.Hour.Milliseconds())}
	for _, id := range sortedKeys(h.m.producers) {
		if h.choose(2) == 0 {
			e.Ids = append(e.Ids, id+uint64(h.choose(6)/5))
		}
	}
	c.RequestId, c.Kind = "", &recordv1.Command_ExpireProducers{ExpireProducers: e}
}

func compareProducers(t require.TestingT, m *model, s *Store) {
	windows := 0
	for _, q := range m.queues {
		windows += len(q.sent)
	}
	producers, got := s.ProducerCounts()
	require.Equal(t, []int{len(m.producers), windows}, []int{producers, got})
	require.Equal(t, m.usesFrom != 0, s.NotesUses())
	for _, anonymous := range []bool{false, true} {
		var want []uint64
		before := m.now - time.Hour.Milliseconds()
		for _, id := range sortedKeys(m.producers) {
			if p := m.producers[id]; m.usesFrom != 0 && p.used < before && (p.name == "" || !anonymous) {
				want = append(want, id)
			}
		}
		got, err := s.IdleProducers(before, anonymous, 1_000)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func expireEntry(t testing.TB, at time.Duration, before time.Duration, ids ...uint64) Entry {
	e := commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_ExpireProducers{
		ExpireProducers: &recordv1.ExpireProducers{Ids: ids, UnusedSinceUnixMs: before.Milliseconds()},
	}})
	e.AppendTimeUnixNano = int64(at)
	return e
}

func at(e Entry, when time.Duration) Entry {
	e.AppendTimeUnixNano = int64(when)
	return e
}

// TestProducersExpire: who was not used goes with its windows and its name, who was stays;
// the batch of one that has gone is refused, and never stored twice.
func TestProducersExpire(t *testing.T) {
	fs := vfs.NewMem()
	s := openIn(t, fs)
	const h = time.Hour
	create := createEntry(t, "a", 2)
	apply(t, s, at(create, h), at(registerEntry(t, ""), h), at(registerEntry(t, "anna"), h), at(registerEntry(t, "bert"), h))
	lost := at(batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2}, 1), h)
	apply(t, s, lost, at(batchEntry(t, batch.Stamp{Queue: 2, ProducerID: 2}, 1), h), at(batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 3}, 1), h))
	ids, err := s.IdleProducers(1<<60, false, 10)
	require.NoError(t, err)
	require.Empty(t, ids, "nobody has noted anything")

	o := apply(t, s, expireEntry(t, 10*h, 100*h))[0]
	require.Equal(t, Outcome{BaseOffset: NoOffset, AboutWaiting: true}, o)
	o = apply(t, s, expireEntry(t, 11*h, 10*h, 2, 3, 4))[0]
	require.Zero(t, o.Count, "all count as used when the noting began")
	apply(t, s, at(batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 3, FirstSequence: 1}, 1), 12*h))
	ids, err = s.IdleProducers((12 * h).Milliseconds(), false, 10)
	require.NoError(t, err)
	require.Equal(t, []uint64{2, 4}, ids)
	ids, err = s.IdleProducers((12 * h).Milliseconds(), true, 10)
	require.NoError(t, err)
	require.Equal(t, []uint64{2}, ids)

	// In one call with a batch that changes a window of the one that goes.
	last := at(batchEntry(t, batch.Stamp{Queue: 2, ProducerID: 2, FirstSequence: 1}, 1), 12*h-1)
	outcomes := apply(t, s, last, expireEntry(t, 13*h, 14*h, 2, 3, 4, 77))
	require.Equal(t, uint32(3), outcomes[1].Count)
	producers, windows := s.ProducerCounts()
	require.Equal(t, []int{0, 0}, []int{producers, windows})
	outcomes = apply(t, s, lost, at(registerEntry(t, "anna"), 14*h))
	require.Equal(t, CodeUnknownProducer, outcomes[0].Code)
	require.Equal(t, uint64(s.Applied())+1, outcomes[1].ProducerID, "another id, so that nothing old is taken for new")
	for _, key := range dump(t, s) {
		require.NotContains(t, key, fmt.Sprintf("%x", appendProducerKey(nil, 2)))
		require.NotContains(t, key, fmt.Sprintf("%x", appendWindowKey(nil, 1, 2)))
	}
	require.NoError(t, s.Close())
	s = openIn(t, fs)
	require.True(t, s.NotesUses())
	producers, windows = s.ProducerCounts()
	require.Equal(t, []int{1, 0}, []int{producers, windows})
	tooMany := make([]uint64, MaxDeliver+1)
	require.Equal(t, CodeLimitExceeded, apply(t, s, expireEntry(t, 15*h, h, tooMany...))[0].Code)
}

// TestUsesAreNotedCoarsely: a value is written once an hour at most.
func TestUsesAreNotedCoarsely(t *testing.T) {
	s := open(t)
	const h = time.Hour
	apply(t, s, createEntry(t, "a", 1), registerEntry(t, "anna"), expireEntry(t, h, 0))
	for i := range 10 {
		apply(t, s, at(batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2, FirstSequence: int64(i)}, 1), h+time.Duration(i)*15*time.Minute))
	}
	require.Equal(t, (3 * h).Milliseconds(), s.work.producers[2].used)
	resend := at(batchEntry(t, batch.Stamp{Queue: 1, ProducerID: 2, FirstSequence: 9}, 1), 5*h)
	require.True(t, apply(t, s, resend)[0].Duplicate)
	require.Equal(t, (5 * h).Milliseconds(), s.work.producers[2].used, "whoever sends again is alive")
}

// TestRegisteringKnownNamesOnly is what a leader asks for when there is no room.
func TestRegisteringKnownNamesOnly(t *testing.T) {
	s := open(t)
	known := func(name string) Outcome {
		return apply(t, s, commandEntry(t, &recordv1.Command{Kind: &recordv1.Command_RegisterProducer{
			RegisterProducer: &recordv1.RegisterProducer{Name: name, Known: true},
		}}))[0]
	}
	require.Equal(t, CodeTooManyProducers, known("anna").Code)
	apply(t, s, registerEntry(t, "anna"))
	require.Equal(t, uint32(1), known("anna").Epoch)
	require.Equal(t, CodeTooManyProducers, known("").Code)
}

// TestWindowsGoWithTheirTopic: nothing of a deleted topic stays with its producers.
func TestWindowsGoWithTheirTopic(t *testing.T) {
	s := open(t)
	apply(t, s, registerEntry(t, "anna"), createEntry(t, "a", 2), createEntry(t, "b", 1))
	for q := range uint32(3) {
		apply(t, s, batchEntry(t, batch.Stamp{Queue: q + 1, ProducerID: 1}, 1))
	}
	apply(t, s, deleteEntry(t, "a"))
	_, windows := s.ProducerCounts()
	require.Equal(t, 1, windows)
	require.Equal(t, []QueueID{3}, s.work.producers[1].queues)
	has, err := s.HasWindow(3, 1)
	require.NoError(t, err)
	require.True(t, has)
	has, err = s.HasWindow(1, 1)
	require.NoError(t, err)
	require.False(t, has)
	apply(t, s, expireEntry(t, time.Hour, 0), expireEntry(t, 2*time.Hour, 3*time.Hour, 1))
	_, windows = s.ProducerCounts()
	require.Zero(t, windows)
}

const manyProducers = 100_000

// fillProducers registers producers that have sent five batches to one queue each.
func fillProducers(t testing.TB, s *Store, queues int) {
	apply(t, s, createEntry(t, "t", 1000))
	var ids []uint64
	for range manyProducers / 1000 {
		var entries []Entry
		for range 1000 {
			entries = append(entries, registerEntry(t, ""))
		}
		for _, o := range apply(t, s, entries...) {
			ids = append(ids, o.ProducerID)
		}
	}
	for i := range WindowBatches * queues {
		for n := 0; n < len(ids); n += 1000 {
			var entries []Entry
			for k, id := range ids[n : n+1000] {
				entries = append(entries, batchEntry(t, batch.Stamp{
					Queue: uint32(1 + (k+i/WindowBatches)%1000), ProducerID: id, FirstSequence: int64(i % WindowBatches),
				}, 1))
			}
			apply(t, s, entries...)
		}
	}
}

// BenchmarkOpenManyProducers is the start of a store with 100,000 producers.
func BenchmarkOpenManyProducers(b *testing.B) {
	for _, queues := range []int{0, 1, 8} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			fs := vfs.NewMem()
			s := openIn(b, fs)
			fillProducers(b, s, queues)
			require.NoError(b, s.Close())
			var before, after runtime.MemStats
			for b.Loop() {
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&before)
				b.StartTimer()
				s = openIn(b, fs)
				b.StopTimer()
				runtime.GC()
				runtime.ReadMemStats(&after)
				producers, windows := s.ProducerCounts()
				require.Equal(b, []int{manyProducers, queues * manyProducers}, []int{producers, windows})
				s.Abandon()
				b.StartTimer()
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		})
	}
}
