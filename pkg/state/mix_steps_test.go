package state

import (
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

var mixPolicy = &recordv1.WorkPolicy{MaxAttempts: 3, BackoffMinMs: 1, BackoffMaxMs: 10}

func (m *mixer) command(c *recordv1.Command) Outcome {
	c.TimeUnixMs = m.now()
	return m.add(commandEntry(m.t, c))
}

func (m *mixer) name() string { return []string{"a", "b", "c", "d"}[m.choose(4)] }

// request is now and then one that was used before.
func (m *mixer) request() string { return []string{"", "again", fmt.Sprint(m.index())}[m.choose(3)] }

func (m *mixer) publish() {
	if n := len(m.sent); n > 0 && m.choose(8) == 0 {
		m.add(m.sent[n-1-m.choose(min(n, 12))])
		return
	}
	w, s := &m.alone.work, batch.Stamp{Queue: uint32(m.queue())}
	if ids := sortedKeys(w.producers); len(ids) > 0 && m.choose(3) > 0 {
		s.ProducerID = ids[m.choose(len(ids))]
		s.ProducerEpoch = w.producers[s.ProducerID].epoch
		if q := w.queues[QueueID(s.Queue)]; q != nil {
			s.FirstSequence = q.windows[s.ProducerID].expected(s.ProducerEpoch)
		}
	}
	switch m.choose(4) {
	case 0:
		s.DeliverAt = 1 + int64(m.choose(3))*m.now()
	case 1:
		s.TransactionGroup = 1
	}
	keys := make([]string, 1+m.choose(6))
	for i := range keys {
		keys[i] = someKeys[m.choose(len(someKeys))]
	}
	e := keyedEntry(m.t, s, keys...)
	m.sent = append(m.sent, e)
	m.add(e)
}

// held is one of those that wait; none: one that is not there.
func (m *mixer) held() (id, place Index, q QueueID) {
	w := &m.alone.work
	delayed, halves := sortedKeys(w.delays.byID), sortedKeys(w.open.byID)
	switch n := len(delayed) + len(halves); {
	case n == 0:
		return 1, 1, 1
	default:
		if at := m.choose(n); at < len(delayed) {
			b := w.delays.byID[delayed[at]]
			return b.id, b.place, b.queue
		} else {
			h := w.open.byID[halves[at-len(delayed)]]
			return h.id, h.place, h.queue
		}
	}
}

func (m *mixer) wait() {
	id, place, q := m.held()
	switch m.choose(8) {
	case 0, 1:
		m.add(dueEntry(m.t, m.now(), uint32(1+m.choose(4))))
	case 2:
		m.add(recallEntry(m.t, id, uint32(q), m.request()))
	case 3, 4:
		m.add(endEntry(m.t, id, uint32(q), m.choose(2) == 0))
	case 5:
		m.add(Entry{Type: EntryCarried, Body: m.entries[place].Body})
		m.add(carryEntry(m.t, []int64{int64(id)}, []int64{int64(place)}, []int64{m.index() - 1}))
	case 6:
		g := &recordv1.GiveUpWaiting{}
		for range 1 + m.choose(3) {
			id, place, _ = m.held()
			g.Ids, g.Places = append(g.Ids, int64(id)), append(g.Places, int64(place)-int64(m.choose(6)/5))
		}
		m.command(&recordv1.Command{Kind: &recordv1.Command_GiveUpWaiting{GiveUpWaiting: g}})
	default:
		before := max(0, m.index()-int64(m.choose(300)))
		m.forgotten = max(m.forgotten, Index(before))
		m.command(&recordv1.Command{Kind: &recordv1.Command_ForgetLate{ForgetLate: &recordv1.ForgetLate{Before: before}}})
	}
}

func (m *mixer) topic() {
	name := m.name()
	switch m.choose(9) {
	case 0, 1:
		c := &recordv1.CreateTopic{Name: name, Queues: uint32(1 + m.choose(3)), KeyIndex: m.choose(2) == 0}
		m.command(&recordv1.Command{RequestId: m.request(), Kind: &recordv1.Command_CreateTopic{CreateTopic: c}})
	case 2:
		m.command(&recordv1.Command{RequestId: m.request(), Kind: &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: name, GraceMs: int64(m.choose(4)) * 1_000_000}}})
	case 3:
		m.add(undeleteEntry(m.t, name))
	case 4:
		m.add(purgeEntry(m.t, m.now()))
	case 5, 6:
		alter := &recordv1.AlterTopic{Name: name}
		if t := m.alone.work.topics[name]; t != nil && m.choose(2) == 0 {
			alter.Queues = uint32(min(5, len(t.Queues)+m.choose(3)))
		} else {
			alter.Settings = &recordv1.TopicSettings{Type: new(uint32(m.choose(5)))}
		}
		m.command(&recordv1.Command{RequestId: m.request(), Kind: &recordv1.Command_AlterTopic{AlterTopic: alter}})
	default:
		trim := &recordv1.TrimQueues{}
		for range 1 + m.choose(3) {
			trim.Offsets = append(trim.Offsets, m.offset(m.queue()))
		}
		m.command(&recordv1.Command{Kind: &recordv1.Command_TrimQueues{TrimQueues: trim}})
	}
}

// offset is one of a queue, or a little above its end.
func (m *mixer) offset(q QueueID) *recordv1.QueueOffset {
	at := &recordv1.QueueOffset{QueueId: uint32(q)}
	if of := m.alone.work.queues[q]; of != nil {
		at.Offset = int64(m.choose(int(of.end) + 3))
	}
	return at
}

func (m *mixer) producer() {
	if m.choose(2) == 0 {
		m.add(registerEntry(m.t, []string{"", "anna", "bert"}[m.choose(3)]))
		return
	}
	var ids []uint64
	for _, id := range sortedKeys(m.alone.work.producers) {
		if m.choose(2) == 0 {
			ids = append(ids, id)
		}
	}
	m.expire(ids, m.now()-int64(m.choose(3))*3_600_000)
}

func (m *mixer) expire(ids []uint64, before int64) {
	m.command(&recordv1.Command{Kind: &recordv1.Command_ExpireProducers{ExpireProducers: &recordv1.ExpireProducers{Ids: ids, UnusedSinceUnixMs: before}}})
}

func (m *mixer) group() {
	name := []string{"w1", "w2", "p1"}[m.choose(3)]
	g, ok := m.alone.Group(name)
	if !ok {
		if name == "p1" {
			m.add(commandEntry(m.t, createGroup(name)))
		} else {
			m.add(commandEntry(m.t, createWorkGroup(name, mixPolicy)))
		}
		return
	}
	q := m.queue()
	switch m.choose(8) {
	case 0:
		m.add(commandEntry(m.t, deleteGroup(name)))
	case 1, 2:
		at := m.offset(q)
		m.add(commandEntry(m.t, reset(g.ID, q, at.GetOffset())))
	case 3:
		p, _ := m.alone.Progress(g.ID, q)
		m.add(commandEntry(m.t, commit(m.now(), one(g.ID, q, p.Epoch, m.offset(q).GetOffset()))))
	default:
		c := grant(g.ID, m.choose(4) > 0, m.offset(q).GetOffset(), q, m.queue(), m.queue())
		c.GetGrantQueues().GetGrants()[0].Owner = uint64(m.choose(4)) << 40
		m.add(commandEntry(m.t, c))
	}
}

// work settles and moves messages of a group that has begun somewhere.
func (m *mixer) work() {
	g, ok := m.alone.Group([]string{"w1", "w2"}[m.choose(2)])
	if !ok {
		return
	}
	var in []QueueProgress
	for _, p := range m.alone.GroupProgress(g.ID) {
		if p.Offset != NoOffset {
			in = append(in, p)
		}
	}
	if len(in) == 0 {
		return
	}
	p := in[m.choose(len(in))]
	low := int64(0)
	if m.choose(4) == 0 {
		low = int64(m.alone.work.queues[p.Queue].trimmed)
	}
	if m.choose(3) == 0 {
		m.move(g.ID, p, low)
		return
	}
	var items []*recordv1.WorkItem
	for range 1 + m.choose(3) {
		i := &recordv1.WorkItem{GroupId: g.ID, QueueId: uint32(p.Queue), Epoch: p.Epoch - uint64(m.choose(10)/9), Low: low}
		i.Offset = int64(p.Offset) + int64(m.choose(90)) - 2
		if i.Count = uint32(m.choose(4) * m.choose(30)); i.GetCount() == 0 {
			i.Attempts, i.VisibleAtUnixMs = uint32(1+m.choose(4)), m.now()
		}
		items = append(items, i)
	}
	m.add(commandEntry(m.t, settleWork(items...)))
}

// move moves messages to any queue: their own, one that is gone, hidden or trimmed too.
func (m *mixer) move(group uint64, p QueueProgress, low int64) {
	n := 1 + m.choose(3)
	var moves []*recordv1.WorkMove
	for i := range n {
		to := uint32(m.queue())
		moves = append(moves, &recordv1.WorkMove{Offset: int64(p.Offset) + int64(m.choose(40)), ToQueueId: to, Back: uint32(n - i)})
		m.add(Entry{Type: EntryCarried, Body: keyedEntry(m.t, batch.Stamp{Queue: to}, someKeys[m.choose(len(someKeys))]).Body})
	}
	c := moveWork(group, p.Epoch, p.Queue, moves...)
	c.GetMoveWork().Low = low
	m.command(c)
}

func (m *mixer) keys() {
	q := m.queue()
	switch m.choose(6) {
	case 0, 1, 2:
		m.add(keyIndexEntry(m.t, m.name(), m.choose(3) > 0))
	case 3, 4:
		m.add(trimKeysEntry(m.t, q, Offset(m.offset(q).GetOffset())))
	default: // half a bucket
		e := batchEntry(m.t, batch.Stamp{Queue: uint32(min(q, 2))}, 4_000)
		for range 1 << keyBucketShift / 2 / 4_000 {
			m.add(e)
		}
	}
}
