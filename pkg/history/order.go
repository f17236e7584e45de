package history

import (
	"cmp"
	"slices"
)

// judgeConsumers follows each consumer of the queue from message to message.
func (q *queue) judgeConsumers(r *Report) {
	slices.SortStableFunc(q.pulls, func(a, b pull) int { return cmp.Compare(a.invoke, b.invoke) })
	next := map[string]int64{}
	for _, p := range q.pulls {
		expected, known := next[p.client]
		if p.seek || !known {
			expected, known = p.position, p.position != Unknown
		}
		for _, m := range p.messages {
			switch {
			case !known || m.Offset == expected:
			case m.Offset > expected:
				r.add(q.anomaly(Skip, m.Offset, m.Value, "%s was at offset %d", p.client, expected))
			default:
				r.add(q.anomaly(StepBack, m.Offset, m.Value, "%s was at offset %d", p.client, expected))
			}
			expected, known = m.Offset+1, true
		}
		if known {
			next[p.client] = expected
		}
	}
}

// judgeOrder looks at the order of one producer's values, and at the order in real
// time of different producers' values. What waits takes its place when it is delivered.
func (q *queue) judgeOrder(r *Report) {
	byClient := map[string][]*send{}
	ordered := func(s *send) bool { return !s.waits() && s.place() != Unknown }
	for _, s := range q.sends {
		if ordered(s) {
			byClient[s.client] = append(byClient[s.client], s)
		}
	}
	var placed []*send
	for _, s := range q.sends {
		if ordered(s) {
			placed = append(placed, s)
		}
		if own := byClient[s.client]; own != nil {
			q.judgeProducer(own, r)
			delete(byClient, s.client)
		}
	}
	q.judgeRealTime(placed, r)
}

func (q *queue) judgeProducer(own []*send, r *Report) {
	slices.SortStableFunc(own, func(a, b *send) int {
		if a.sequence != Unknown && b.sequence != Unknown {
			return cmp.Compare(a.sequence, b.sequence)
		}
		return cmp.Compare(a.invoke, b.invoke)
	})
	highest := own[0]
	for _, s := range own[1:] {
		if s.place() < highest.place() {
			r.add(q.anomaly(ProducerOrder, s.place(), s.value, "%s sent it after %s, which is at offset %d", s.client, highest.value, highest.place()))
			continue
		}
		highest = s
	}
}

// judgeRealTime sweeps over the sends in the order of their beginnings and keeps the
// highest offset that had been acknowledged by then; of two producers, so that each
// send is held against another's: its own are judgeProducer's.
func (q *queue) judgeRealTime(placed []*send, r *Report) {
	var acked []*send
	for _, s := range placed {
		if s.outcome == OK {
			acked = append(acked, s)
		}
	}
	slices.SortStableFunc(acked, func(a, b *send) int { return cmp.Compare(a.complete, b.complete) })
	slices.SortStableFunc(placed, func(a, b *send) int { return cmp.Compare(a.invoke, b.invoke) })
	var best, second *send // of different clients
	for _, s := range placed {
		for len(acked) > 0 && acked[0].complete < s.invoke {
			best, second = raise(best, second, acked[0])
			acked = acked[1:]
		}
		rival := best
		if rival != nil && rival.client == s.client {
			rival = second
		}
		if rival != nil && s.place() < rival.place() {
			r.add(q.anomaly(RealTime, s.place(), s.value, "sent after %s of %s was acknowledged at offset %d", rival.value, rival.client, rival.place()))
		}
	}
}

func raise(best, second, s *send) (newBest, newSecond *send) {
	switch {
	case best == nil || s.place() > best.place():
		if best != nil && best.client != s.client {
			second = best
		}
		return s, second
	case s.client != best.client && (second == nil || s.place() > second.place()):
		return best, s
	}
	return best, second
}

// judgeSequences looks for an idempotent producer's sequence that was acknowledged twice.
func (q *queue) judgeSequences(r *Report) {
	type sequence struct {
		producer uint64
		epoch    uint32
		number   int64
	}
	first := map[sequence]*send{}
	for _, s := range q.sends {
		if s.outcome != OK || s.producer == 0 || s.numbered == Unknown {
			continue
		}
		key := sequence{s.producer, s.epoch, s.numbered}
		if have := first[key]; have != nil {
			r.add(q.anomaly(SequenceConflict, s.offset, s.value, "producer %d epoch %d sequence %d was acknowledged for %s at offset %d too",
				s.producer, s.epoch, s.numbered, have.value, have.offset))
			continue
		}
		first[key] = s
	}
}
