package group

import (
	"cmp"
	"maps"
	"slices"
)

// QueueID is the broker's number of a queue.
type QueueID uint32

// Queue is a queue that a group may read.
type Queue struct {
	ID    QueueID
	Topic string
	// Number is the queue's within its topic.
	Number uint32
}

// Candidate is a member as the assignment sees it.
type Candidate struct {
	Member string
	// Topics that it reads; it is given no queue of another one.
	Topics []string
}

// Sticky gives every queue whose topic somebody reads to one of the members. Owners keep
// what they have, as far as the balance allows: among members that read the same topics,
// nobody has two queues more than another, and no more queues move than that takes.
func Sticky(members []Candidate, queues []Queue, owners map[QueueID]string) map[QueueID]string {
	s := newSharing(members)
	var orphans []Queue
	sorted := slices.SortedFunc(slices.Values(queues), func(a, b Queue) int { return cmp.Compare(a.ID, b.ID) })
	for _, q := range sorted {
		if owner := s.members[owners[q.ID]]; owner != nil && owner.topics[q.Topic] {
			owner.take(q)
		} else {
			orphans = append(orphans, q)
		}
	}
	for _, q := range orphans {
		if m := s.lightest(q.Topic); m != nil {
			m.take(q)
		}
	}
	for s.balance() {
	}
	return s.owners()
}

// sharing is an assignment in the making.
type sharing struct {
	members map[string]*share
	order   []*share // by name, so that equal inputs give equal answers
}

type share struct {
	member string
	topics map[string]bool
	queues []Queue // oldest owned first: the last ones move first
}

func newSharing(members []Candidate) *sharing {
	s := &sharing{members: make(map[string]*share, len(members))}
	for _, m := range members {
		sh := &share{member: m.Member, topics: make(map[string]bool, len(m.Topics))}
		for _, t := range m.Topics {
			sh.topics[t] = true
		}
		s.members[m.Member] = sh
	}
	for _, name := range slices.Sorted(maps.Keys(s.members)) {
		s.order = append(s.order, s.members[name])
	}
	return s
}

func (sh *share) take(q Queue) { sh.queues = append(sh.queues, q) }

// lightest is the member with the fewest queues of those that read a topic.
func (s *sharing) lightest(topic string) *share {
	var best *share
	for _, m := range s.order {
		if m.topics[topic] && (best == nil || len(m.queues) < len(best.queues)) {
			best = m
		}
	}
	return best
}

// balance moves one queue from a member that has two more than one who could take it, from
// the one that has most. It returns false when there is nothing to move.
func (s *sharing) balance() bool {
	heavy := slices.SortedStableFunc(slices.Values(s.order), func(a, b *share) int { return cmp.Compare(len(b.queues), len(a.queues)) })
	for _, from := range heavy {
		lightest := make(map[string]*share, len(from.topics))
		for topic := range from.topics {
			lightest[topic] = s.lightest(topic)
		}
		at, to := -1, (*share)(nil)
		for i := len(from.queues) - 1; i >= 0; i-- {
			if m := lightest[from.queues[i].Topic]; len(m.queues)+2 <= len(from.queues) && (to == nil || len(m.queues) < len(to.queues)) {
				at, to = i, m
			}
		}
		if to != nil {
			to.take(from.queues[at])
			from.queues = slices.Delete(from.queues, at, at+1)
			return true
		}
	}
	return false
}

func (s *sharing) owners() map[QueueID]string {
	owners := make(map[QueueID]string)
	for _, m := range s.order {
		for _, q := range m.queues {
			owners[q.ID] = m.member
		}
	}
	return owners
}

// Static gives each queue to a member that named it: to its owner if that still does, else
// to the first by name.
func Static(wishes map[string][]QueueID, owners map[QueueID]string) map[QueueID]string {
	given := make(map[QueueID]string)
	for _, member := range slices.Sorted(maps.Keys(wishes)) {
		for _, q := range wishes[member] {
			if _, taken := given[q]; !taken || owners[q] == member {
				given[q] = member
			}
		}
	}
	return given
}
