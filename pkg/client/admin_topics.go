package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// TopicType is which messages a topic takes. Publishing any other is refused with
// ErrMessageTypeMismatch.
type TopicType int

// The types of topics.
const (
	// MixedTopic takes all messages. It is the default.
	MixedTopic TopicType = iota
	// NormalTopic takes what none of the following is.
	NormalTopic
	// FIFOTopic takes messages with a MessageGroup, and keeps the order of each group.
	FIFOTopic
	// DelayTopic takes messages with a delivery time.
	DelayTopic
	// TransactionTopic takes messages of transactions.
	TransactionTopic
)

var topicTypes = []string{"MIXED", "NORMAL", "FIFO", "DELAY", "TRANSACTION"}

// String returns MIXED, NORMAL, FIFO, DELAY or TRANSACTION.
func (t TopicType) String() string {
	if t < 0 || int(t) >= len(topicTypes) {
		return fmt.Sprintf("TYPE(%d)", int(t))
	}
	return topicTypes[t]
}

// ParseTopicType is the inverse of String; upper and lower case are the same.
func ParseTopicType(name string) (TopicType, error) {
	if at := slices.Index(topicTypes, strings.ToUpper(name)); at >= 0 {
		return TopicType(at), nil
	}
	return 0, errorf(CodeInvalidConfig, "%q is not one of %s", name, strings.Join(topicTypes, ", "))
}

// TopicSettings is how a topic is; the zero value is the default.
type TopicSettings struct {
	Type TopicType
	// MaxMessageBytes bounds the records of one batch before compression, and so each
	// message: 1 KiB to what the brokers take. 0: only their own limit.
	MaxMessageBytes int
	// Retention is for how long messages are served, in whole milliseconds, 1 s to 100
	// years. 0: as long as the ledger has them.
	Retention time.Duration
	// RetentionMessages is how many of the newest messages of each queue are served. 0: all.
	RetentionMessages int64
	// KeyIndex has its messages found by key and id without a scan. It costs time and
	// storage for each message (docs/performance.md). Admin.SetKeyIndex changes it.
	KeyIndex bool
}

// TopicChange is what becomes of a topic; what is nil, and Queues if it is 0, stays.
type TopicChange struct {
	// Queues is how many the topic shall have, no fewer than now.
	Queues            int
	Type              *TopicType
	MaxMessageBytes   *int
	Retention         *time.Duration
	RetentionMessages *int64
}

// Topic is a topic and, where they were asked for, its queues.
type Topic struct {
	Name     string
	Created  time.Time
	Settings TopicSettings
	Queues   []QueueRange
	// UndeleteUntil is set on a deleted topic: until when it can be had back.
	UndeleteUntil time.Time
	// Groups are the consumer groups that have progress in the topic, if they were asked for.
	Groups []string

	queueIDs []uint32
}

// QueueRange is which offsets a queue holds: First up to but not including End.
type QueueRange struct {
	Queue      int
	First, End int64
}

// CreateTopic makes a topic with n queues. Errors: ErrTopicExists, ErrTopicDeleted,
// ErrInvalidTopicName.
func (a *Admin) CreateTopic(ctx context.Context, name string, n int) (*Topic, error) {
	return a.createTopic(ctx, name, n, &brokerv1.CreateTopicRequest{})
}

// CreateTopicWith is CreateTopic with settings. Error: ErrInvalidTopicSettings, too.
func (a *Admin) CreateTopicWith(ctx context.Context, name string, n int, s TopicSettings) (*Topic, error) {
	message, err := (&TopicChange{Type: &s.Type, MaxMessageBytes: &s.MaxMessageBytes, Retention: &s.Retention, RetentionMessages: &s.RetentionMessages}).settings()
	if err != nil {
		return nil, err
	}
	return a.createTopic(ctx, name, n, &brokerv1.CreateTopicRequest{Settings: message, KeyIndex: s.KeyIndex})
}

// maxTopicQueues is more than any broker can be configured to.
const maxTopicQueues = 1 << 16

func wrongQueues(n int) error {
	return errorf(CodeInvalidConfig, "a topic cannot have %d queues: 1 or more, and no more than limits.max_queues_per_topic of the brokers (1024 by default)", n)
}

func (a *Admin) createTopic(ctx context.Context, name string, n int, request *brokerv1.CreateTopicRequest) (*Topic, error) {
	if n < 1 || n > maxTopicQueues {
		return nil, wrongQueues(n)
	}
	request.Name, request.Queues, request.RequestId = name, uint32(n), newRequestID()
	var topic *Topic
	err := a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.CreateTopic(ctx, request)
		topic = toTopic(resp.GetTopic(), nil)
		return err
	})
	return topic, err
}

// settings translates what the change says of settings.
func (c *TopicChange) settings() (*brokerv1.TopicSettings, error) {
	m := &brokerv1.TopicSettings{RetentionMessages: c.RetentionMessages}
	if c.Type != nil {
		m.Type = new(brokerv1.MessageType(*c.Type))
	}
	if c.MaxMessageBytes != nil {
		if *c.MaxMessageBytes < 0 || *c.MaxMessageBytes > 1<<30 {
			return nil, errorf(CodeInvalidTopicSettings, "MaxMessageBytes is %d: 0, or 1024 to limits.max_batch_bytes of the brokers, are possible", *c.MaxMessageBytes)
		}
		m.MaxMessageBytes = new(uint32(*c.MaxMessageBytes))
	}
	if c.Retention != nil {
		if *c.Retention != 0 && *c.Retention < time.Millisecond {
			return nil, errorf(CodeInvalidTopicSettings, "Retention is %v: 0, or 1s to 876000h (100 years), are possible", *c.Retention)
		}
		m.RetentionMs = new(c.Retention.Milliseconds())
	}
	return m, nil
}

// AlterTopic changes a topic. Producers and consumer groups that run see new queues
// within seconds; which messages then go where, docs/topics.md says. Errors:
// ErrUnknownTopic, ErrInvalidTopicChange, ErrInvalidTopicSettings.
func (a *Admin) AlterTopic(ctx context.Context, name string, change TopicChange) (*Topic, error) {
	if change.Queues < 0 || change.Queues > maxTopicQueues {
		return nil, wrongQueues(change.Queues)
	}
	settings, err := change.settings()
	if err != nil {
		return nil, err
	}
	request := &brokerv1.AlterTopicRequest{Name: name, Queues: uint32(change.Queues), Settings: settings, RequestId: newRequestID()}
	var topic *Topic
	err = a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.AlterTopic(ctx, request)
		topic = toTopic(resp.GetTopic(), nil)
		return err
	})
	return topic, err
}

// TrimTopic deletes the messages below an offset from some queues, each named by its
// number. A queue that begins later already stays as it is. It returns what these
// queues hold then. Errors: ErrUnknownTopic, ErrUnknownQueue, ErrOffsetTooHigh.
func (a *Admin) TrimTopic(ctx context.Context, name string, to map[int]int64) ([]QueueRange, error) {
	topic, err := a.DescribeTopic(ctx, name)
	if err != nil {
		return nil, err
	}
	request := &brokerv1.TrimTopicRequest{Name: name}
	for q, offset := range to {
		if q < 0 || q >= len(topic.queueIDs) {
			return nil, errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", name, len(topic.queueIDs)-1, q)
		}
		request.Queues = append(request.Queues, &brokerv1.TrimmedQueue{Queue: uint32(q), QueueId: topic.queueIDs[q], Offset: offset})
	}
	slices.SortFunc(request.GetQueues(), func(a, b *brokerv1.TrimmedQueue) int { return int(a.GetQueue()) - int(b.GetQueue()) })
	var ranges []QueueRange
	err = a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.TrimTopic(ctx, request)
		ranges = nil
		for _, q := range resp.GetQueues() {
			ranges = append(ranges, QueueRange{Queue: int(q.GetQueue()), First: q.GetFirstOffset(), End: q.GetEndOffset()})
		}
		return err
	})
	return ranges, err
}

// DeleteTopic removes a topic with all its messages, after the grace that the brokers
// are configured to: until then UndeleteTopic gives it back. A topic of dead letters has no
// grace. Errors: ErrUnknownTopic, ErrTopicDeleted.
func (a *Admin) DeleteTopic(ctx context.Context, name string) error {
	_, err := a.deleteTopic(ctx, name, nil)
	return err
}

// DefaultGrace is the grace that the brokers are configured to.
const DefaultGrace time.Duration = -1

// DeleteTopicWithGrace is DeleteTopic with a grace of its own, up to 30 days; 0: the
// topic is gone at once, also one that is deleted already. It returns until when it can be
// had back, the zero time if it cannot.
func (a *Admin) DeleteTopicWithGrace(ctx context.Context, name string, grace time.Duration) (until time.Time, err error) {
	if grace == DefaultGrace {
		return a.deleteTopic(ctx, name, nil)
	}
	if grace < 0 {
		return until, errorf(CodeInvalidConfig, "the grace is %v: 0 to 720h are possible", grace)
	}
	return a.deleteTopic(ctx, name, new(grace.Milliseconds()))
}

func (a *Admin) deleteTopic(ctx context.Context, name string, graceMs *int64) (until time.Time, err error) {
	request := &brokerv1.DeleteTopicRequest{Name: name, RequestId: newRequestID(), GraceMs: graceMs}
	err = a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.DeleteTopic(ctx, request)
		until = unixTime(resp.GetUndeleteUntilUnixMs())
		return err
	})
	return until, err
}

// UndeleteTopic gives a deleted topic back, with all that it held. Errors:
// ErrUnknownTopic (it is gone), ErrTopicNotDeleted.
func (a *Admin) UndeleteTopic(ctx context.Context, name string) (*Topic, error) {
	request := &brokerv1.UndeleteTopicRequest{Name: name, RequestId: newRequestID()}
	var topic *Topic
	err := a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.UndeleteTopic(ctx, request)
		topic = toTopic(resp.GetTopic(), nil)
		return err
	})
	return topic, err
}

// ListTopics returns all topics by name; the ranges of their queues are not filled in.
func (a *Admin) ListTopics(ctx context.Context) ([]*Topic, error) { return a.listTopics(ctx, false) }

// ListAllTopics is ListTopics with those that are deleted and can be had back.
func (a *Admin) ListAllTopics(ctx context.Context) ([]*Topic, error) { return a.listTopics(ctx, true) }

func (a *Admin) listTopics(ctx context.Context, deleted bool) ([]*Topic, error) {
	var topics []*Topic
	err := a.call(ctx, reading, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.ListTopics(ctx, &brokerv1.ListTopicsRequest{Deleted: deleted})
		topics = nil
		for _, t := range resp.GetTopics() {
			topics = append(topics, toTopic(t, nil))
		}
		return err
	})
	return topics, err
}

// DescribeTopic returns a topic with what its queues hold. Errors: ErrUnknownTopic,
// ErrTopicDeleted.
func (a *Admin) DescribeTopic(ctx context.Context, name string) (*Topic, error) {
	return a.describeTopic(ctx, &brokerv1.DescribeTopicRequest{Name: name})
}

// DescribeTopicAndReaders is DescribeTopic with the consumer groups that read it.
func (a *Admin) DescribeTopicAndReaders(ctx context.Context, name string) (*Topic, error) {
	return a.describeTopic(ctx, &brokerv1.DescribeTopicRequest{Name: name, Groups: true})
}

func (a *Admin) describeTopic(ctx context.Context, request *brokerv1.DescribeTopicRequest) (*Topic, error) {
	var topic *Topic
	err := a.call(ctx, reading, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.DescribeTopic(ctx, request)
		topic = toTopic(resp.GetTopic(), resp.GetQueues())
		topic.Groups = resp.GetGroups()
		return err
	})
	return topic, err
}

func toTopic(t *brokerv1.Topic, queues []*brokerv1.Queue) *Topic {
	s := t.GetSettings()
	topic := &Topic{
		Name:    t.GetName(),
		Created: time.UnixMilli(t.GetCreatedUnixMs()),
		Settings: TopicSettings{
			Type: TopicType(s.GetType()), MaxMessageBytes: int(s.GetMaxMessageBytes()),
			Retention: time.Duration(s.GetRetentionMs()) * time.Millisecond, RetentionMessages: s.GetRetentionMessages(),
			KeyIndex: t.GetKeyIndex(),
		},
		Queues:        make([]QueueRange, len(t.GetQueueIds())),
		UndeleteUntil: unixTime(t.GetUndeleteUntilUnixMs()),
		queueIDs:      t.GetQueueIds(),
	}
	for i := range topic.Queues {
		topic.Queues[i].Queue = i
	}
	for _, q := range queues {
		if n := int(q.GetQueue()); n < len(topic.Queues) {
			topic.Queues[n].First, topic.Queues[n].End = q.GetFirstOffset(), q.GetEndOffset()
		}
	}
	return topic
}

// unixTime is the zero time for 0.
func unixTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
