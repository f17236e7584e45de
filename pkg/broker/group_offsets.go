package broker

import (
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// offsetFinder finds where a consumer group begins in a queue, and how far behind it is.
type offsetFinder struct{ *puller }

// start turns a GroupStart into an offset that the queue has, or its end. Nothing said is
// the earliest.
func (f *offsetFinder) start(q state.QueueID, at *brokerv1.GroupStart) (state.Offset, error) {
	first, end, ok := f.store.QueueRange(q)
	if !ok {
		return 0, errorf(CodeUnknownQueue, "the queue %d was deleted", q)
	}
	switch to := at.GetAt().(type) {
	case *brokerv1.GroupStart_Latest:
		return end, nil
	case *brokerv1.GroupStart_Offset:
		return min(max(first, state.Offset(to.Offset)), end), nil
	case *brokerv1.GroupStart_TimeUnixMs:
		found, err := f.findTime(queue{id: q}, to.TimeUnixMs)
		return state.Offset(found.GetOffset()), err
	}
	return first, nil
}

// grown says whether a queue came to its topic while the group was reading that already:
// then the group wants all of it, wherever it began in the others.
func (f *offsetFinder) grown(group uint64, q state.QueueID) bool {
	name, number, _ := f.store.TopicOfQueue(q)
	topic, ok := f.store.Topic(name)
	if !ok {
		return false
	}
	since := topic.Since(number)
	if since == state.NoIndex || group > uint64(since) {
		return false
	}
	for i, older := range topic.Queues[:number] {
		if p, _ := f.store.Progress(group, older); topic.Since(i) < since && p.Offset != state.NoOffset {
			return true
		}
	}
	return false
}

// lag is how far a group at an offset is behind in a queue.
type lag struct {
	first, end state.Offset
	messages   int64
}

// lag counts from the oldest message that is kept: nobody can consume what is gone.
func (f *offsetFinder) lag(q state.QueueID, offset state.Offset) (l lag, ok bool) {
	l.first, l.end, ok = f.store.QueueRange(q)
	l.messages = max(0, int64(l.end-max(l.first, offset)))
	return l, ok
}

// waiting is for how long the oldest message at or above an offset has been stored; 0 if
// there is none, or it cannot be read now.
func (f *offsetFinder) waiting(q state.QueueID, offset state.Offset, l lag, now time.Time) time.Duration {
	if l.messages == 0 {
		return 0
	}
	_, stored, err := f.storedAt(queue{id: q}, max(offset, l.first))
	if err != nil {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(stored)))
}
