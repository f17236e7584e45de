package state

import (
	"slices"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// refuses is what a topic must say to a batch that is not stored yet.
func (t *Topic) refuses(h batch.Header) string {
	kind := map[bool]TopicType{true: TypeFIFO, false: TypeNormal}[h.Grouped]
	if h.DeliverAt > 0 {
		kind = TypeDelay
	}
	if h.TransactionGroup > 0 {
		kind = TypeTransaction
	}
	switch {
	case t.UndeleteUntilUnixMs > 0:
		return CodeTopicDeleted
	case t.Settings.Type != 0 && t.Settings.Type != kind:
		return CodeMessageTypeMismatch
	case t.Settings.MaxMessageBytes > 0 && h.RecordsBytes > t.Settings.MaxMessageBytes:
		return CodeMessageTooLarge
	}
	return ""
}

func modelSettings(s TopicSettings, c *recordv1.TopicSettings) TopicSettings {
	if c == nil {
		return s
	}
	if c.Type != nil {
		s.Type = TopicType(*c.Type)
	}
	if c.MaxMessageBytes != nil {
		s.MaxMessageBytes = *c.MaxMessageBytes
	}
	if c.RetentionMessages != nil {
		s.RetentionMessages = *c.RetentionMessages
	}
	return s
}

func (m *model) addQueues(t *Topic, n int) {
	for range n {
		m.lastQueue++
		t.Queues = append(t.Queues, m.lastQueue)
		m.queues[m.lastQueue] = &modelQueue{topic: t.Name, sent: map[uint64][]modelBatch{}}
	}
}

// carryOutTopic is carryOut for what becomes of topics that exist.
func (m *model) carryOutTopic(c *recordv1.Command, o *Outcome) (known bool) {
	switch kind := c.GetKind().(type) {
	case *recordv1.Command_DeleteTopic:
		m.delete(kind.DeleteTopic, c.GetTimeUnixMs(), o)
	case *recordv1.Command_AlterTopic:
		m.alter(kind.AlterTopic, o)
	case *recordv1.Command_UndeleteTopic:
		t := m.topics[kind.UndeleteTopic.GetName()]
		switch {
		case t == nil:
			o.Code = CodeUnknownTopic
		case t.UndeleteUntilUnixMs == 0:
			o.Code = CodeTopicNotDeleted
		default:
			o.Topic = m.change(t, func(t *Topic) { t.UndeleteUntilUnixMs = 0 })
		}
	case *recordv1.Command_PurgeDeleted:
		m.purge(kind.PurgeDeleted, o)
	case *recordv1.Command_TrimQueues:
		for _, to := range kind.TrimQueues.GetOffsets() {
			if q := m.queues[QueueID(to.GetQueueId())]; q != nil {
				if first := min(Offset(to.GetOffset()), q.end()); first > q.trimmed {
					q.trimmed = first
					o.Count++
				}
			}
		}
	default:
		return false
	}
	return true
}

func (m *model) change(t *Topic, do func(*Topic)) *Topic {
	changed := *t
	do(&changed)
	m.topics[t.Name] = &changed
	return &changed
}

func (m *model) delete(d *recordv1.DeleteTopic, now int64, o *Outcome) {
	t := m.topics[d.GetName()]
	switch {
	case t == nil:
		o.Code = CodeUnknownTopic
	case d.GetGraceMs() == 0:
		m.remove(t)
		o.TopicGone = true
	case t.UndeleteUntilUnixMs > 0:
		o.Code = CodeTopicDeleted
	default:
		o.Topic = m.change(t, func(t *Topic) { t.UndeleteUntilUnixMs = now + d.GetGraceMs() })
		o.TopicGone = true
	}
}

func (m *model) remove(t *Topic) {
	for _, q := range t.Queues {
		delete(m.queues, q)
		m.forgetDelayed(q)
	}
	delete(m.topics, t.Name)
}

func (m *model) purge(c *recordv1.PurgeDeleted, o *Outcome) {
	for range c.GetLimit() {
		var first *Topic
		for _, t := range m.topics {
			due := t.UndeleteUntilUnixMs > 0 && t.UndeleteUntilUnixMs <= c.GetUpToUnixMs()
			if due && (first == nil || t.UndeleteUntilUnixMs < first.UndeleteUntilUnixMs ||
				t.UndeleteUntilUnixMs == first.UndeleteUntilUnixMs && t.Name < first.Name) {
				first = t
			}
		}
		if first == nil {
			return
		}
		m.remove(first)
		o.TopicGone = true
		o.Count++
	}
}

func (m *model) alter(c *recordv1.AlterTopic, o *Outcome) {
	t := m.topics[c.GetName()]
	switch {
	case t == nil:
		o.Code = CodeUnknownTopic
		return
	case t.UndeleteUntilUnixMs > 0:
		o.Code = CodeTopicDeleted
		return
	case c.GetQueues() > 0 && int(c.GetQueues()) < len(t.Queues):
		o.Code = CodeInvalidTopicChange
		return
	}
	settings := modelSettings(t.Settings, c.GetSettings())
	empty := true
	for _, id := range t.Queues {
		empty = empty && m.queues[id].trimmed == m.queues[id].end() &&
			!slices.ContainsFunc(m.waiting(), func(d *modelDelayed) bool { return d.queue == id })
	}
	if settings.Type != t.Settings.Type && settings.Type != 0 && !empty {
		o.Code = CodeInvalidTopicChange
		return
	}
	o.Topic = m.change(t, func(t *Topic) {
		t.Settings = settings
		if more := int(c.GetQueues()) - len(t.Queues); c.GetQueues() > 0 && more > 0 {
			t.Growths = append(slices.Clone(t.Growths), Growth{From: len(t.Queues), Index: m.index})
			t.Queues = slices.Clone(t.Queues)
			m.addQueues(t, more)
		}
	})
}

// settings makes up some, most often none.
func (h *historian) settings() *recordv1.TopicSettings {
	if h.choose(3) > 0 {
		return nil
	}
	s := &recordv1.TopicSettings{}
	if h.choose(2) == 0 {
		s.Type = new(uint32(h.choose(5)))
	}
	if h.choose(4) == 0 {
		s.MaxMessageBytes = new(uint32(2_000))
	}
	if h.choose(3) == 0 {
		s.RetentionMessages = new(int64(h.choose(3)))
	}
	return s
}

// topicCommand makes up a command about topics that most often exist.
func (h *historian) topicCommand(c *recordv1.Command, name string) {
	switch n := h.choose(16); {
	case n < 6:
		alter := &recordv1.AlterTopic{Name: name, Settings: h.settings()}
		if t := h.m.topics[name]; t != nil && h.choose(3) > 0 {
			alter.Queues = uint32(max(1, min(12, len(t.Queues)+h.choose(4)-1)))
		}
		c.Kind = &recordv1.Command_AlterTopic{AlterTopic: alter}
	case n < 8:
		c.Kind = &recordv1.Command_UndeleteTopic{UndeleteTopic: &recordv1.UndeleteTopic{Name: name}}
	case n < 10:
		c.Kind = &recordv1.Command_PurgeDeleted{PurgeDeleted: &recordv1.PurgeDeleted{UpToUnixMs: int64(h.m.index), Limit: uint32(1 + h.choose(2))}}
	default:
		trim := &recordv1.TrimQueues{}
		for range 1 + h.choose(3) {
			id := h.anyQueue() + QueueID(h.choose(8)/7)
			to := &recordv1.QueueOffset{QueueId: uint32(id)}
			if q := h.m.queues[id]; q != nil {
				to.Offset = int64(q.trimmed) + int64(h.choose(int(q.end()-q.trimmed)+2))
			}
			trim.Offsets = append(trim.Offsets, to)
		}
		c.Kind = &recordv1.Command_TrimQueues{TrimQueues: trim}
	}
}

// fit makes a batch one that its topic takes, most often.
func (h *historian) fit(s *batch.Stamp) {
	q := h.m.queues[QueueID(s.Queue)]
	if q == nil || h.choose(4) == 0 {
		return
	}
	kind := h.m.topics[q.topic].Settings.Type
	if kind == TypeMixed {
		return
	}
	s.DeliverAt, s.TransactionGroup, s.Grouped = 0, 0, kind == TypeFIFO
	switch kind {
	case TypeDelay:
		s.DeliverAt = int64(h.m.index) + 5
	case TypeTransaction:
		s.TransactionGroup = 1
	}
}
