package history

import (
	"cmp"
	"maps"
	"slices"
)

// transaction is one of those of which messages were half messages.
type transaction struct {
	name  string
	ends  []Operation
	sends []*send
	// The instant from which it is known to be committed or rolled back; Unknown: it is not.
	committed, rolledBack int64
}

func (c *Checker) transaction(name string) *transaction {
	t := c.ends[name]
	if t == nil {
		t = &transaction{name: name, committed: Unknown, rolledBack: Unknown}
		c.ends[name] = t
	}
	return t
}

// committing tells whether somebody was about to commit it at a time.
func (t *transaction) committing(at int64) bool {
	return slices.ContainsFunc(t.ends, func(o Operation) bool { return o.Commits && o.Outcome != Fail && o.Invoke <= at })
}

// waits tells whether a send takes its place in its queue later than when it is stored.
func (s *send) waits() bool { return s.due > 0 || s.transaction != nil }

// sure tells whether a send has to be there.
func (s *send) sure() bool {
	return s.outcome == OK && s.recall == "" && (s.transaction == nil || s.transaction.committed != Unknown)
}

// settled is from when on a send that is sure has to be there. When those that are due
// are delivered is the brokers' choice, but copies are read when nothing waits.
func (s *send) settled() int64 {
	at := max(s.complete, s.due)
	if s.transaction != nil {
		at = max(at, s.transaction.committed)
	}
	return at
}

// settle tells the sends what became of them after they were stored.
func (c *Checker) settle(r *Report) {
	for _, value := range slices.Sorted(maps.Keys(c.recalls)) {
		for _, o := range c.recalls[value] {
			s := c.values[value]
			switch {
			case o.Outcome == Fail:
			case s == nil || s.queue.queueKey != (queueKey{o.Topic, o.Queue}):
				r.add(Anomaly{Class: Phantom, Topic: o.Topic, Queue: o.Queue, Offset: Unknown, Value: value, Detail: o.Client + " recalled it, and nobody sent it there"})
			case s.recall != OK:
				s.recall = o.Outcome
			}
		}
	}
	for _, t := range c.ends {
		for _, o := range t.ends {
			if o.Outcome != OK {
				continue
			}
			at := &t.rolledBack
			if o.Commits {
				at = &t.committed
				if len(t.sends) == 1 && t.sends[0].offset == Unknown {
					t.sends[0].offset = o.Offset
				}
			}
			if *at == Unknown || o.Complete < *at {
				*at = o.Complete
			}
		}
	}
	for _, s := range c.values {
		switch {
		case s.due > 0 && s.outcome == OK:
			r.Delayed++
			if s.recall == OK {
				r.Recalled++
			}
		}
	}
}

// judgeWaiting holds a value that was read against its delivery time, its recall and its
// transaction.
func (q *queue) judgeWaiting(s *send, saw *sighting, where int64, r *Report) {
	if saw.earliest < s.due {
		r.add(q.anomaly(Early, where, s.value, "read %d ns before its time", s.due-saw.earliest))
	}
	if s.recall == OK {
		r.add(q.anomaly(Recalled, where, s.value, "its recall was answered: it should never have been delivered"))
	}
	switch t := s.transaction; {
	case t == nil:
	case t.rolledBack != Unknown:
		r.add(q.anomaly(RolledBack, where, s.value, "transaction %s was rolled back", t.name))
	case !t.committing(saw.earliest):
		r.add(q.anomaly(HalfVisible, where, s.value, "nobody had committed transaction %s by then", t.name))
	}
}

// judgeTransactions looks at each one as a whole.
func (c *Checker) judgeTransactions(r *Report) {
	for _, name := range slices.Sorted(maps.Keys(c.ends)) {
		t := c.ends[name]
		if t.committed != Unknown {
			r.Committed++
		}
		if t.rolledBack != Unknown {
			r.RolledBack++
		}
		if len(t.sends) == 0 {
			if t.committed != Unknown {
				r.add(Anomaly{Class: Phantom, Topic: t.ends[0].Topic, Queue: t.ends[0].Queue, Offset: Unknown, Value: name, Detail: "a transaction was committed in which nobody sent anything"})
			}
			continue
		}
		first := t.sends[0]
		if t.committed != Unknown && t.rolledBack != Unknown {
			r.add(first.queue.anomaly(TwoEnds, Unknown, first.value, "transaction %s was committed and rolled back", name))
		}
		if there, gone := t.parts(c.options); there != nil && gone != nil {
			r.add(first.queue.anomaly(Torn, Unknown, gone.value, "%s of transaction %s is there, and this is not", there.value, name))
		}
	}
}

// parts finds a message that is in some copy, and one that is in none although one was
// read after the other had been seen.
func (t *transaction) parts(options Options) (there, gone *send) {
	seen := int64(0)
	for _, s := range t.sends {
		if saw := s.queue.seen[s.value]; saw != nil && saw.drained {
			there, seen = s, max(seen, saw.earliest)
		}
	}
	for _, s := range t.sends {
		saw := s.queue.seen[s.value]
		if there != nil && s.outcome != Fail && (saw == nil || !saw.drained) && !options.Retention &&
			slices.ContainsFunc(s.queue.copies, func(m *memberCopy) bool { return m.complete >= seen }) {
			gone = cmp.Or(gone, s)
		}
	}
	return there, gone
}
