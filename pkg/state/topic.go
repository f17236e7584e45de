package state

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/batch"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// TopicType is which messages a topic takes.
type TopicType uint8

// The types of topics.
const (
	TypeMixed       TopicType = 0 // any
	TypeNormal      TopicType = 1 // what is neither of the following
	TypeFIFO        TopicType = 2 // with a message group
	TypeDelay       TopicType = 3 // with a delivery time
	TypeTransaction TopicType = 4 // half messages
)

// String returns the name that clients see: MIXED, NORMAL, FIFO, DELAY or TRANSACTION.
func (t TopicType) String() string {
	names := [...]string{"MIXED", "NORMAL", "FIFO", "DELAY", "TRANSACTION"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("TYPE(%d)", uint8(t))
}

// typeOf is what the header of a batch says of its messages.
func typeOf(h *batch.Header) TopicType {
	switch {
	case h.TransactionGroup != 0:
		return TypeTransaction
	case h.DeliverAt != 0:
		return TypeDelay
	case h.Grouped:
		return TypeFIFO
	}
	return TypeNormal
}

// TopicSettings is how a topic is; the zero value is the default.
type TopicSettings struct {
	Type TopicType
	// MaxMessageBytes bounds the records of one batch before compression; 0: no bound.
	MaxMessageBytes uint32
	// RetentionMs is for how long messages are served; 0: as long as the ledger has them.
	RetentionMs int64
	// RetentionMessages is how many of the newest messages of each queue are served; 0: all.
	RetentionMessages int64
}

// The bounds of settings, for those that are not 0.
const (
	MinMaxMessageBytes = 1 << 10
	MinRetentionMs     = 1_000
	MaxRetentionMs     = 100 * 365 * 24 * int64(time.Hour/time.Millisecond)
	MaxRetained        = 1 << 53 // messages of a queue
	// MaxDeleteGraceMs is for how long a deleted topic can be had back at most.
	MaxDeleteGraceMs = 30 * 24 * int64(time.Hour/time.Millisecond)
	// MaxPurge is how many deleted topics one command may remove.
	MaxPurge = 64
)

// with returns the settings as c changes them.
func (s TopicSettings) with(c *recordv1.TopicSettings) TopicSettings {
	if c == nil {
		return s
	}
	if c.Type != nil {
		s.Type = TopicType(min(255, c.GetType()))
	}
	if c.MaxMessageBytes != nil {
		s.MaxMessageBytes = c.GetMaxMessageBytes()
	}
	if c.RetentionMs != nil {
		s.RetentionMs = c.GetRetentionMs()
	}
	if c.RetentionMessages != nil {
		s.RetentionMessages = c.GetRetentionMessages()
	}
	return s
}

// Check says what is wrong with the settings; empty: nothing. It is part of the state
// machine: it must not change.
func (s TopicSettings) Check() string {
	switch {
	case s.Type > TypeTransaction:
		return fmt.Sprintf("there is no topic type %d", s.Type)
	case s.MaxMessageBytes != 0 && (s.MaxMessageBytes < MinMaxMessageBytes || s.MaxMessageBytes > batch.MaxBatchBytes):
		return fmt.Sprintf("max_message_bytes is %d: 0, or %d to %d are possible", s.MaxMessageBytes, MinMaxMessageBytes, batch.MaxBatchBytes)
	case s.RetentionMs != 0 && (s.RetentionMs < MinRetentionMs || s.RetentionMs > MaxRetentionMs):
		return fmt.Sprintf("retention is %d ms: 0, or %d to %d are possible", s.RetentionMs, MinRetentionMs, MaxRetentionMs)
	case s.RetentionMessages < 0 || s.RetentionMessages > MaxRetained:
		return fmt.Sprintf("retention is %d messages: 0 to %d are possible", s.RetentionMessages, int64(MaxRetained))
	}
	return ""
}

// text is the settings as a request repeats them.
func settingsText(c *recordv1.TopicSettings) string {
	field := func(set bool, v int64) string {
		if !set {
			return "-"
		}
		return fmt.Sprint(v)
	}
	return field(c.GetType() != 0 || c != nil && c.Type != nil, int64(c.GetType())) + "," +
		field(c != nil && c.MaxMessageBytes != nil, int64(c.GetMaxMessageBytes())) + "," +
		field(c != nil && c.RetentionMs != nil, c.GetRetentionMs()) + "," +
		field(c != nil && c.RetentionMessages != nil, c.GetRetentionMessages())
}

// Topic is a name and its queues. A *Topic that a Store handed out never changes
// and must not be changed.
type Topic struct {
	Name string
	// Queues are in queue order: Queues[2] is the number of the topic's queue 2. Each is
	// higher than the one before; where the topic has grown, they are not consecutive.
	Queues []QueueID
	// CreatedUnixMs is the leader's clock when it proposed the topic.
	CreatedUnixMs int64
	Settings      TopicSettings
	// UndeleteUntilUnixMs is set on a deleted topic: until when it can be had back at
	// least; 0: it is not deleted.
	UndeleteUntilUnixMs int64
	// Growths are when queues were added, oldest first.
	Growths []Growth
}

// Growth is one enlargement of a topic.
type Growth struct {
	From  int   // the first of the queues that came with it
	Index Index // of the entry that brought them
}

// Since is the entry that brought the topic's queue number n when the topic grew;
// NoIndex: it is there since the beginning.
func (t *Topic) Since(n int) Index {
	since := NoIndex
	for _, g := range t.Growths {
		if n >= g.From {
			since = g.Index
		}
	}
	return since
}

// Deleted says whether the topic is deleted, and so only there to be had back.
func (t *Topic) Deleted() bool { return t.UndeleteUntilUnixMs != 0 }

// has says whether q is one of the topic's queues.
func (t *Topic) has(q QueueID) bool {
	_, ok := slices.BinarySearch(t.Queues, q)
	return ok
}

// runs calls each with the first and the last of every run of consecutive queue ids.
func (t *Topic) runs(each func(first, last QueueID)) {
	for i := 0; i < len(t.Queues); {
		end := i + 1
		for end < len(t.Queues) && t.Queues[end] == t.Queues[end-1]+1 {
			end++
		}
		each(t.Queues[i], t.Queues[end-1])
		i = end
	}
}

// judge says why a batch is not for this topic; the code is empty if it is.
func (t *Topic) judge(h *batch.Header) (code, message string) {
	switch {
	case t.Deleted():
		return CodeTopicDeleted, t.deletedMessage()
	case t.Settings.Type != TypeMixed && t.Settings.Type != typeOf(h):
		return CodeMessageTypeMismatch, fmt.Sprintf("topic %s takes %s messages, this is a batch of %s messages", t.Name, t.Settings.Type, typeOf(h))
	case t.Settings.MaxMessageBytes != 0 && h.RecordsBytes > t.Settings.MaxMessageBytes:
		return CodeMessageTooLarge, fmt.Sprintf("topic %s takes %d bytes in a batch, before compression; this one has %d", t.Name, t.Settings.MaxMessageBytes, h.RecordsBytes)
	}
	return CodeOK, ""
}

func (t *Topic) deletedMessage() string {
	return fmt.Sprintf("topic %s is deleted; it can be undeleted until %s", t.Name, time.UnixMilli(t.UndeleteUntilUnixMs).UTC().Format(time.RFC3339))
}

// Topics whose settings are the defaults, that never grew and are not deleted have
// version 1, which every build reads.
const topicVersion = 2

func (t *Topic) plain() bool {
	return t.Settings == TopicSettings{} && !t.Deleted() && len(t.Growths) == 0
}

func (t *Topic) append(b []byte) []byte {
	version := byte(topicVersion)
	if t.plain() {
		version = valueVersion
	}
	b = append(b, version)
	b = binary.AppendVarint(b, t.CreatedUnixMs)
	b = binary.AppendUvarint(b, uint64(len(t.Queues)))
	for _, q := range t.Queues {
		b = binary.AppendUvarint(b, uint64(q))
	}
	if version == valueVersion {
		return b
	}
	b = append(b, byte(t.Settings.Type))
	b = binary.AppendUvarint(b, uint64(t.Settings.MaxMessageBytes))
	b = binary.AppendUvarint(b, uint64(t.Settings.RetentionMs))
	b = binary.AppendUvarint(b, uint64(t.Settings.RetentionMessages))
	b = binary.AppendUvarint(b, uint64(t.UndeleteUntilUnixMs))
	b = binary.AppendUvarint(b, uint64(len(t.Growths)))
	for _, g := range t.Growths {
		b = binary.AppendUvarint(b, uint64(g.From))
		b = binary.AppendUvarint(b, uint64(g.Index))
	}
	return b
}

func parseTopic(name string, b []byte) (*Topic, error) {
	r := valueReader{b: b}
	more := len(b) > 0 && b[0] == topicVersion
	if more {
		r.b = b[1:]
	} else {
		r.version()
	}
	t := &Topic{Name: name, CreatedUnixMs: r.varint()}
	t.Queues = r.queues()
	if !more {
		return t, r.end()
	}
	t.Settings = TopicSettings{Type: TopicType(min(255, r.uvarint())), MaxMessageBytes: r.uint32(), RetentionMs: r.int64(), RetentionMessages: r.int64()}
	t.UndeleteUntilUnixMs = r.int64()
	n := r.uvarint()
	if n >= uint64(max(1, len(t.Queues))) {
		return nil, errValue
	}
	for range n {
		g := Growth{From: int(r.uint32()), Index: Index(r.int64())}
		if last := len(t.Growths) - 1; g.From == 0 || g.From >= len(t.Queues) || last >= 0 && (g.From <= t.Growths[last].From || g.Index <= t.Growths[last].Index) {
			return nil, errValue
		}
		t.Growths = append(t.Growths, g)
	}
	if t.Settings.Check() != "" || t.plain() {
		return nil, errValue
	}
	return t, r.end()
}
