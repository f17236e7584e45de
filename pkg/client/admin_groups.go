package client

import (
	"context"
	"time"

	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// Group is a consumer group as a whole.
type Group struct {
	Name       string
	Assignment GroupAssignment
	Paused     bool
	Created    time.Time
	Members    int
	// Queues is in how many it has progress, Lag how many messages it has not consumed there.
	Queues int
	Lag    int64
	// Work is set on a work-queue group. Its offsets are floors: all below them is done.
	Work *WorkPolicy
}

// GroupDescription is a consumer group with its members and its queues.
type GroupDescription struct {
	Group
	MemberList []GroupMember
	QueueList  []GroupQueue
}

// GroupMember is one member of a consumer group.
type GroupMember struct {
	Name    string
	Queues  int
	Healthy bool
	// Heard is how long ago the leader heard it last.
	Heard time.Duration
}

// GroupQueue is how a consumer group stands in one queue.
type GroupQueue struct {
	Topic string
	Queue int
	// Offset is the next message that the group wants; -1: it never said.
	Offset, First, End int64
	// Lag is how many messages are kept and not consumed, Waiting for how long the oldest
	// of them has been stored.
	Lag     int64
	Waiting time.Duration
	// Owner is empty while nobody has the queue.
	Owner string
	// Committed is when the newest commit was taken; zero: there was none.
	Committed time.Time
}

// Groups returns all consumer groups by name.
func (a *Admin) Groups(ctx context.Context) (groups []Group, err error) {
	err = a.groupCall(ctx, reading, func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		resp, err := s.ListGroups(ctx, &brokerv1.ListGroupsRequest{})
		groups = nil
		for _, g := range resp.GetGroups() {
			groups = append(groups, toGroup(g))
		}
		return err
	})
	return groups, err
}

// DescribeGroup returns a consumer group with its members and queues. Error: ErrUnknownGroup.
func (a *Admin) DescribeGroup(ctx context.Context, name string) (*GroupDescription, error) {
	d := &GroupDescription{}
	err := a.groupCall(ctx, reading, func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		resp, err := s.DescribeGroup(ctx, &brokerv1.DescribeGroupRequest{Name: name})
		*d = GroupDescription{Group: toGroup(resp.GetGroup())}
		for _, m := range resp.GetMembers() {
			d.MemberList = append(d.MemberList, GroupMember{m.GetMember(), int(m.GetQueues()), m.GetHealthy(), time.Duration(m.GetHeardMs()) * time.Millisecond})
		}
		for _, q := range resp.GetQueues() {
			d.QueueList = append(d.QueueList, toGroupQueue(q))
		}
		return err
	})
	return d, err
}

// Reset says to where a consumer group is to be set.
type Reset struct {
	Group string
	// Topic and Queues limit it; empty: all queues in which the group has progress.
	Topic  string
	Queues []int
	// To, Shift or OtherGroup: a place, so many messages (backwards if negative), or the
	// progress of another group. To is used if neither of the others is set.
	To         StartAt
	Shift      int64
	OtherGroup string
	// DryRun changes nothing.
	DryRun bool
}

// QueueReset is what a reset does, or would do, to one queue.
type QueueReset struct {
	Topic string
	Queue int
	// Before is -1 where the group had no progress.
	Before, After, First, End int64
}

// ResetGroup sets the progress of a consumer group. Members of it go on at the new place.
// Errors: ErrUnknownGroup, ErrUnknownTopic, ErrUnknownQueue.
func (a *Admin) ResetGroup(ctx context.Context, r Reset) (queues []QueueReset, err error) {
	req := &brokerv1.ResetGroupRequest{Group: r.Group, Topic: r.Topic, DryRun: r.DryRun, RequestId: newRequestID()}
	for _, q := range r.Queues {
		req.Queues = append(req.Queues, uint32(q))
	}
	switch {
	case r.OtherGroup != "":
		req.To = &brokerv1.ResetGroupRequest_OtherGroup{OtherGroup: r.OtherGroup}
	case r.Shift != 0:
		req.To = &brokerv1.ResetGroupRequest_Shift{Shift: r.Shift}
	default:
		req.To = &brokerv1.ResetGroupRequest_Start{Start: r.To.message()}
	}
	err = a.groupCall(ctx, harmlessOr(r.DryRun), func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		resp, err := s.ResetGroup(ctx, req)
		queues = nil
		for _, q := range resp.GetQueues() {
			queues = append(queues, QueueReset{q.GetTopic(), int(q.GetQueue()), q.GetBefore(), q.GetAfter(), q.GetFirstOffset(), q.GetEndOffset()})
		}
		return err
	})
	return queues, err
}

// DeleteGroup removes a consumer group with its progress; one that has members, or whose
// consumers hold messages, only with force. Errors: ErrUnknownGroup, ErrGroupNotEmpty.
func (a *Admin) DeleteGroup(ctx context.Context, name string, force bool) error {
	req := &brokerv1.DeleteGroupRequest{Name: name, Force: force, RequestId: newRequestID()}
	return a.groupCall(ctx, harmless, func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		_, err := s.DeleteGroup(ctx, req)
		return err
	})
}

// PauseGroup has the members of a consumer group stop reading, or go on. Error: ErrUnknownGroup.
func (a *Admin) PauseGroup(ctx context.Context, name string, paused bool) error {
	req := &brokerv1.PauseGroupRequest{Name: name, Paused: paused, RequestId: newRequestID()}
	return a.groupCall(ctx, harmless, func(ctx context.Context, s brokerv1.GroupServiceClient) error {
		_, err := s.PauseGroup(ctx, req)
		return err
	})
}

func (a *Admin) groupCall(ctx context.Context, again repeat, do func(context.Context, brokerv1.GroupServiceClient) error) error {
	return a.c.invoke(ctx, again, func(ctx context.Context, cc grpc.ClientConnInterface) error {
		return do(ctx, brokerv1.NewGroupServiceClient(cc))
	})
}

func toGroup(g *brokerv1.ConsumerGroup) Group {
	return Group{
		Name: g.GetName(), Assignment: GroupAssignment(g.GetAssignment()), Paused: g.GetPaused(), Created: time.UnixMilli(g.GetCreatedUnixMs()),
		Members: int(g.GetMembers()), Queues: int(g.GetQueues()), Lag: g.GetLagMessages(),
		Work: toWorkPolicy(g.GetWork()),
	}
}

func toGroupQueue(q *brokerv1.GroupQueue) GroupQueue {
	out := GroupQueue{
		Topic: q.GetTopic(), Queue: int(q.GetQueue()), Offset: q.GetOffset(), First: q.GetFirstOffset(), End: q.GetEndOffset(),
		Lag: q.GetLagMessages(), Waiting: time.Duration(q.GetLagMs()) * time.Millisecond, Owner: q.GetOwner(),
	}
	if ms := q.GetCommittedUnixMs(); ms > 0 {
		out.Committed = time.UnixMilli(ms)
	}
	return out
}
