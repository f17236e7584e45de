package state

import (
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// keyModel is what the key indexes of a topic must know, said simply.
type keyModel struct {
	indexed bool
	queues  []*keyQueue
	waits   map[Index]keyWaits
}

type keyQueue struct {
	id        QueueID
	from, end Offset
	posted    map[string][]Offset // by key; "" stands for any key
}

// keyWaits is a batch that waits.
type keyWaits struct {
	kind  string
	queue *keyQueue
	count uint32
	keys  []string // nil: came before the index
}

func (m *keyModel) deliver(b keyWaits) {
	keys := b.keys
	if !m.indexed {
		keys = nil
	} else if keys == nil {
		keys = []string{""}
	}
	for _, k := range keys {
		b.queue.posted[k] = append(b.queue.posted[k], b.queue.end)
	}
	b.queue.end += Offset(b.count)
}

func (m *keyModel) grow(id QueueID) {
	m.queues = append(m.queues, &keyQueue{id: id, posted: map[string][]Offset{}})
}

func (m *keyModel) set(indexed bool) {
	if indexed == m.indexed {
		return
	}
	m.indexed = indexed
	for _, q := range m.queues {
		q.from = q.end
		clear(q.posted)
	}
}

func (q *keyQueue) want(key string) []Offset {
	all := append(slices.Clone(q.posted[key]), q.posted[""]...)
	slices.Sort(all)
	return slices.Compact(all)
}

// TestKeyIndexAgainstModel makes up histories of one topic with messages that come at
// once, wait, are recalled, committed, rolled back and given up, while the topic grows and
// its index begins and ends; the store is opened anew in between. What is found is
// compared with the model, and the whole store with one that applied the same entries one
// by one.
func TestKeyIndexAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newKeyHistorian(t, rt)
		defer func() { h.store.Abandon() }()
		defer h.alone.Abandon()
		for range rapid.IntRange(1, 40).Draw(rt, "entries") {
			h.step(rapid.SampledFrom(keySteps).Draw(rt, "kind"))
		}
		h.flush()
		h.reopen()
		h.compare()
	})
}

var (
	keySteps = []string{
		"now", "now", "delay", "half", "due", "commit", "rollback", "recall", "give up", "move",
		"on", "off", "grow", "alter", "trim", "trim keys", "reopen", "crash",
	}
	someKeys = []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
)

// keyHistorian makes up what happens, and tells the model.
type keyHistorian struct {
	t            testing.TB
	rt           *rapid.T
	fs           vfs.FS
	store, alone *Store
	m            *keyModel
	entries      []Entry // not applied yet
	all          []Entry // applied
	index        Index
	workers      uint64 // the group that moves messages here
	moved        int64
}

// toMove is the queue, of another topic, from which messages are moved here.
const toMove QueueID = 2

func newKeyHistorian(t testing.TB, rt *rapid.T) *keyHistorian {
	h := &keyHistorian{t: t, rt: rt, fs: vfs.NewMem(), m: &keyModel{waits: map[Index]keyWaits{}}}
	h.store, h.alone = openIn(t, h.fs), openIn(t, vfs.NewMem())
	h.m.grow(1)
	if h.m.indexed = rapid.Bool().Draw(rt, "indexed"); h.m.indexed {
		h.add(createIndexedEntry(t, "t", 1))
	} else {
		h.add(createEntry(t, "t", 1))
	}
	h.add(groupEntry(t, "g"))
	h.add(createEntry(t, "from", 1))
	h.add(batchEntry(t, batch.Stamp{Queue: uint32(toMove)}, 40))
	h.add(commandEntry(t, createWorkGroup("workers", &recordv1.WorkPolicy{})))
	h.workers = uint64(h.index)
	h.add(commandEntry(t, grant(h.workers, true, 0, toMove)))
	return h
}

func (h *keyHistorian) add(e Entry) {
	h.entries = append(h.entries, e)
	h.index++
}

// flush applies what was made up: to one store together, to the other one by one.
func (h *keyHistorian) flush() {
	apply(h.t, h.store, h.entries...)
	h.all = append(h.all, h.entries...)
	for _, e := range h.entries {
		apply(h.t, h.alone, e)
	}
	h.entries = nil
}

func (h *keyHistorian) reopen() {
	require.NoError(h.rt, h.store.Close())
	h.store = openIn(h.t, h.fs)
}

// waiting are the ids of those that wait, of one kind or of any, in order.
func (h *keyHistorian) waiting(kind string) (ids []Index) {
	for _, id := range sortedKeys(h.m.waits) {
		if kind == "" || h.m.waits[id].kind == kind {
			ids = append(ids, id)
		}
	}
	return ids
}

func (h *keyHistorian) drawQueue() *keyQueue {
	return h.m.queues[rapid.IntRange(0, len(h.m.queues)-1).Draw(h.rt, "queue")]
}

func (h *keyHistorian) step(kind string) {
	switch kind {
	case "now", "delay", "half":
		h.publish(kind)
	case "due":
		if ids := h.waiting("delay"); len(ids) > 0 {
			h.m.deliver(h.m.waits[ids[0]])
			delete(h.m.waits, ids[0])
		}
		h.add(dueEntry(h.t, 1, 1))
	case "on", "off":
		h.m.set(kind == "on")
		h.add(keyIndexEntry(h.t, "t", kind == "on"))
	case "reopen":
		h.flush()
		h.reopen()
	case "crash": // what was not flushed is applied again
		h.flush()
		h.store.Abandon()
		h.store = openIn(h.t, h.fs)
		apply(h.t, h.store, slices.Clone(h.all[h.store.Applied()+1:])...)
	case "move":
		h.move()
	case "grow", "alter", "trim", "trim keys":
		h.change(kind)
	default:
		h.end(kind)
	}
}

// change changes the topic.
func (h *keyHistorian) change(kind string) {
	q := h.drawQueue()
	switch kind {
	case "grow":
		if n := len(h.m.queues); n < 4 {
			h.m.grow(toMove + QueueID(n))
			h.add(alterEntry(h.t, "t", uint32(n+1), nil))
		}
	case "alter":
		h.add(alterEntry(h.t, "t", 0, &recordv1.TopicSettings{RetentionMessages: new(int64(len(h.all)))}))
	case "trim": // the index says more than is served, until a bucket is full
		h.add(trimEntry(h.t, q.id, Offset(rapid.IntRange(0, int(q.end)+1).Draw(h.rt, "to"))))
	case "trim keys":
		h.add(trimKeysEntry(h.t, q.id, q.end)) // below one bucket: nothing may go
	}
}

// move moves a message here: a copy, of which it is not known what keys it has.
func (h *keyHistorian) move() {
	q := h.drawQueue()
	h.add(Entry{Type: EntryCarried, Body: keyedEntry(h.t, batch.Stamp{Queue: uint32(q.id)}, "a").Body})
	h.add(commandEntry(h.t, moveWork(h.workers, h.workers+1, toMove, &recordv1.WorkMove{Offset: h.moved, ToQueueId: uint32(q.id), Back: 1})))
	h.m.deliver(keyWaits{queue: q, count: 1, keys: []string{""}})
	h.moved++
}

func (h *keyHistorian) publish(kind string) {
	some := rapid.SliceOfN(rapid.SampledFrom(someKeys), 1, 12).Draw(h.rt, "keys")
	b := keyWaits{kind: kind, queue: h.drawQueue(), count: uint32(len(some)), keys: slices.Compact(slices.Sorted(slices.Values(some)))}
	stamp := batch.Stamp{Queue: uint32(b.queue.id)}
	switch {
	case kind == "now":
		h.m.deliver(b)
	case !h.m.indexed:
		b.keys = nil
	case 2*len(b.keys) > maxWaitingKeys: // each has an id too
		b.keys = []string{""}
	}
	switch kind {
	case "delay":
		stamp.DeliverAt = 1
		h.m.waits[h.index] = b
	case "half":
		stamp.TransactionGroup = 1
		h.m.waits[h.index] = b
	}
	h.add(keyedEntry(h.t, stamp, some...))
}

// end ends the waiting of a batch, if one waits.
func (h *keyHistorian) end(kind string) {
	ids := h.waiting(map[string]string{"commit": "half", "rollback": "half", "recall": "delay"}[kind])
	if len(ids) == 0 {
		return
	}
	id := ids[rapid.IntRange(0, len(ids)-1).Draw(h.rt, "which")]
	b := h.m.waits[id]
	switch kind {
	case "commit":
		h.m.deliver(b)
		h.add(endEntry(h.t, id, uint32(b.queue.id), true))
	case "rollback":
		h.add(endEntry(h.t, id, uint32(b.queue.id), false))
	case "recall":
		h.add(recallEntry(h.t, id, uint32(b.queue.id), ""))
	case "give up":
		h.add(giveUpEntry(h.t, id))
	}
	delete(h.m.waits, id)
}

func (h *keyHistorian) compare() {
	for _, q := range h.m.queues {
		from, ok := h.store.KeyIndexFrom(q.id)
		require.Equal(h.rt, h.m.indexed, ok)
		for _, key := range someKeys {
			if !ok {
				break
			}
			require.Equal(h.rt, q.from, from)
			for _, hash := range []KeyHash{HashKey([]byte(key)), HashMessageID("id-" + key)} {
				limit := rapid.IntRange(1, 5).Draw(h.rt, "limit")
				require.Equal(h.rt, q.want(key), findAll(h.rt, h.store, q.id, hash, from, limit), "queue %d key %s", q.id, key)
			}
		}
	}
	one, _, err := h.store.FullHash()
	require.NoError(h.rt, err)
	other, _, err := h.alone.FullHash()
	require.NoError(h.rt, err)
	require.Equal(h.rt, one, other)
}
