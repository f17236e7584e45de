package state

// working is the state as Apply changes it, ahead of what readers see by the
// entries of one call.
type working struct {
	applied
	topics    map[string]*Topic
	queues    map[QueueID]*queue
	producers map[uint64]*producer
	names     map[string]uint64 // of producers
	requests  requests

	// Of the call that runs.
	queuesChanged  []*queue
	windowsChanged []*window
	catalogChanged bool
	bytes          int64
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
	}
}

func (w *working) addTopic(t *Topic) {
	w.topics[t.Name] = t
	for i, id := range t.Queues {
		w.queues[id] = newQueue(id, t.Name, i)
	}
	w.catalogChanged = true
}

func (w *working) removeTopic(t *Topic) {
	delete(w.topics, t.Name)
	for _, id := range t.Queues {
		w.queues[id].gone.Store(true)
		delete(w.queues, id)
	}
	w.catalogChanged = true
}

func (w *working) addProducer(id uint64, p *producer) {
	w.producers[id] = p
	if p.name != "" {
		w.names[p.name] = id
	}
}

func (q *queue) addWindow(w *window) {
	if q.windows == nil {
		q.windows = make(map[uint64]*window)
	}
	q.windows[w.producer] = w
}

// changed notes that the queue must be stored and published.
func (w *working) changed(q *queue) {
	if !q.dirty {
		q.dirty = true
		w.queuesChanged = append(w.queuesChanged, q)
	}
}
