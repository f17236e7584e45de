package history

import (
	"cmp"
	"fmt"
	"slices"
)

// progressEvent is the beginning or the end of a commit or of a question for progress.
type progressEvent struct {
	at   int64
	ends bool
	op   *Operation
}

// judgeProgress sweeps over the commits of a consumer group in a queue and the answers
// to who asked. The floor is what the group's progress is known to have reached: it
// rises when a commit or an answer is in, and falls only with a deliberate reset, as
// soon as that is on its way.
// What a work-queue group is told nobody has committed as such.
func judgeProgress(key groupKey, ops []Operation, works bool, r *Report) {
	var events []progressEvent
	for i := range ops {
		begins := ops[i].Invoke
		switch ops[i].Op {
		case Commit, Progress:
		case Pull: // what it may be given is decided when it is given the queue
			begins = ops[i].Since
		default:
			continue
		}
		events = append(events, progressEvent{begins, false, &ops[i]}, progressEvent{ops[i].Complete, true, &ops[i]})
	}
	slices.SortStableFunc(events, func(a, b progressEvent) int {
		if a.at == b.at && a.ends != b.ends { // beginnings first: at the same instant both orders are possible
			return map[bool]int{false: -1, true: 1}[a.ends]
		}
		return cmp.Compare(a.at, b.at)
	})
	stored := map[int64]bool{} // offsets that may have been committed
	if works {
		stored = nil
	}
	begun := map[*Operation]progressState{}
	now := progressState{floor: Unknown}
	for _, e := range events {
		o := e.op
		reset := o.Op == Commit && o.Reset && o.Outcome != Fail
		if !e.ends {
			begun[o] = now
			if o.Op == Commit && o.Outcome != Fail && stored != nil {
				stored[o.Offset] = true
			}
			if reset {
				now.resets++
				now.open++
				now.floor = min(now.floor, o.Offset)
			}
			continue
		}
		if o.Outcome != OK {
			continue // a reset of unknown outcome may still come: it stays open
		}
		then := begun[o]
		if o.Op == Pull {
			r.judgeAgain(key, o, min(then.floor, now.floor))
			continue
		}
		if reset {
			now.open--
			then.resets++ // its own
		}
		right := o.Op == Commit || r.judgeAnswer(key, o, min(then.floor, now.floor), stored)
		if right && then.open == 0 && now.open == 0 && then.resets == now.resets { // no reset can undo it
			now.floor = max(now.floor, o.Offset)
		}
	}
}

// progressState is what is known of a group's progress at a time.
type progressState struct {
	floor  int64
	resets int // deliberate resets that had begun
	open   int // of them, those that had not ended
}

// judgeAgain holds what a member of a group was given against what was known to be
// committed when the member was given the queue.
func (r *Report) judgeAgain(key groupKey, o *Operation, floor int64) {
	for _, m := range o.Messages {
		if m.Offset < floor {
			r.add(Anomaly{
				Class: CommittedAgain, Topic: key.topic, Queue: key.queue, Offset: m.Offset, Value: m.Value,
				Detail: fmt.Sprintf("%s of %s was given this, and had not begun before %d was known to be committed", o.Client, key.group, floor),
			})
		}
	}
}

// judgeAnswer holds an answer against the floor and against what was ever committed, where stored knows. An
// offset of 0 is what a group has that never committed. It tells whether the answer is right.
func (r *Report) judgeAnswer(key groupKey, o *Operation, floor int64, stored map[int64]bool) bool {
	anomaly := Anomaly{Topic: key.topic, Queue: key.queue, Offset: o.Offset, Value: key.group}
	switch {
	case o.Offset != 0 && stored != nil && !stored[o.Offset]:
		anomaly.Class = ProgressPhantom
		anomaly.Detail = fmt.Sprintf("%s was told an offset that nobody had committed", o.Client)
	case o.Offset < floor:
		anomaly.Class = ProgressBack
		anomaly.Detail = fmt.Sprintf("%s was told this after the group was known to be at %d", o.Client, floor)
	default:
		return true
	}
	r.add(anomaly)
	return false
}
