package state

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// model is what the store must do, said as simply as possible: it forgets nothing.
type model struct {
	index     Index
	topics    map[string]*Topic
	queues    map[QueueID]*modelQueue
	lastQueue QueueID
	producers map[uint64]*modelProducer
	requests  map[string]Outcome
	delayed   []modelDelayed
	halves    []modelDelayed
	ended     map[Index]ended
	groups    []string
	now       int64 // Unix ms of the entry
	usesFrom  int64
}

type modelQueue struct {
	topic   string
	trimmed Offset
	batches []Location
	sent    map[uint64][]modelBatch
}

type modelBatch struct {
	epoch        uint32
	first, count int64
	crc          uint32
	base         Offset
	handle       Index // if it had to wait
	waits        bool
}

type modelProducer struct {
	name  string
	epoch uint32
	used  int64 // last known use
}

func newModel() *model {
	return &model{
		index: NoIndex, topics: map[string]*Topic{}, queues: map[QueueID]*modelQueue{},
		producers: map[uint64]*modelProducer{}, requests: map[string]Outcome{}, ended: map[Index]ended{},
	}
}

func (q *modelQueue) end() Offset {
	if len(q.batches) == 0 {
		return 0
	}
	last := q.batches[len(q.batches)-1]
	return last.BaseOffset + Offset(last.Count)
}

func (m *model) applyBatch(body []byte) Outcome {
	no := func(code string) Outcome { return Outcome{Code: code, BaseOffset: NoOffset} }
	h, err := batch.Verify(body)
	if err != nil {
		panic(err) // the historian makes up nothing that no leader would propose
	}
	q := m.queues[QueueID(h.Queue)]
	if q == nil {
		return no(CodeUnknownQueue)
	}
	stored := Outcome{Queue: QueueID(h.Queue), BaseOffset: q.end(), Count: h.Count}
	if h.ProducerID != 0 {
		p := m.producers[h.ProducerID]
		if p == nil || h.ProducerEpoch > p.epoch {
			return no(CodeUnknownProducer)
		}
		if h.ProducerEpoch < p.epoch {
			return no(CodeProducerFenced)
		}
		m.touch(p)
		if code, b, known := q.judge(h); code != "" {
			return no(code)
		} else if known {
			stored.BaseOffset, stored.Duplicate, stored.Waits, stored.Handle = b.base, true, b.waits, b.handle
			return stored
		}
		if code := m.topics[q.topic].refuses(h); code != "" {
			return no(code)
		}
		if int(h.TransactionGroup) > len(m.groups) {
			return no(CodeUnknownTransactionGroup)
		}
		b := modelBatch{h.ProducerEpoch, h.FirstSequence, int64(h.Count), h.CRC, q.end(), 0, false}
		if h.DeliverAt != 0 || h.TransactionGroup != 0 {
			b.base, b.handle, b.waits = NoOffset, m.index, true
		}
		q.sent[h.ProducerID] = append(q.sent[h.ProducerID], b)
	}
	if code := m.topics[q.topic].refuses(h); code != "" {
		return no(code)
	}
	if int(h.TransactionGroup) > len(m.groups) {
		return no(CodeUnknownTransactionGroup)
	}
	if h.TransactionGroup != 0 {
		m.halves = append(m.halves, modelDelayed{Held{m.index, m.index}, QueueID(h.Queue), h.Count, 0})
		stored.BaseOffset, stored.Waits, stored.Handle = NoOffset, true, m.index
		return stored
	}
	if h.DeliverAt != 0 {
		m.delayed = append(m.delayed, modelDelayed{Held{m.index, m.index}, QueueID(h.Queue), h.Count, h.DeliverAt})
		stored.BaseOffset, stored.Waits, stored.Handle = NoOffset, true, m.index
		return stored
	}
	q.add(m.index, m.index, h.Count)
	return stored
}

func (q *modelQueue) add(index, given Index, count uint32) {
	q.batches = append(q.batches, Location{BaseOffset: q.end(), Count: count, Index: index, Given: given})
}

func (q *modelQueue) judge(h batch.Header) (code string, stored modelBatch, known bool) {
	var sent []modelBatch
	for _, b := range q.sent[h.ProducerID] {
		if b.epoch == h.ProducerEpoch {
			sent = append(sent, b)
		}
	}
	next := int64(0)
	for _, b := range sent {
		next += b.count
	}
	switch {
	case h.FirstSequence == next:
		return "", stored, false
	case h.FirstSequence > next:
		return CodeOutOfOrderSequence, stored, false
	}
	for _, b := range sent[max(0, len(sent)-WindowBatches):] {
		if b.first == h.FirstSequence && b.count == int64(h.Count) && b.crc == h.CRC {
			return "", b, true
		}
		if h.FirstSequence < b.first+b.count && b.first < h.FirstSequence+int64(h.Count) {
			return CodeSequenceConflict, stored, false
		}
	}
	return "", modelBatch{base: NoOffset}, true
}

func (m *model) applyCommand(c *recordv1.Command) Outcome {
	key := requestOf(c)
	if o, ok := m.requests[key]; ok {
		o.Duplicate = true
		return o
	}
	o := m.carryOut(c)
	if key != "" {
		remembered := o
		remembered.TopicGone, remembered.Count = false, 0
		m.requests[key] = remembered
	}
	return o
}

func (m *model) carryOut(c *recordv1.Command) Outcome {
	o := Outcome{BaseOffset: NoOffset}
	switch kind := c.GetKind().(type) {
	case *recordv1.Command_CreateTopic:
		name := kind.CreateTopic.GetName()
		switch {
		case name == "no good":
			o.Code = CodeInvalidTopicName
		case m.topics[name] != nil && m.topics[name].Deleted():
			o.Code = CodeTopicDeleted
		case m.topics[name] != nil:
			o.Code, o.Topic = CodeTopicExists, m.topics[name]
		case kind.CreateTopic.GetQueues() == 0:
			o.Code = CodeLimitExceeded
		default:
			o.Topic = &Topic{Name: name, CreatedUnixMs: c.GetTimeUnixMs(), Settings: modelSettings(TopicSettings{}, kind.CreateTopic.GetSettings())}
			m.addQueues(o.Topic, int(kind.CreateTopic.GetQueues()))
			m.topics[name] = o.Topic
		}
	case *recordv1.Command_RegisterProducer:
		m.register(kind.RegisterProducer.GetName(), &o)
	case *recordv1.Command_ExpireProducers:
		m.expire(kind.ExpireProducers, &o)
	default:
		if !m.carryOutTopic(c, &o) {
			m.carryOutDelay(c, &o)
		}
	}
	return o
}

func (m *model) register(name string, o *Outcome) {
	for id, p := range m.producers {
		if name != "" && p.name == name {
			p.epoch, p.used = p.epoch+1, m.now
			o.ProducerID, o.Epoch = id, p.epoch
			return
		}
	}
	o.ProducerID = uint64(m.index) + 1
	m.producers[o.ProducerID] = &modelProducer{name: name, used: m.now}
}

// historian makes up entries that are worth applying, and knows their outcomes.
type historian struct {
	t       testing.TB
	choose  func(n int) int // 0 to n-1
	m       *model
	term    Term
	sent    [][]byte // bodies of batches, for resends
	asked   []*recordv1.Command
	entries []Entry
	want    []Outcome
}

func newHistorian(t testing.TB, choose func(n int) int) *historian {
	return &historian{t: t, choose: choose, m: newModel(), term: 1}
}

// next makes up one entry and its outcome.
func (h *historian) next() (Entry, Outcome) {
	h.m.index++
	h.m.now = int64(h.m.index) * historyStep.Milliseconds()
	e := Entry{Index: h.m.index, Term: h.term, AppendTimeUnixNano: h.m.now * 1_000_000}
	var want Outcome
	switch n := h.choose(20); {
	case n == 0:
		h.term++
		e.Type, e.Term, want = EntryNoop, h.term, Outcome{BaseOffset: NoOffset}
	case n == 5 && len(h.sent) > 0:
		e.Type, e.Body, want = EntryCarried, h.sent[len(h.sent)-1], Outcome{BaseOffset: NoOffset}
	case n <= 4 || len(h.m.queues) == 0:
		c := h.command()
		e.Type, e.Body = EntryCommand, commandBody(h.t, c)
		want = h.m.applyCommand(c)
	default:
		e.Type, e.Body = EntryBatch, h.batch()
		want = h.m.applyBatch(e.Body)
	}
	h.entries, h.want = append(h.entries, e), append(h.want, want)
	return e, want
}

func (h *historian) command() *recordv1.Command {
	if len(h.asked) > 0 && h.choose(6) == 0 {
		return h.asked[h.choose(len(h.asked))]
	}
	c := &recordv1.Command{TimeUnixMs: int64(h.m.index)}
	if h.choose(3) > 0 {
		c.RequestId = fmt.Sprint("request ", h.m.index)
	}
	topic := []string{"orders", "payments", "logs", "no good"}[h.choose(4)]
	switch n := h.choose(46); {
	case n < 12:
		c.Kind = &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: topic, Queues: uint32(h.choose(4)), Settings: h.settings()}}
	case n >= 30:
		h.topicCommand(c, topic)
	case n >= 20:
		h.delayCommand(c)
	case n >= 18:
		h.expireCommand(c)
	case n < 13:
		c.Kind = &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: topic, GraceMs: int64(h.choose(3)) * 40}}
	default:
		name := []string{"", "carl", "anna", "bert"}[h.choose(4)]
		c.Kind = &recordv1.Command_RegisterProducer{RegisterProducer: &recordv1.RegisterProducer{Name: name}}
	}
	h.asked = append(h.asked, c)
	return c
}

// batch makes up a batch: most are right, some are anything else.
func (h *historian) batch() []byte {
	kind := h.choose(12)
	if kind == 0 && len(h.sent) > 0 { // a resend, mostly of a young one
		back := min(len(h.sent), 1+h.choose(8)*h.choose(30))
		return h.sent[len(h.sent)-back]
	}
	s := batch.Stamp{Queue: uint32(1 + h.choose(int(h.m.lastQueue)+1))}
	if q := h.anyQueue(); kind != 2 {
		s.Queue = uint32(q)
	}
	if kind > 3 {
		h.stampProducer(&s)
	}
	if kind == 4 && s.ProducerID != 0 { // out of order, cut differently, another epoch
		s.FirstSequence = max(0, s.FirstSequence+int64(h.choose(7))-5)
		s.ProducerEpoch += uint32(h.choose(2))
	}
	if kind == 5 && s.ProducerEpoch > 0 {
		s.ProducerEpoch--
	}
	switch h.choose(8) {
	case 0, 1:
		s.TransactionGroup = uint32(h.choose(len(h.m.groups) + 2))
	case 2, 3:
		s.DeliverAt = int64(1 + h.choose(int(h.m.index)+100))
	case 4:
		s.Grouped = true
	}
	h.fit(&s)
	body := batchBody(h.t, s, 1+h.choose(3), int64(h.m.index))
	h.sent = append(h.sent, body)
	return body
}

// stampProducer gives s a producer and the sequence that it must send next.
func (h *historian) stampProducer(s *batch.Stamp) {
	ids := sortedKeys(h.m.producers)
	if len(ids) == 0 {
		return
	}
	s.ProducerID = ids[h.choose(min(3, len(ids)))] // few, so that their windows fill
	s.ProducerEpoch = h.m.producers[s.ProducerID].epoch
	if q := h.m.queues[QueueID(s.Queue)]; q != nil {
		for _, b := range q.sent[s.ProducerID] {
			if b.epoch == s.ProducerEpoch {
				s.FirstSequence = b.first + b.count
			}
		}
	}
}

func (h *historian) anyQueue() QueueID {
	ids := sortedKeys(h.m.queues)
	if len(ids) == 0 {
		return 1
	}
	return ids[len(ids)-1-h.choose(min(3, len(ids)))]
}

func sortedKeys[K QueueID | Index | uint64, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func batchBody(t testing.TB, s batch.Stamp, records int, timestamp int64) []byte {
	t.Helper()
	b, err := batch.NewBuilder(batch.BuilderConfig{})
	require.NoError(t, err)
	for range records {
		require.NoError(t, b.Append(&batch.Record{Timestamp: timestamp, Value: []byte("value")}))
	}
	body, err := b.Build(s)
	require.NoError(t, err)
	return body
}

func commandBody(t testing.TB, c *recordv1.Command) []byte {
	t.Helper()
	body, err := AppendCommand(nil, proto.CloneOf(c))
	require.NoError(t, err)
	return body
}

// withoutMessage is what the model can say of an outcome.
func withoutMessage(o Outcome) Outcome {
	o.Message, o.Digest, o.AboutWaiting, o.Transaction = "", 0, false, false
	return o
}
