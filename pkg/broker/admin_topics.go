package broker

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// CreateTopic implements broker.v1.AdminService.
func (s *adminService) CreateTopic(ctx context.Context, req *brokerv1.CreateTopicRequest) (*brokerv1.CreateTopicResponse, error) {
	if err := checkTopicName(req.GetName()); err != nil {
		return nil, err
	}
	if n := req.GetQueues(); n < 1 || n > uint32(s.maxQueues) {
		return nil, errorf(CodeLimitExceeded, "a topic has 1 to %d queues (limits.max_queues_per_topic), not %d", s.maxQueues, n)
	}
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_CreateTopic_FullMethodName, true, req, s.createTopic)
}

func (s *adminService) createTopic(ctx context.Context, _ *leadership, req *brokerv1.CreateTopicRequest) (*brokerv1.CreateTopicResponse, error) {
	if err := s.disk.refusal(); err != nil {
		return nil, err
	}
	settings, err := s.settings(req.GetSettings())
	if err != nil {
		return nil, err
	}
	leave, err := s.room.enter(req.GetName(), int(req.GetQueues()))
	if err != nil {
		return nil, err
	}
	defer leave()
	out, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: req.GetName(), Queues: req.GetQueues(), Settings: settings, KeyIndex: req.GetKeyIndex()}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.CreateTopicResponse{Topic: withKeyIndex(s.store, topicMessage(out.Topic))}, nil
}

// settings are those of a request as the ledger has them.
func (s *adminService) settings(m *brokerv1.TopicSettings) (*recordv1.TopicSettings, error) {
	if m == nil {
		return nil, nil
	}
	if limit := m.GetMaxMessageBytes(); int64(limit) > s.maxBatch {
		return nil, errorf(CodeInvalidTopicSettings, "max_message_bytes is %d, above limits.max_batch_bytes, %d", limit, s.maxBatch)
	}
	if ms := m.GetRetentionMs(); ms != 0 && (ms < state.MinRetentionMs || ms > state.MaxRetentionMs) { // before the state does, in a user's units
		return nil, errorf(CodeInvalidTopicSettings, "retention is %s: 0, or %s to %s are possible", durationText(ms), durationText(state.MinRetentionMs), durationText(state.MaxRetentionMs))
	}
	c := &recordv1.TopicSettings{MaxMessageBytes: m.MaxMessageBytes, RetentionMs: m.RetentionMs, RetentionMessages: m.RetentionMessages}
	if m.Type != nil {
		if m.GetType() < 0 {
			return nil, errorf(CodeInvalidTopicSettings, "there is no topic type %d", m.GetType())
		}
		c.Type = new(uint32(m.GetType()))
	}
	return c, nil
}

// checkTopicName refuses names that could not stand in a path or a metric, and so
// everything with % in it: such names are the brokers' own.
func checkTopicName(name string) error {
	if !namePattern.MatchString(name) || name == "." || name == ".." {
		return errorf(CodeInvalidTopicName, "topic name %.140q: use 1 to 127 of a-z A-Z 0-9 . _ - and not \".\" or \"..\"", name)
	}
	return nil
}

// AlterTopic implements broker.v1.AdminService.
func (s *adminService) AlterTopic(ctx context.Context, req *brokerv1.AlterTopicRequest) (*brokerv1.AlterTopicResponse, error) {
	if n := req.GetQueues(); n > uint32(s.maxQueues) {
		return nil, errorf(CodeLimitExceeded, "a topic has 1 to %d queues (limits.max_queues_per_topic), not %d", s.maxQueues, n)
	}
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_AlterTopic_FullMethodName, true, req, s.alterTopic)
}

func (s *adminService) alterTopic(ctx context.Context, _ *leadership, req *brokerv1.AlterTopicRequest) (*brokerv1.AlterTopicResponse, error) {
	if err := s.disk.refusal(); err != nil {
		return nil, err
	}
	settings, err := s.settings(req.GetSettings())
	if err != nil {
		return nil, err
	}
	if topic, ok := s.store.Topic(req.GetName()); ok {
		leave, err := s.room.grow(topic.Name, int(req.GetQueues())-len(topic.Queues))
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	out, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_AlterTopic{AlterTopic: &recordv1.AlterTopic{Name: req.GetName(), Queues: req.GetQueues(), Settings: settings}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.AlterTopicResponse{Topic: withKeyIndex(s.store, topicMessage(out.Topic))}, nil
}

// TrimTopic implements broker.v1.AdminService.
func (s *adminService) TrimTopic(ctx context.Context, req *brokerv1.TrimTopicRequest) (*brokerv1.TrimTopicResponse, error) {
	return atLeader(ctx, s.router, brokerv1.AdminService_TrimTopic_FullMethodName, true, req, s.trimTopic)
}

func (s *adminService) trimTopic(ctx context.Context, _ *leadership, req *brokerv1.TrimTopicRequest) (*brokerv1.TrimTopicResponse, error) {
	switch n := len(req.GetQueues()); {
	case n == 0:
		return nil, errorf(CodeUnknownQueue, "the request names no queue to trim")
	case n > state.MaxTrim:
		return nil, errorf(CodeLimitExceeded, "the request names %d queues, %d are possible", n, state.MaxTrim)
	}
	trim := &recordv1.TrimQueues{}
	for _, t := range req.GetQueues() {
		q, err := resolveQueue(s.store, req.GetName(), t.GetQueue(), t.GetQueueId())
		if err != nil {
			return nil, err
		}
		if _, end, _ := s.store.QueueRange(q.id); t.GetOffset() < 0 || state.Offset(t.GetOffset()) > end {
			return nil, errorf(CodeOffsetTooHigh, "%s/%d ends at %d: it cannot be trimmed to %d", q.topic, q.number, end, t.GetOffset())
		}
		trim.Offsets = append(trim.Offsets, &recordv1.QueueOffset{QueueId: uint32(q.id), Offset: t.GetOffset()})
	}
	if _, err := s.proposer.command(ctx, &recordv1.Command{Kind: &recordv1.Command_TrimQueues{TrimQueues: trim}}); err != nil {
		return nil, err
	}
	resp := &brokerv1.TrimTopicResponse{}
	for i, to := range trim.GetOffsets() {
		first, end, _ := s.store.QueueRange(state.QueueID(to.GetQueueId()))
		resp.Queues = append(resp.Queues, &brokerv1.Queue{Queue: req.GetQueues()[i].GetQueue(), FirstOffset: int64(first), EndOffset: int64(end)})
	}
	return resp, nil
}

// DeleteTopic implements broker.v1.AdminService.
func (s *adminService) DeleteTopic(ctx context.Context, req *brokerv1.DeleteTopicRequest) (*brokerv1.DeleteTopicResponse, error) {
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_DeleteTopic_FullMethodName, true, req, s.deleteTopic)
}

func (s *adminService) deleteTopic(ctx context.Context, _ *leadership, req *brokerv1.DeleteTopicRequest) (*brokerv1.DeleteTopicResponse, error) {
	grace := max(0, s.grace).Milliseconds()
	switch {
	case req.GraceMs != nil:
		grace = req.GetGraceMs()
	case strings.HasPrefix(req.GetName(), deadLetterPrefix):
		grace = 0 // the next dead letter makes it anew
	}
	if grace < 0 || grace > state.MaxDeleteGraceMs { // before the state does, in a user's units
		return nil, errorf(CodeLimitExceeded, "topic %.140q: a grace of %s asked for, 0 to %s are possible", req.GetName(), durationText(grace), durationText(state.MaxDeleteGraceMs))
	}
	out, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: req.GetName(), GraceMs: grace}},
	})
	if err != nil {
		return nil, err
	}
	resp := &brokerv1.DeleteTopicResponse{}
	if out.Topic != nil {
		resp.UndeleteUntilUnixMs = out.Topic.UndeleteUntilUnixMs
	}
	return resp, nil
}

// UndeleteTopic implements broker.v1.AdminService.
func (s *adminService) UndeleteTopic(ctx context.Context, req *brokerv1.UndeleteTopicRequest) (*brokerv1.UndeleteTopicResponse, error) {
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_UndeleteTopic_FullMethodName, true, req, s.undeleteTopic)
}

func (s *adminService) undeleteTopic(ctx context.Context, _ *leadership, req *brokerv1.UndeleteTopicRequest) (*brokerv1.UndeleteTopicResponse, error) {
	out, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_UndeleteTopic{UndeleteTopic: &recordv1.UndeleteTopic{Name: req.GetName()}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.UndeleteTopicResponse{Topic: withKeyIndex(s.store, topicMessage(out.Topic))}, nil
}

// ListTopics implements broker.v1.AdminService.
func (s *adminService) ListTopics(ctx context.Context, req *brokerv1.ListTopicsRequest) (*brokerv1.ListTopicsResponse, error) {
	return atLeader(ctx, s.router, brokerv1.AdminService_ListTopics_FullMethodName, true, req, s.listTopics)
}

func (s *adminService) listTopics(_ context.Context, _ *leadership, req *brokerv1.ListTopicsRequest) (*brokerv1.ListTopicsResponse, error) {
	resp := &brokerv1.ListTopicsResponse{}
	for _, topic := range s.store.AllTopics() {
		if req.GetDeleted() || !topic.Deleted() {
			resp.Topics = append(resp.Topics, withKeyIndex(s.store, topicMessage(topic)))
		}
	}
	return resp, nil
}

// DescribeTopic implements broker.v1.AdminService.
func (s *adminService) DescribeTopic(ctx context.Context, req *brokerv1.DescribeTopicRequest) (*brokerv1.DescribeTopicResponse, error) {
	return atLeader(ctx, s.router, brokerv1.AdminService_DescribeTopic_FullMethodName, true, req, s.describeTopic)
}

func (s *adminService) describeTopic(_ context.Context, _ *leadership, req *brokerv1.DescribeTopicRequest) (*brokerv1.DescribeTopicResponse, error) {
	topic, ok := s.store.Topic(req.GetName())
	if !ok {
		return nil, noTopic(s.store, req.GetName())
	}
	resp := &brokerv1.DescribeTopicResponse{Topic: withKeyIndex(s.store, topicMessage(topic))}
	if req.GetGroups() {
		resp.Groups = s.store.GroupsOf(topic.Queues)
	}
	for i, id := range topic.Queues {
		first, end, ok := s.store.QueueRange(id)
		if !ok {
			return nil, noTopic(s.store, req.GetName()) // removed just now
		}
		resp.Queues = append(resp.Queues, &brokerv1.Queue{Queue: uint32(i), FirstOffset: int64(first), EndOffset: int64(end)})
	}
	return resp, nil
}

// noTopic says why a topic is not there: it never was, or is deleted and can be had back.
func noTopic(store *state.Store, name string) *Error {
	if t, ok := store.AnyTopic(name); ok && t.Deleted() {
		return topicDeleted(name, t.UndeleteUntilUnixMs)
	}
	return errorf(CodeUnknownTopic, "there is no topic %.140q", name)
}

func topicDeleted(name string, untilUnixMs int64) *Error {
	return errorf(CodeTopicDeleted, "topic %s is deleted; it can be undeleted until %s", name, time.UnixMilli(untilUnixMs).UTC().Format(time.RFC3339))
}

func topicMessage(t *state.Topic) *brokerv1.Topic {
	if t == nil {
		return nil
	}
	m := &brokerv1.Topic{
		Name: t.Name, CreatedUnixMs: t.CreatedUnixMs, UndeleteUntilUnixMs: t.UndeleteUntilUnixMs,
		Settings: &brokerv1.TopicSettings{
			Type: new(brokerv1.MessageType(t.Settings.Type)), MaxMessageBytes: new(t.Settings.MaxMessageBytes),
			RetentionMs: new(t.Settings.RetentionMs), RetentionMessages: new(t.Settings.RetentionMessages),
		},
	}
	for _, id := range t.Queues {
		m.QueueIds = append(m.QueueIds, uint32(id))
	}
	return m
}
