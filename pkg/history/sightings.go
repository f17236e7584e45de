package history

import (
	"maps"
	"slices"
)

// sighting is a value that was read from a queue.
type sighting struct {
	offsets  []int64 // distinct, in the order in which they were met
	earliest int64   // completion of the first operation that brought it
	pulled   int64   // completion of the first pull that brought it, or Unknown
	drained  bool    // it is in some member's copy
}

func (q *queue) see(m Message, complete int64) *sighting {
	s := q.seen[m.Value]
	if s == nil {
		s = &sighting{earliest: complete, pulled: Unknown}
		q.seen[m.Value] = s
	}
	s.earliest = min(s.earliest, complete)
	if !slices.Contains(s.offsets, m.Offset) && len(s.offsets) < MaxExamples {
		s.offsets = append(s.offsets, m.Offset)
	}
	q.high = max(q.high, m.Offset)
	return s
}

// lookAround notes everything that was read, and finds offsets with two values. Where
// the copies contradict one another they have been reported and are no witnesses.
func (q *queue) lookAround(r *Report) {
	two := map[int64]string{}
	claim := func(offset int64, value string) {
		if have, ok := q.at[offset]; !ok {
			q.at[offset] = value
		} else if have != value {
			two[offset] = value
		}
	}
	for _, p := range slices.Concat(q.pulls, q.others) {
		for _, m := range p.messages {
			s := q.see(m, p.complete)
			if s.pulled == Unknown || p.complete < s.pulled {
				s.pulled = p.complete
			}
			claim(m.Offset, m.Value)
		}
	}
	disputed := map[int64]bool{}
	for _, offset := range q.disputed() {
		disputed[offset] = true
	}
	for _, c := range q.copies {
		for offset, value := range c.at {
			if disputed[offset] {
				if s := q.seen[value]; s != nil {
					s.drained = true
				} else {
					q.seen[value] = &sighting{earliest: c.complete, pulled: Unknown, drained: true}
				}
				continue
			}
			q.see(Message{Offset: offset, Value: value}, c.complete).drained = true
			claim(offset, value)
		}
	}
	for _, s := range q.sends {
		if s.outcome == OK && s.offset != Unknown && !disputed[s.offset] {
			claim(s.offset, s.value)
		}
	}
	for _, offset := range slices.Sorted(maps.Keys(two)) {
		r.add(q.anomaly(InconsistentOffset, offset, two[offset], "the same offset also has %s", q.at[offset]))
	}
}

// judgeSightings holds what was read against what was sent.
func (q *queue) judgeSightings(c *Checker, r *Report) {
	for _, value := range slices.Sorted(maps.Keys(q.seen)) {
		saw := q.seen[value]
		where := Unknown
		if len(saw.offsets) > 0 {
			where = saw.offsets[0]
		}
		if len(saw.offsets) > 1 {
			r.add(q.anomaly(Duplicate, where, value, "read at offsets %v", saw.offsets))
		}
		s := c.values[value]
		if s != nil && s.queue == q {
			q.judgeWaiting(s, saw, where, r)
		}
		switch {
		case s == nil:
			r.add(q.anomaly(Phantom, where, value, "nobody sent it"))
		case s.queue != q:
			r.add(q.anomaly(Phantom, where, value, "it was sent to %s/%d", s.queue.topic, s.queue.queue))
		case s.outcome == Fail:
			r.add(q.anomaly(Aborted, where, value, "%s was told that its send had certainly failed", s.client))
		case saw.earliest < s.invoke:
			r.add(q.anomaly(Phantom, where, value, "read at %d ns, but sent at %d ns", saw.earliest, s.invoke))
		case s.outcome == Info:
			r.InfoFound++
		case s.offset != Unknown && len(saw.offsets) == 1 && where != s.offset:
			r.add(q.anomaly(Misplaced, where, value, "%s was told offset %d", s.client, s.offset))
		}
	}
}

// place is the offset of a send as far as it is known.
func (s *send) place() int64 {
	switch {
	case s.outcome == Fail:
		return Unknown
	case s.outcome == OK && s.offset != Unknown:
		return s.offset
	}
	if saw := s.queue.seen[s.value]; saw != nil && len(saw.offsets) == 1 {
		return saw.offsets[0]
	}
	return Unknown
}
