package sim

import "time"

// event is something that will happen at a moment of virtual time. Exactly one
// of env and do is set.
type event struct {
	at  time.Duration
	seq uint64 // breaks ties in the order of creation
	env *envelope
	do  func()
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// eventHeap is a binary heap of events, the next one first. It is typed because
// container/heap spends more on interfaces than the simulation on a step.
type eventHeap struct {
	events []event
	seq    uint64
}

func (h *eventHeap) push(e event) {
	h.seq++
	e.seq = h.seq
	h.events = append(h.events, e)
	i := len(h.events) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !h.events[i].before(&h.events[parent]) {
			break
		}
		h.events[i], h.events[parent] = h.events[parent], h.events[i]
		i = parent
	}
}

func (h *eventHeap) pop() event {
	top := h.events[0]
	last := len(h.events) - 1
	h.events[0] = h.events[last]
	h.events[last] = event{}
	h.events = h.events[:last]
	h.sink()
	return top
}

func (h *eventHeap) sink() {
	i, n := 0, len(h.events)
	for {
		least := 2*i + 1
		if least >= n {
			return
		}
		if r := least + 1; r < n && h.events[r].before(&h.events[least]) {
			least = r
		}
		if !h.events[least].before(&h.events[i]) {
			return
		}
		h.events[i], h.events[least] = h.events[least], h.events[i]
		i = least
	}
}
