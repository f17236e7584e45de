package broker

import (
	"sync"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// topicRoom bounds topics and queues of the group, by what the leader sees before it
// proposes. It has no part in applying: members with other limits apply the same entry
// in the same way. Creations whose outcome nobody knows are not counted while they may
// still happen, so that there can be a few more.
type topicRoom struct {
	counts            func() (topics, queues int)
	exists            func(topic string) bool
	maxTopics, queues int

	mu struct {
		sync.Mutex
		coming map[string]int   // queues of topics that are being created
		growth map[*growth]bool // of topics that are there
	}
}

// growth is a topic that is being given more queues.
type growth struct{ more int }

func newTopicRoom(store *state.Store, l LimitsConfig) *topicRoom {
	r := &topicRoom{
		counts:    store.Counts,
		exists:    func(topic string) bool { _, ok := store.AnyTopic(topic); return ok },
		maxTopics: l.MaxTopics, queues: l.MaxQueues,
	}
	r.mu.coming, r.mu.growth = map[string]int{}, map[*growth]bool{}
	return r
}

// enter makes room for a topic until leave is called. One that exists, or that another
// request is creating, needs none: what comes of it is for the state to say, which may
// remember the request.
func (r *topicRoom) enter(topic string, queues int) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, coming := r.mu.coming[topic]; coming || r.exists(topic) {
		return func() {}, nil
	}
	topics, all := r.countLocked()
	switch {
	case topics >= r.maxTopics:
		return nil, errorf(CodeTooManyTopics, "topic %q was not created: there are %d topics (deleted ones count until they are gone), and limits.max_topics is %d", topic, topics, r.maxTopics)
	case all+queues > r.queues:
		return nil, errorf(CodeTooManyQueues, "topic %q was not created: there are %d queues, %d more would exceed limits.max_queues %d", topic, all, queues, r.queues)
	}
	r.mu.coming[topic] = queues
	return func() { r.leave(topic) }, nil
}

// grow makes room for more queues of a topic that exists until leave is called. For a
// moment they may be counted twice.
func (r *topicRoom) grow(topic string, more int) (leave func(), err error) {
	if more <= 0 {
		return func() {}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, all := r.countLocked(); all+more > r.queues {
		return nil, errorf(CodeTooManyQueues, "topic %q did not grow: there are %d queues, %d more would exceed limits.max_queues %d", topic, all, more, r.queues)
	}
	g := &growth{more}
	r.mu.growth[g] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.mu.growth, g)
	}, nil
}

// countLocked counts what is there and what is coming.
func (r *topicRoom) countLocked() (topics, queues int) {
	topics, queues = r.counts()
	for name, n := range r.mu.coming {
		if !r.exists(name) { // else it is counted already
			topics, queues = topics+1, queues+n
		}
	}
	for g := range r.mu.growth {
		queues += g.more
	}
	return topics, queues
}

func (r *topicRoom) leave(topic string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.coming, topic)
}
