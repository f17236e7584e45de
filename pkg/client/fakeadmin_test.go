package client

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// CreateTopic makes a topic; a request that comes again is answered again.
func (n *fakeNode) CreateTopic(_ context.Context, req *brokerv1.CreateTopicRequest) (*brokerv1.CreateTopicResponse, error) {
	if err := n.notLeader(); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	_, exists := n.c.mu.topics[req.GetName()]
	n.c.mu.Unlock()
	if exists {
		return nil, codeError(codes.AlreadyExists, CodeTopicExists, map[string]string{"outcome": "definite", "node": n.id})
	}
	n.c.topic(req.GetName(), int(req.GetQueues()))
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return &brokerv1.CreateTopicResponse{Topic: &brokerv1.Topic{Name: req.GetName(), QueueIds: n.c.mu.topics[req.GetName()]}}, nil
}

// DeleteTopic removes a topic.
func (n *fakeNode) DeleteTopic(_ context.Context, req *brokerv1.DeleteTopicRequest) (*brokerv1.DeleteTopicResponse, error) {
	if err := n.notLeader(); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	delete(n.c.mu.topics, req.GetName())
	return &brokerv1.DeleteTopicResponse{}, nil
}

// ListTopics lists the topics.
func (n *fakeNode) ListTopics(context.Context, *brokerv1.ListTopicsRequest) (*brokerv1.ListTopicsResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	resp := &brokerv1.ListTopicsResponse{}
	for _, name := range slices.Sorted(maps.Keys(n.c.mu.topics)) {
		resp.Topics = append(resp.Topics, &brokerv1.Topic{Name: name, QueueIds: n.c.mu.topics[name]})
	}
	return resp, nil
}

// TransferLeadership makes another member the leader.
func (n *fakeNode) TransferLeadership(_ context.Context, req *brokerv1.TransferLeadershipRequest) (*brokerv1.TransferLeadershipResponse, error) {
	addr := req.GetTransferee() + ":1"
	n.c.mu.Lock()
	known := n.c.mu.nodes[addr] != nil
	n.c.mu.Unlock()
	if !known {
		return nil, codeError(codes.NotFound, CodeUnknownMember, map[string]string{"outcome": "definite"})
	}
	n.c.lead(addr)
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return &brokerv1.TransferLeadershipResponse{Leader: req.GetTransferee(), Term: n.c.mu.term}, nil
}

// DescribeTopic describes from the shared store.
func (n *fakeNode) DescribeTopic(_ context.Context, req *brokerv1.DescribeTopicRequest) (*brokerv1.DescribeTopicResponse, error) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	ids, ok := n.c.mu.topics[req.GetName()]
	if !ok {
		return nil, codeError(codes.NotFound, CodeUnknownTopic, map[string]string{"outcome": "definite", "node": n.id})
	}
	resp := &brokerv1.DescribeTopicResponse{Topic: &brokerv1.Topic{Name: req.GetName(), QueueIds: ids}}
	for i, id := range ids {
		q := n.c.mu.queues[id]
		resp.Queues = append(resp.Queues, &brokerv1.Queue{Queue: uint32(i), FirstOffset: q.first, EndOffset: q.end})
	}
	return resp, nil
}

// GetStatus tells only who it is.
func (n *fakeNode) GetStatus(context.Context, *brokerv1.GetStatusRequest) (*brokerv1.GetStatusResponse, error) {
	return &brokerv1.GetStatusResponse{Status: &brokerv1.MemberStatus{Id: n.id, ClientAddr: n.addr}}, nil
}
