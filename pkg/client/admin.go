package client

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Admin manages topics and leadership and asks how the members are. Its requests
// are tried again until their context or Config.RequestTimeout ends; they carry a
// request id, so that a try that succeeded unheard does no harm. A transfer, which
// has none, is not tried again once it may have happened.
type Admin struct{ c *Client }

// Admin returns the administration side of the client.
func (c *Client) Admin() *Admin { return &Admin{c: c} }

// Topic is a topic and, where they were asked for, its queues.
type Topic struct {
	Name    string
	Created time.Time
	Queues  []QueueRange

	queueIDs []uint32
}

// QueueRange is which offsets a queue holds: First up to but not including End.
type QueueRange struct {
	Queue      int
	First, End int64
}

// CreateTopic makes a topic with n queues. Errors: ErrTopicExists, ErrInvalidTopicName.
func (a *Admin) CreateTopic(ctx context.Context, name string, n int) (*Topic, error) {
	if n < 1 || n > 1<<16 {
		return nil, errorf(CodeInvalidConfig, "a topic has 1 to 65536 queues, not %d", n)
	}
	request := &brokerv1.CreateTopicRequest{Name: name, Queues: uint32(n), RequestId: newRequestID()}
	var topic *Topic
	err := a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.CreateTopic(ctx, request)
		topic = toTopic(resp.GetTopic(), nil)
		return err
	})
	return topic, err
}

// DeleteTopic removes a topic with all its messages. Error: ErrUnknownTopic.
func (a *Admin) DeleteTopic(ctx context.Context, name string) error {
	request := &brokerv1.DeleteTopicRequest{Name: name, RequestId: newRequestID()}
	return a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		_, err := s.DeleteTopic(ctx, request)
		return err
	})
}

// ListTopics returns all topics by name; the ranges of their queues are not filled in.
func (a *Admin) ListTopics(ctx context.Context) ([]*Topic, error) {
	var topics []*Topic
	err := a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.ListTopics(ctx, &brokerv1.ListTopicsRequest{})
		topics = nil
		for _, t := range resp.GetTopics() {
			topics = append(topics, toTopic(t, nil))
		}
		return err
	})
	return topics, err
}

// DescribeTopic returns a topic with what its queues hold. Error: ErrUnknownTopic.
func (a *Admin) DescribeTopic(ctx context.Context, name string) (*Topic, error) {
	var topic *Topic
	err := a.call(ctx, harmless, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.DescribeTopic(ctx, &brokerv1.DescribeTopicRequest{Name: name})
		topic = toTopic(resp.GetTopic(), resp.GetQueues())
		return err
	})
	return topic, err
}

// Transfer makes the member named to the leader; "" lets the leader choose. It
// returns the new leader. Errors: ErrUnknownMember, ErrTransferFailed.
func (a *Admin) Transfer(ctx context.Context, to string) (leader string, term int64, err error) {
	err = a.call(ctx, harmful, func(ctx context.Context, s brokerv1.AdminServiceClient) error {
		resp, err := s.TransferLeadership(ctx, &brokerv1.TransferLeadershipRequest{Transferee: to})
		leader, term = resp.GetLeader(), resp.GetTerm()
		return err
	})
	return leader, term, err
}

func (a *Admin) call(ctx context.Context, again repeat, do func(context.Context, brokerv1.AdminServiceClient) error) error {
	return a.c.invoke(ctx, again, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		return do(ctx, brokerv1.NewAdminServiceClient(cc))
	})
}

func toTopic(t *brokerv1.Topic, queues []*brokerv1.Queue) *Topic {
	topic := &Topic{
		Name:     t.GetName(),
		Created:  time.UnixMilli(t.GetCreatedUnixMs()),
		Queues:   make([]QueueRange, len(t.GetQueueIds())),
		queueIDs: t.GetQueueIds(),
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

// NodeStatus is what one member says of itself, or why it says nothing.
type NodeStatus struct {
	// ID is the member's id, "" when it is not known.
	ID     string
	Addr   string
	Status *brokerv1.GetStatusResponse
	Err    error
}

// statusTimeout bounds how long one member may take to tell its status.
const statusTimeout = 2 * time.Second

// Status asks every known member; one that does not answer within two seconds has
// its Err set. Members that are reached by two addresses appear once.
func (a *Admin) Status(ctx context.Context) ([]NodeStatus, error) {
	r := a.c.router.route()
	all := make([]NodeStatus, len(r.nodes))
	g := errgroup.Group{}
	for i, n := range r.nodes {
		g.Go(func() error {
			ctx, cancel := context.WithTimeoutCause(ctx, statusTimeout, errNoAnswer)
			defer cancel()
			resp, err := brokerv1.NewStatusServiceClient(n.conn).GetStatus(ctx, &brokerv1.GetStatusRequest{})
			all[i] = NodeStatus{ID: r.ids[n.addr], Addr: n.addr}
			if err != nil {
				all[i].Err = fromRPC(ctx, err)
				return nil
			}
			all[i].Status, all[i].ID = resp, resp.GetStatus().GetId()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return dedupNodes(all, r.ids), nil
}

// dedupNodes drops seeds that are another address of a member in the list, and
// those that are dead while all members are known by other addresses.
func dedupNodes(all []NodeStatus, ids map[string]string) []NodeStatus {
	seen := map[string]bool{}
	var list []NodeStatus
	for _, advertised := range []bool{true, false} {
		for _, s := range all {
			if (ids[s.Addr] != "") != advertised || seen[s.ID] {
				continue
			}
			if !advertised && s.Err != nil && len(ids) > 0 {
				continue
			}
			seen[s.ID] = s.ID != ""
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	return list
}
