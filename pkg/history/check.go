package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Options says what a history's group was set to do.
type Options struct {
	// Retention: old messages may be gone. Acknowledged values below the First of a
	// member's copy are then not missed, nor those that were purged before a consumer came,
	// and copies may begin at different offsets. Without it every copy must begin at 0.
	Retention bool
}

// Checker takes the operations of a history and judges them.
type Checker struct {
	options Options
	ops     int
	values  map[string]*send
	queues  map[queueKey]*queue
	groups  map[groupKey][]Operation
	recalls map[string][]Operation // by value
	ends    map[string]*transaction
	healed  *Operation // the last one
	report  Report
}

// NewChecker makes a checker that has seen nothing.
func NewChecker(options Options) *Checker {
	return &Checker{
		options: options, values: map[string]*send{}, queues: map[queueKey]*queue{}, groups: map[groupKey][]Operation{},
		recalls: map[string][]Operation{}, ends: map[string]*transaction{},
	}
}

type queueKey struct {
	topic string
	queue int
}

type groupKey struct {
	queueKey
	group string
}

// send is one value and what became of it.
type send struct {
	queue                      *queue
	client, value              string
	producer                   uint64
	epoch                      uint32
	sequence, invoke, complete int64
	numbered                   int64 // by the producer, or as sequence; Unknown
	outcome                    Outcome
	offset                     int64
	number                     int // place in the history: the order among equals
	due                        int64
	recall                     Outcome // the surest of its recalls that did not fail; or ""
	transaction                *transaction
	fifo                       string
}

// pull is one answer to a consumer.
type pull struct {
	client                     string
	invoke, complete, position int64
	seek                       bool
	messages                   []Message
}

// memberCopy is one member's copy of a queue.
type memberCopy struct {
	member           string
	first, end       int64
	invoke, complete int64 // of all its lines
	at               map[int64]string
}

// queue is everything about one queue.
type queue struct {
	queueKey
	sends  []*send
	pulls  []pull
	others []pull // receives and dead letters: read, but not in order
	copies []*memberCopy
	seen   map[string]*sighting // what was read, built by the judgement
	at     map[int64]string     // one of the values that were read at an offset
	high   int64                // the highest offset read, or Unknown
}

// Add takes the next operation. An error says that the history is none: no client
// can have seen this.
func (c *Checker) Add(o Operation) error {
	if err := o.validate(); err != nil {
		return fmt.Errorf("check history: %w", err)
	}
	c.ops++
	if o.Op == Heal {
		if c.healed == nil || o.Complete > c.healed.Complete {
			c.healed = &o
		}
		return nil
	}
	key := queueKey{o.Topic, o.Queue}
	q := c.queues[key]
	if q == nil {
		q = &queue{queueKey: key, seen: map[string]*sighting{}, at: map[int64]string{}, high: Unknown}
		c.queues[key] = q
	}
	switch o.Op {
	case Send:
		return c.addSend(q, o)
	case Pull, Receive, Dead:
		if o.Outcome == OK {
			c.addRead(q, o)
		}
	case Drain:
		if o.Outcome == OK {
			c.report.Drained += len(o.Messages)
			return q.addDrain(o)
		}
	case Recall:
		c.recalls[o.Value] = append(c.recalls[o.Value], o)
	case End:
		t := c.transaction(o.Transaction)
		t.ends = append(t.ends, o)
	case Commit, Progress, Ack:
		c.addToGroup(key, o)
	}
	return nil
}

func (c *Checker) addRead(q *queue, o Operation) {
	read := pull{o.Client, o.Invoke, o.Complete, o.Offset, o.Seek, o.Messages}
	switch o.Op {
	case Pull:
		c.report.Pulled += len(o.Messages)
		q.pulls = append(q.pulls, read)
	case Receive:
		c.report.Received += len(o.Messages)
		q.others = append(q.others, read)
	default:
		q.others = append(q.others, read)
	}
	if o.Group != "" {
		c.addToGroup(q.queueKey, o)
	}
}

func (c *Checker) addToGroup(key queueKey, o Operation) {
	group := groupKey{key, o.Group}
	c.groups[group] = append(c.groups[group], o)
}

func (c *Checker) addSend(q *queue, o Operation) error {
	if c.values[o.Value] != nil {
		return fmt.Errorf("check history: value %q is sent twice: values must be unique", o.Value)
	}
	switch o.Outcome {
	case OK:
		c.report.Acked++
	case Fail:
		c.report.Failed++
	case Info:
		c.report.Info++
	}
	s := &send{
		queue: q, client: o.Client, value: o.Value, producer: o.Producer, epoch: o.Epoch, sequence: o.Sequence,
		invoke: o.Invoke, complete: o.Complete, outcome: o.Outcome, offset: o.Offset, number: len(q.sends), due: o.Due, fifo: o.Fifo,
	}
	if o.Transaction != "" {
		s.transaction = c.transaction(o.Transaction)
		s.transaction.sends = append(s.transaction.sends, s)
	}
	if s.numbered = o.Sequence; o.Number > 0 {
		s.numbered = o.Number - 1
	}
	c.values[o.Value] = s
	q.sends = append(q.sends, s)
	return nil
}

func (q *queue) addDrain(o Operation) error {
	i := slices.IndexFunc(q.copies, func(m *memberCopy) bool { return m.member == o.Member })
	if i < 0 {
		i = len(q.copies)
		q.copies = append(q.copies, &memberCopy{member: o.Member, first: o.First, end: o.End, invoke: o.Invoke, at: map[int64]string{}})
	}
	m := q.copies[i]
	if m.first != o.First || m.end != o.End {
		return fmt.Errorf("check history: drain of %s/%d from %s says %d to %d, and %d to %d before", o.Topic, o.Queue, o.Member, o.First, o.End, m.first, m.end)
	}
	m.invoke, m.complete = min(m.invoke, o.Invoke), max(m.complete, o.Complete)
	for _, message := range o.Messages {
		if _, twice := m.at[message.Offset]; twice {
			return fmt.Errorf("check history: drain of %s/%d from %s has offset %d twice", o.Topic, o.Queue, o.Member, message.Offset)
		}
		m.at[message.Offset] = message.Value
	}
	return nil
}

// Ops is how many operations were added.
func (c *Checker) Ops() int { return c.ops }

// Report judges everything that was added. It is called once.
func (c *Checker) Report() Report {
	r := &c.report
	r.Anomalies = map[Class]int{}
	judged := false
	c.settle(r)
	for _, key := range slices.SortedFunc(maps.Keys(c.queues), compareKeys) {
		q := c.queues[key]
		q.judgeCopies(c.options, r)
		q.lookAround(r)
		q.judgeSightings(c, r)
		q.judgeLoss(c.options, r)
		q.judgeConsumers(r)
		q.judgeOrder(r)
		q.judgeSequences(r)
		q.judgeUnseen(c.options, c.healed, r)
		if len(q.sends) > 0 && (!judged || len(q.copies) < r.Copies) {
			r.Copies, judged = len(q.copies), true
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(c.groups), func(a, b groupKey) int {
		return cmp.Or(compareKeys(a.queueKey, b.queueKey), cmp.Compare(a.group, b.group))
	}) {
		g := &group{groupKey: key, q: c.queues[key.queueKey], ops: c.groups[key]}
		judgeProgress(key, g.ops, len(g.received()) > 0, r)
		g.judge(c.options, r)
	}
	c.judgeTransactions(r)
	return *r
}

func compareKeys(a, b queueKey) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.queue, b.queue))
}

func (q *queue) anomaly(class Class, offset int64, value, format string, args ...any) Anomaly {
	return Anomaly{Class: class, Topic: q.topic, Queue: q.queue, Offset: offset, Value: value, Detail: fmt.Sprintf(format, args...)}
}
