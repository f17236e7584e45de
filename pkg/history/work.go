package history

import (
	"cmp"
	"math"
	"slices"
)

// work is a group that receives messages one by one and acknowledges them.
type work struct {
	*group
	received []Operation
	acked    map[int64]int64 // by offset: when the first acknowledgement was answered
	acking   map[int64]int64 // when the first began that did not certainly fail
	dead     map[int64]int64 // when it was first seen among the dead letters
}

func (w *work) judge(options Options, r *Report) {
	w.acked, w.acking, w.dead = map[int64]int64{}, map[int64]int64{}, map[int64]int64{}
	lower := func(m map[int64]int64, offset, at int64) {
		if have, ok := m[offset]; !ok || at < have {
			m[offset] = at
		}
	}
	for _, o := range w.ops {
		switch {
		case o.Op == Ack && o.Outcome != Fail:
			lower(w.acking, o.Offset, o.Invoke)
			if o.Outcome == OK {
				lower(w.acked, o.Offset, o.Complete)
			}
		case o.Op == Dead:
			for _, m := range o.Messages {
				lower(w.dead, m.Offset, o.Complete)
			}
		}
	}
	w.judgeAgain(r)
	w.judgeAttempts(r)
	w.judgeFifo(r)
	w.judgeDone(options, r)
}

// judgeAgain looks for messages that were done with and were received afterwards.
func (w *work) judgeAgain(r *Report) {
	for _, o := range w.received {
		for _, m := range o.Messages {
			if at, ok := w.acked[m.Offset]; ok && o.Invoke > at {
				r.add(w.q.anomaly(AckedAgain, m.Offset, m.Value, "%s received it after it was acknowledged", o.Client))
			} else if at, ok := w.dead[m.Offset]; ok && o.Invoke > at {
				r.add(w.q.anomaly(AckedAgain, m.Offset, m.Value, "%s received it after it was a dead letter", o.Client))
			}
		}
	}
}

// judgeAttempts sweeps over the receives in the order of their beginnings and keeps the
// highest attempt of each message that had been told by then.
func (w *work) judgeAttempts(r *Report) {
	told := slices.Clone(w.received) // in the order of their ends
	begun := slices.Clone(w.received)
	slices.SortStableFunc(begun, func(a, b Operation) int { return cmp.Compare(a.Invoke, b.Invoke) })
	highest := map[int64]int64{}
	for _, o := range begun {
		for len(told) > 0 && told[0].Complete < o.Invoke {
			for _, m := range told[0].Messages {
				highest[m.Offset] = max(highest[m.Offset], m.Attempt)
			}
			told = told[1:]
		}
		for _, m := range o.Messages {
			if m.Attempt != 0 && m.Attempt < highest[m.Offset] {
				r.add(w.q.anomaly(AttemptsBack, m.Offset, m.Value, "%s was told attempt %d after attempt %d", o.Client, m.Attempt, highest[m.Offset]))
			}
		}
	}
}

// judgeFifo looks for messages that were received before everything in front of them in
// their message group was done with.
func (w *work) judgeFifo(r *Report) {
	lowest := int64(math.MaxInt64)
	for _, o := range w.received {
		for _, m := range o.Messages {
			lowest = min(lowest, m.Offset)
		}
	}
	members := map[string][]int64{} // offsets by message group
	for _, s := range w.q.sends {
		if at := s.place(); s.fifo != "" && at >= lowest {
			members[s.fifo] = append(members[s.fifo], at)
		}
	}
	free := map[int64]int64{} // by offset: from when on it may be received
	for _, offsets := range members {
		slices.Sort(offsets)
		at := int64(0)
		for _, offset := range offsets {
			free[offset] = at
			if _, ok := w.dead[offset]; ok {
				continue
			}
			begun, ok := w.acking[offset]
			if !ok {
				begun = math.MaxInt64
			}
			at = max(at, begun)
		}
	}
	for _, o := range w.received {
		for _, m := range o.Messages {
			if o.Complete < free[m.Offset] {
				r.add(w.q.anomaly(FifoOrder, m.Offset, m.Value, "%s received it before an earlier one of its message group was done with", o.Client))
			}
		}
	}
}

// judgeDone looks for messages that the group is past and that nobody is known to have
// done with.
func (w *work) judgeDone(options Options, r *Report) {
	lowest := int64(math.MaxInt64)
	for _, o := range w.received {
		for _, m := range o.Messages {
			lowest = min(lowest, m.Offset)
		}
	}
	from, to, known := w.done(lowest)
	for offset := from; known && offset < to; offset++ {
		_, acked := w.acking[offset]
		_, dead := w.dead[offset]
		if !acked && !dead && !w.q.retained(options, offset) {
			r.add(w.q.anomaly(WorkLost, offset, w.q.at[offset], "%s is at %d, and this is neither acknowledged nor a dead letter", w.groupKey.group, to))
		}
	}
}
