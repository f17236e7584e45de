package state

import (
	"maps"
	"slices"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/batch"
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

// Topic returns the topic with that name, if it is not deleted.
func (s *Store) Topic(name string) (*Topic, bool) {
	t, ok := s.catalog.Load().topics[name]
	if ok && t.Deleted() {
		return nil, false
	}
	return t, ok
}

// AnyTopic returns the topic with that name, even if it is deleted and only there to be
// had back.
func (s *Store) AnyTopic(name string) (*Topic, bool) {
	t, ok := s.catalog.Load().topics[name]
	return t, ok
}

// Refuses says whether the topic of a batch's queue would not take it, by its type and
// settings as they are now. Only of a batch that was surely never sent before this
// is the last word: a resend of one that is stored is a duplicate.
func (s *Store) Refuses(h *batch.Header) (code, message string) {
	c := s.catalog.Load()
	q := c.queues[QueueID(h.Queue)]
	if q == nil {
		return CodeOK, ""
	}
	return c.topics[q.topic].judge(h)
}

// Hidden says until when the deleted topic of a queue can be had back, Unix ms; 0: it is
// not deleted, or gone.
func (s *Store) Hidden(q QueueID) int64 {
	if found := s.catalog.Load().queues[q]; found != nil {
		return found.hidden.Load()
	}
	return 0
}

// AllTopics returns all topics by name, deleted ones too.
func (s *Store) AllTopics() []*Topic {
	return slices.SortedFunc(maps.Values(s.catalog.Load().topics), func(a, b *Topic) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// Topics returns all topics by name that are not deleted.
func (s *Store) Topics() []*Topic {
	return slices.DeleteFunc(s.AllTopics(), (*Topic).Deleted)
}

// Counts is how many topics and queues there are, those of deleted topics too.
func (s *Store) Counts() (topics, queues int) {
	c := s.catalog.Load()
	return len(c.topics), len(c.queues)
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
