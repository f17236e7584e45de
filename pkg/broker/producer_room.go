package broker

import (
	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// producerRoom bounds producers, and the queues in which batches of theirs are
// remembered, by what the leader sees before it proposes. As topicRoom it has no part in
// applying, and may let a few more through.
type producerRoom struct {
	store              *state.Store
	producers, windows int
	short              chan struct{} // capacity 1: has idle producers looked for
}

// isShort tells whether little room is left.
func (r *producerRoom) isShort() bool {
	producers, windows := r.store.ProducerCounts()
	return producers >= r.producers-r.producers/10 || windows >= r.windows-r.windows/10
}

// register makes sure that there is room for one more producer. With known there is
// room only for a name that is registered already: the state knows that.
func (r *producerRoom) register(name string) (known bool, err error) {
	if r.isShort() {
		signal(r.short)
	}
	producers, _ := r.store.ProducerCounts()
	switch {
	case producers < r.producers:
		return false, nil
	case name == "":
		return false, errorf(CodeTooManyProducers, "there are %d producers, and limits.max_producers is %d", producers, r.producers)
	}
	return true, nil
}

// publish makes sure that there is room to remember a batch of a producer.
func (r *producerRoom) publish(h batch.Header) error {
	if h.ProducerID == 0 {
		return nil
	}
	_, windows := r.store.ProducerCounts()
	if windows < r.windows {
		return nil
	}
	signal(r.short)
	has, err := r.store.HasWindow(state.QueueID(h.Queue), h.ProducerID)
	if err != nil || has {
		return err
	}
	return errorf(CodeTooManyProducers, "batches of producers are remembered in %d queues, producer by producer, and limits.max_producer_queues is %d",
		windows, r.windows)
}
