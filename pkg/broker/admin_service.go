package broker

import (
	"context"

	"github.com/google/uuid"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// adminService manages topics and leadership: broker.v1.AdminService. Reads go to
// the leader too, so that whoever created a topic sees it at once, whichever
// broker it asks.
type adminService struct {
	brokerv1.UnsafeAdminServiceServer

	router    *router
	proposer  *proposer
	store     *state.Store
	ledger    *dledger.Server
	disk      *diskGuard
	maxQueues int
}

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
	out, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_CreateTopic{CreateTopic: &recordv1.CreateTopic{Name: req.GetName(), Queues: req.GetQueues()}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.CreateTopicResponse{Topic: topicMessage(out.Topic)}, nil
}

// checkTopicName refuses names that could not stand in a path or a metric.
func checkTopicName(name string) error {
	if !namePattern.MatchString(name) || name == "." || name == ".." {
		return errorf(CodeInvalidTopicName, "topic name %q: use 1 to 127 of a-z A-Z 0-9 . _ - and not \".\" or \"..\"", name)
	}
	return nil
}

// DeleteTopic implements broker.v1.AdminService.
func (s *adminService) DeleteTopic(ctx context.Context, req *brokerv1.DeleteTopicRequest) (*brokerv1.DeleteTopicResponse, error) {
	if req.GetRequestId() == "" {
		req.RequestId = uuid.NewString()
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_DeleteTopic_FullMethodName, true, req, s.deleteTopic)
}

func (s *adminService) deleteTopic(ctx context.Context, _ *leadership, req *brokerv1.DeleteTopicRequest) (*brokerv1.DeleteTopicResponse, error) {
	_, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_DeleteTopic{DeleteTopic: &recordv1.DeleteTopic{Name: req.GetName()}},
	})
	if err != nil {
		return nil, err
	}
	return &brokerv1.DeleteTopicResponse{}, nil
}

// ListTopics implements broker.v1.AdminService.
func (s *adminService) ListTopics(ctx context.Context, req *brokerv1.ListTopicsRequest) (*brokerv1.ListTopicsResponse, error) {
	return atLeader(ctx, s.router, brokerv1.AdminService_ListTopics_FullMethodName, true, req, s.listTopics)
}

func (s *adminService) listTopics(context.Context, *leadership, *brokerv1.ListTopicsRequest) (*brokerv1.ListTopicsResponse, error) {
	resp := &brokerv1.ListTopicsResponse{}
	for _, topic := range s.store.Topics() {
		resp.Topics = append(resp.Topics, topicMessage(topic))
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
		return nil, unknownTopic(req.GetName())
	}
	resp := &brokerv1.DescribeTopicResponse{Topic: topicMessage(topic)}
	for i, id := range topic.Queues {
		first, end, ok := s.store.QueueRange(id)
		if !ok {
			return nil, unknownTopic(req.GetName()) // deleted just now
		}
		resp.Queues = append(resp.Queues, &brokerv1.Queue{Queue: uint32(i), FirstOffset: int64(first), EndOffset: int64(end)})
	}
	return resp, nil
}

func unknownTopic(name string) *Error {
	return errorf(CodeUnknownTopic, "there is no topic %q", name)
}

// TransferLeadership implements broker.v1.AdminService.
func (s *adminService) TransferLeadership(ctx context.Context, req *brokerv1.TransferLeadershipRequest) (*brokerv1.TransferLeadershipResponse, error) {
	return atLeader(ctx, s.router, brokerv1.AdminService_TransferLeadership_FullMethodName, false, req, s.transferLeadership)
}

func (s *adminService) transferLeadership(ctx context.Context, _ *leadership, req *brokerv1.TransferLeadershipRequest) (*brokerv1.TransferLeadershipResponse, error) {
	if err := s.ledger.Transfer(ctx, member.ID(req.GetTransferee())); err != nil {
		return nil, err
	}
	view := s.router.view()
	return &brokerv1.TransferLeadershipResponse{Leader: string(view.leader), Term: int64(view.term)}, nil
}

func topicMessage(t *state.Topic) *brokerv1.Topic {
	if t == nil {
		return nil
	}
	m := &brokerv1.Topic{Name: t.Name, CreatedUnixMs: t.CreatedUnixMs}
	for _, id := range t.Queues {
		m.QueueIds = append(m.QueueIds, uint32(id))
	}
	return m
}
