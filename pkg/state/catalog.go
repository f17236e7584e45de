package state

import (
	"maps"
	"slices"
	"strings"
)

// catalog is what readers see of topics and queues; it never changes.
type catalog struct {
	topics map[string]*Topic
	queues map[QueueID]*queue
}

// snapshot copies the working state's catalog for the readers. Topics come and
// go seldom.
func (w *working) snapshot() *catalog {
	return &catalog{topics: maps.Clone(w.topics), queues: maps.Clone(w.queues)}
}

// Topic returns the topic with that name.
func (s *Store) Topic(name string) (*Topic, bool) {
	t, ok := s.catalog.Load().topics[name]
	return t, ok
}

// Topics returns all topics by name.
func (s *Store) Topics() []*Topic {
	return slices.SortedFunc(maps.Values(s.catalog.Load().topics), func(a, b *Topic) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// TopicOfQueue says which queue of which topic q is.
func (s *Store) TopicOfQueue(q QueueID) (name string, number int, ok bool) {
	if found := s.catalog.Load().queues[q]; found != nil {
		return found.topic, found.number, true
	}
	return "", 0, false
}

// QueueRange returns the queue's oldest offset that this member's ledger has and
// the next one to be given.
func (s *Store) QueueRange(q QueueID) (first, end Offset, ok bool) {
	found := s.catalog.Load().queues[q]
	if found == nil {
		return 0, 0, false
	}
	return Offset(found.first.Load()), found.view.Load().end, true
}
