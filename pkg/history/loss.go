package history

import "slices"

// judgeLoss looks for what was acknowledged or delivered and is not there. Where
// members' copies were read afterwards, they decide: what is in none of them is
// lost, even if it was once delivered. Otherwise the consumers do: what they have
// read past without seeing it is lost.
func (q *queue) judgeLoss(options Options, r *Report) {
	var lost []*send
	lowest, highest := Unknown, Unknown // offsets of acknowledged values that are there
	for _, s := range q.sends {
		saw := q.seen[s.value]
		switch {
		case s.outcome == Fail:
		case !s.sure():
			if saw != nil && !saw.drained && len(q.copiesSince(saw.earliest)) > 0 && !q.retained(options, saw.offsets[0]) {
				r.add(q.anomaly(Vanished, saw.offsets[0], s.value, "it was delivered, and no member has it any more"))
			}
		case q.missing(options, s, saw, r):
			lost = append(lost, s)
		case s.offset != Unknown && saw != nil:
			if lowest == Unknown || s.offset < lowest {
				lowest = s.offset
			}
			highest = max(highest, s.offset)
		}
	}
	for _, s := range lost {
		class := LostMiddle
		switch {
		case s.offset == Unknown:
		case highest == Unknown || s.offset > highest:
			class = LostPostfix
		case s.offset < lowest:
			class = LostPrefix
		}
		r.add(q.anomaly(class, s.offset, s.value, "acknowledged to %s, and not there", s.client))
	}
}

// missing tells whether an acknowledged value is lost; what cannot be judged is counted.
func (q *queue) missing(options Options, s *send, saw *sighting, r *Report) bool {
	if len(q.copiesSince(s.settled())) > 0 {
		return (saw == nil || !saw.drained) && !q.excused(options, s)
	}
	switch {
	case saw != nil:
		return false
	case s.offset != Unknown && s.offset < q.high:
		return true
	}
	r.Unjudged++
	return false
}

// retained tells whether an offset may be gone because it is old.
func (q *queue) retained(options Options, offset int64) bool {
	if !options.Retention || offset == Unknown {
		return false
	}
	for _, m := range q.copies {
		if offset < m.first {
			return true
		}
	}
	return false
}

// excused tells whether an acknowledged value may be gone because it is old. Of one that
// waited nobody may have told the offset.
func (q *queue) excused(options Options, s *send) bool {
	if s.offset == Unknown && s.waits() && options.Retention {
		return slices.ContainsFunc(q.copies, func(m *memberCopy) bool { return m.first > 0 })
	}
	return q.retained(options, s.offset)
}

// judgeUnseen looks for what was acknowledged, is there, and was not delivered in time
// once the faults were over.
func (q *queue) judgeUnseen(options Options, healed *Operation, r *Report) {
	if healed == nil || healed.Within == 0 {
		return
	}
	for _, s := range q.sends {
		if !s.sure() {
			continue
		}
		due := max(healed.Complete, s.settled()) + healed.Within
		switch saw := q.seen[s.value]; {
		case saw == nil && len(q.copies) > 0: // lost, not late
		case saw == nil && s.offset != Unknown && s.offset < q.high: // the same
		case (saw == nil || saw.pulled == Unknown) && q.excused(options, s): // purged before anyone came
		case saw == nil || saw.pulled == Unknown:
			r.add(q.anomaly(Unseen, s.offset, s.value, "acknowledged to %s, and never pulled", s.client))
		case saw.pulled > due:
			r.add(q.anomaly(Unseen, s.offset, s.value, "pulled %d ns after it was due", saw.pulled-due))
		}
	}
}
