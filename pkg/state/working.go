package state

import "github.com/cockroachdb/pebble/v2"

// working is the state as Apply changes it, ahead of what readers see by the
// entries of one call.
type working struct {
	applied
	topics    map[string]*Topic
	deleted   int // of topics
	queues    map[QueueID]*queue
	producers map[uint64]*producer
	names     map[string]uint64 // of producers
	windows   int               // of all producers and queues
	usesFrom  int64             // Unix ms since when it is noted when producers are used; 0: it is not
	requests  requests
	groups    *groupTable
	delays    delays
	late      late
	open      transactions
	keys      keyIndexer

	// Of the store.
	spill      func(out *pebble.Batch) error
	blockFirst func(q *queue, at Offset) (Offset, error)

	// Of the call that runs.
	queuesChanged  []*queue
	windowsChanged []*window
	catalogChanged bool
	bytes          int64
	now            int64  // Unix ms of the entry that is being applied; never falls
	key            []byte // scratch
	value          []byte // scratch
}

func newWorking() working {
	return working{
		applied:   applied{index: NoIndex, term: NoTerm, nextQueue: 1},
		topics:    make(map[string]*Topic),
		queues:    make(map[QueueID]*queue),
		producers: make(map[uint64]*producer),
		names:     make(map[string]uint64),
		groups:    newGroupTable(),
		late:      newLate(),
		keys:      newKeyIndexer(),
	}
}

// addTopic enters a topic, or a changed one in its own place.
func (w *working) addTopic(t *Topic) {
	w.count(w.topics[t.Name], -1)
	w.count(t, 1)
	w.topics[t.Name] = t
	for i, id := range t.Queues {
		if w.queues[id] == nil {
			w.queues[id] = newQueue(id, t.Name, i)
		}
		w.queues[id].hidden.Store(t.UndeleteUntilUnixMs)
	}
	w.catalogChanged = true
}

// count keeps the number of deleted topics.
func (w *working) count(t *Topic, by int) {
	if t != nil && t.Deleted() {
		w.deleted += by
	}
}

func (w *working) removeTopic(t *Topic) {
	w.count(t, -1)
	delete(w.topics, t.Name)
	for _, id := range t.Queues {
		w.queues[id].gone.Store(true)
		w.dropWindows(w.queues[id])
		delete(w.queues, id)
	}
	w.catalogChanged = true
}

// changed notes that the queue must be stored and published.
func (w *working) changed(q *queue) {
	if !q.dirty {
		q.dirty = true
		w.queuesChanged = append(w.queuesChanged, q)
	}
}
