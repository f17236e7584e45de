package state

import (
	"cmp"
	"slices"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// modelDelayed is a batch that waits for its delivery time.
type modelDelayed struct {
	Held
	queue QueueID
	count uint32
	due   int64
}

func (m *model) forgetDelayed(q QueueID) {
	m.delayed = slices.DeleteFunc(m.delayed, func(d modelDelayed) bool { return d.queue == q })
	m.halves = slices.DeleteFunc(m.halves, func(d modelDelayed) bool { return d.queue == q })
}

func (m *model) carryOutDelay(c *recordv1.Command, o *Outcome) {
	switch kind := c.GetKind().(type) {
	case *recordv1.Command_GiveUpWaiting:
		m.giveUp(kind.GiveUpWaiting, o)
	case *recordv1.Command_DeliverDue:
		m.deliverDue(kind.DeliverDue, o)
	case *recordv1.Command_CarryForward:
		m.carryForward(kind.CarryForward, o)
	case *recordv1.Command_Recall:
		at := slices.IndexFunc(m.delayed, func(d modelDelayed) bool {
			return int64(d.ID) == kind.Recall.GetId() && uint32(d.queue) == kind.Recall.GetQueue()
		})
		if at < 0 {
			o.Code = CodeNotWaiting
			return
		}
		m.delayed = slices.Delete(m.delayed, at, at+1)
	case *recordv1.Command_RegisterTransactionGroup:
		name := kind.RegisterTransactionGroup.GetName()
		at := slices.Index(m.groups, name)
		if o.Duplicate = at >= 0; !o.Duplicate {
			m.groups = append(m.groups, name)
			at = len(m.groups) - 1
		}
		o.ProducerID = uint64(at) + 1
	case *recordv1.Command_EndTransaction:
		m.end(kind.EndTransaction, o)
	}
}

func (m *model) end(c *recordv1.EndTransaction, o *Outcome) {
	id := Index(c.GetId())
	at := slices.IndexFunc(m.halves, func(d modelDelayed) bool { return d.ID == id && uint32(d.queue) == c.GetQueue() })
	e, known := m.ended[id]
	switch {
	case at >= 0:
		h := m.halves[at]
		m.halves = slices.Delete(m.halves, at, at+1)
		e = ended{id: id, base: NoOffset}
		if c.GetCommit() {
			q := m.queues[h.queue]
			e = ended{id: id, commit: true, queue: h.queue, base: q.end(), count: h.count}
			o.Delivered, o.DeliveredBatches, o.DeliveredRecords = []QueueID{h.queue}, 1, int64(h.count)
			q.add(h.Place, m.index, h.count)
		}
		m.ended[id] = e
	case !known || e.commit && uint32(e.queue) != c.GetQueue():
		o.Code = CodeUnknownTransaction
		return
	case e.commit != c.GetCommit():
		o.Code = CodeTransactionEnded
		return
	default:
		o.Duplicate = true
	}
	o.Queue, o.BaseOffset, o.Count = e.queue, e.base, e.count
}

func (m *model) deliverDue(c *recordv1.DeliverDue, o *Outcome) {
	if c.GetLimit() == 0 {
		o.Code = CodeLimitExceeded
		return
	}
	slices.SortFunc(m.delayed, func(a, b modelDelayed) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.ID, b.ID))
	})
	for range c.GetLimit() {
		if len(m.delayed) == 0 || m.delayed[0].due > c.GetUpToUnixMs() {
			return
		}
		d := m.delayed[0]
		m.delayed = m.delayed[1:]
		m.queues[d.queue].add(d.Place, m.index, d.count)
		o.DeliveredBatches++
		o.DeliveredRecords += int64(d.count)
		if n := len(o.Delivered); n == 0 || o.Delivered[n-1] != d.queue {
			o.Delivered = append(o.Delivered, d.queue)
		}
	}
}

func (m *model) carryForward(c *recordv1.CarryForward, o *Outcome) {
	if len(c.GetIds()) == 0 {
		o.Code = CodeLimitExceeded
		return
	}
	for i, id := range c.GetIds() {
		for _, d := range m.waiting() {
			if from, to := c.GetFrom()[i], c.GetTo()[i]; int64(d.ID) == id && int64(d.Place) == from && to > from && to < int64(m.index) {
				d.Place = Index(to)
				o.Count++
				break
			}
		}
	}
}

// waiting is everything that waits.
func (m *model) waiting() (all []*modelDelayed) {
	for n := range m.delayed {
		all = append(all, &m.delayed[n])
	}
	for n := range m.halves {
		all = append(all, &m.halves[n])
	}
	return all
}

// floor is what Store.Floor must say at most, and what it must say if nothing was
// delivered late in the same bucket before it.
func (m *model) floor(before Index) Index {
	floor := before
	for _, d := range m.waiting() {
		floor = min(floor, d.Place)
	}
	for _, q := range m.queues {
		for _, l := range q.batches {
			if l.Given >= before {
				floor = min(floor, l.Index)
			}
		}
	}
	return floor
}

// held is what Store.HeldBefore must say.
func (m *model) held() []Held {
	var held []Held
	for _, d := range m.delayed {
		held = append(held, d.Held)
	}
	byPlace := func(a, b Held) int { return cmp.Compare(a.Place, b.Place) }
	slices.SortFunc(held, byPlace)
	n := len(held)
	for _, d := range m.halves {
		held = append(held, d.Held)
	}
	slices.SortFunc(held[n:], byPlace)
	return held
}

// delayCommand makes up a command about batches that wait.
func (h *historian) delayCommand(c *recordv1.Command) {
	var some modelDelayed
	if n := len(h.m.delayed); n > 0 {
		some = h.m.delayed[h.choose(n)]
	}
	switch h.choose(8) {
	case 4:
		c.Kind = &recordv1.Command_RegisterTransactionGroup{RegisterTransactionGroup: &recordv1.RegisterTransactionGroup{Name: []string{"x", "y", "z"}[h.choose(3)]}}
	case 5, 6:
		h.endCommand(c)
	case 0:
		c.Kind = &recordv1.Command_Recall{Recall: &recordv1.Recall{Id: int64(some.ID), Queue: uint32(some.queue) + uint32(h.choose(4)/3)}}
	case 1:
		carry := &recordv1.CarryForward{}
		for _, d := range h.m.held()[:h.choose(len(h.m.held())+1)] {
			if to := h.lastCarried(d.Place + 1); to > 0 {
				carry.Ids, carry.From, carry.To = append(carry.Ids, int64(d.ID)), append(carry.From, int64(d.Place)), append(carry.To, int64(to))
				break // a copy is one batch's
			}
		}
		c.Kind = &recordv1.Command_CarryForward{CarryForward: carry}
	case 7:
		h.giveUpCommand(c)
	default:
		c.Kind = &recordv1.Command_DeliverDue{DeliverDue: &recordv1.DeliverDue{UpToUnixMs: int64(h.m.index), Limit: uint32(h.choose(6))}}
	}
}

// endCommand ends a transaction, most often one that is open.
func (h *historian) endCommand(c *recordv1.Command) {
	end := &recordv1.EndTransaction{Commit: h.choose(2) == 0}
	if n := len(h.m.halves); n > 0 && h.choose(3) > 0 {
		some := h.m.halves[h.choose(n)]
		end.Id, end.Queue = int64(some.ID), uint32(some.queue)
	} else if ids := sortedKeys(h.m.ended); len(ids) > 0 {
		e := h.m.ended[ids[h.choose(len(ids))]]
		end.Id, end.Queue = int64(e.id), uint32(e.queue)
	}
	c.Kind = &recordv1.Command_EndTransaction{EndTransaction: end}
}

// lastCarried is the newest copy at from or later to which nothing was carried yet; 0: none.
func (h *historian) lastCarried(from Index) Index {
	for i := len(h.entries) - 1; i >= int(from); i-- {
		taken := slices.ContainsFunc(h.m.waiting(), func(d *modelDelayed) bool { return d.Place == Index(i) })
		if h.entries[i].Type == EntryCarried && !taken {
			return Index(i)
		}
	}
	return 0
}

// giveUpCommand gives up one that waits, or names a place where it is not.
func (h *historian) giveUpCommand(c *recordv1.Command) {
	g := &recordv1.GiveUpWaiting{}
	if held := h.m.held(); len(held) > 0 {
		some := held[h.choose(len(held))]
		g.Ids, g.Places = []int64{int64(some.ID)}, []int64{int64(some.Place) + int64(h.choose(3)/2)}
	}
	c.Kind = &recordv1.Command_GiveUpWaiting{GiveUpWaiting: g}
}

func (m *model) giveUp(c *recordv1.GiveUpWaiting, o *Outcome) {
	if len(c.GetIds()) == 0 {
		o.Code = CodeLimitExceeded
		return
	}
	lost := func(d modelDelayed) bool { return int64(d.ID) == c.GetIds()[0] && int64(d.Place) == c.GetPlaces()[0] }
	before := len(m.delayed) + len(m.halves)
	for _, h := range m.halves {
		if lost(h) {
			m.ended[h.ID] = ended{id: h.ID, base: NoOffset}
		}
	}
	m.delayed, m.halves = slices.DeleteFunc(m.delayed, lost), slices.DeleteFunc(m.halves, lost)
	o.GivenUp = before - len(m.delayed) - len(m.halves)
	o.Count = uint32(o.GivenUp)
}
