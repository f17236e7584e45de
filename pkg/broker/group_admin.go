package broker

import (
	"context"
	"maps"
	"slices"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// CreateGroup implements broker.v1.GroupService.
func (s *groupService) CreateGroup(ctx context.Context, req *brokerv1.CreateGroupRequest) (*brokerv1.CreateGroupResponse, error) {
	if err := checkGroupName(req.GetName()); err != nil {
		return nil, err
	}
	if err := checkWorkPolicy(req); err != nil {
		return nil, err
	}
	req.RequestId = newRequestID(req.GetRequestId())
	return atLeader(ctx, s.router, brokerv1.GroupService_CreateGroup_FullMethodName, true, req, s.createGroup)
}

func (s *groupService) createGroup(ctx context.Context, lead *leadership, req *brokerv1.CreateGroupRequest) (*brokerv1.CreateGroupResponse, error) {
	if err := s.create(ctx, req.GetName(), req.GetAssignment(), req.GetWork(), req.GetRequestId()); err != nil {
		return nil, err
	}
	g, ok := s.store.Group(req.GetName())
	if !ok {
		return nil, unknownGroup(req.GetName())
	}
	return &brokerv1.CreateGroupResponse{Group: s.message(lead, g, nil)}, nil
}

// checkWorkPolicy refuses a policy that no work-queue group can have. Its name must leave
// room for that of its dead letters.
func checkWorkPolicy(req *brokerv1.CreateGroupRequest) error {
	p := req.GetWork()
	work := req.GetAssignment() == brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK
	switch {
	case work != (p != nil):
		return errorf(CodeGroupMismatch, "a policy belongs to a work-queue group, and to no other")
	case !work:
		return nil
	case len(deadLetters(req.GetName())) > state.MaxTopicNameBytes:
		return errorf(CodeInvalidGroupName, "group name %q: the name of a work-queue group has at most %d characters", req.GetName(), state.MaxTopicNameBytes-len(deadLetterPrefix))
	case p.GetMaxAttempts() > state.MaxAttempts:
		return errorf(CodeLimitExceeded, "group %q: max_attempts is %d: at most %d are possible", req.GetName(), p.GetMaxAttempts(), state.MaxAttempts)
	}
	return checkBackoff(req.GetName(), p)
}

func checkBackoff(group string, p *brokerv1.WorkPolicy) error {
	least, most := durationText(p.GetBackoffMinMs()), durationText(p.GetBackoffMaxMs())
	switch {
	case p.GetBackoffMinMs() < 0:
		return errorf(CodeLimitExceeded, "group %q: backoff_min is %s: 0 or more is possible", group, least)
	case p.GetBackoffMaxMs() > state.MaxBackoffMs:
		return errorf(CodeLimitExceeded, "group %q: backoff_max is %s: at most %s is possible", group, most, durationText(state.MaxBackoffMs))
	case p.GetBackoffMinMs() > p.GetBackoffMaxMs():
		return errorf(CodeLimitExceeded, "group %q: backoff_min is %s, above backoff_max, which is %s", group, least, most)
	}
	return nil
}

// message describes a group as a whole. counts are the members of groups; nil: nobody.
func (s *groupService) message(_ *leadership, g *state.Group, counts map[string]int) *brokerv1.ConsumerGroup {
	m := &brokerv1.ConsumerGroup{
		Name: g.Name, Id: g.ID, Assignment: brokerv1.GroupAssignment(g.Assignment), Paused: g.Paused, Generation: g.Generation,
		CreatedUnixMs: g.CreatedUnixMs, Members: int32(counts[g.Name]),
	}
	if p := g.Work; p != nil {
		m.Work = &brokerv1.WorkPolicy{MaxAttempts: uint32(p.MaxAttempts), BackoffMinMs: p.BackoffMinMs, BackoffMaxMs: p.BackoffMaxMs, Fifo: p.FIFO}
	}
	for _, p := range s.store.GroupProgress(g.ID) {
		if l, ok := s.finder.lag(p.Queue, p.Offset); ok {
			m.LagMessages += l.messages
			m.Queues++
		}
	}
	return m
}

// ListGroups implements broker.v1.GroupService.
func (s *groupService) ListGroups(ctx context.Context, req *brokerv1.ListGroupsRequest) (*brokerv1.ListGroupsResponse, error) {
	return atLeader(ctx, s.router, brokerv1.GroupService_ListGroups_FullMethodName, true, req, s.listGroups)
}

func (s *groupService) listGroups(_ context.Context, lead *leadership, _ *brokerv1.ListGroupsRequest) (*brokerv1.ListGroupsResponse, error) {
	counts := s.coordinator.counts(lead)
	resp := &brokerv1.ListGroupsResponse{}
	for _, g := range s.store.Groups() {
		resp.Groups = append(resp.Groups, s.message(lead, g, counts))
	}
	return resp, nil
}

// DescribeGroup implements broker.v1.GroupService.
func (s *groupService) DescribeGroup(ctx context.Context, req *brokerv1.DescribeGroupRequest) (*brokerv1.DescribeGroupResponse, error) {
	return atLeader(ctx, s.router, brokerv1.GroupService_DescribeGroup_FullMethodName, true, req, s.describeGroup)
}

func (s *groupService) describeGroup(_ context.Context, lead *leadership, req *brokerv1.DescribeGroupRequest) (*brokerv1.DescribeGroupResponse, error) {
	g, ok := s.store.Group(req.GetName())
	if !ok {
		return nil, unknownGroup(req.GetName())
	}
	members, owners, topics := s.coordinator.membersOf(lead, g)
	resp := &brokerv1.DescribeGroupResponse{Group: s.message(lead, g, map[string]int{g.Name: len(members)}), Members: members}
	progress := map[state.QueueID]state.Progress{}
	for _, name := range topics { // queues that nobody has begun with are of interest, too
		if t, ok := s.store.Topic(name); ok && g.Assignment != state.AssignBroadcast {
			for _, id := range t.Queues {
				progress[id] = state.Progress{Offset: state.NoOffset}
			}
		}
	}
	for _, p := range s.store.GroupProgress(g.ID) {
		progress[p.Queue] = p.Progress
	}
	for _, id := range slices.Sorted(maps.Keys(progress)) {
		if q := s.groupQueue(id, progress[id]); q != nil {
			q.Owner = owners[id]
			resp.Queues = append(resp.Queues, q)
		}
	}
	return resp, nil
}

// groupQueue says how a group stands in a queue; nil: the queue is gone.
func (s *groupService) groupQueue(id state.QueueID, p state.Progress) *brokerv1.GroupQueue {
	topic, number, ok := s.store.TopicOfQueue(id)
	l, known := s.finder.lag(id, p.Offset)
	if !ok || !known {
		return nil
	}
	return &brokerv1.GroupQueue{
		Topic: topic, Queue: uint32(number), Offset: int64(p.Offset), FirstOffset: int64(l.first), EndOffset: int64(l.end),
		LagMessages: l.messages, LagMs: s.finder.waiting(id, p.Offset, l, s.coordinator.now()).Milliseconds(), CommittedUnixMs: p.CommittedUnixMs,
	}
}

// DeleteGroup implements broker.v1.GroupService.
func (s *groupService) DeleteGroup(ctx context.Context, req *brokerv1.DeleteGroupRequest) (*brokerv1.DeleteGroupResponse, error) {
	req.RequestId = newRequestID(req.GetRequestId())
	return atLeader(ctx, s.router, brokerv1.GroupService_DeleteGroup_FullMethodName, true, req, s.deleteGroup)
}

func (s *groupService) deleteGroup(ctx context.Context, lead *leadership, req *brokerv1.DeleteGroupRequest) (*brokerv1.DeleteGroupResponse, error) {
	if err := s.checkEmpty(lead, req.GetName()); err != nil && !req.GetForce() {
		return nil, err
	}
	_, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_DeleteGroup{DeleteGroup: &recordv1.DeleteGroup{Name: req.GetName()}},
	})
	if err != nil {
		return nil, err
	}
	s.coordinator.refresh(lead, req.GetName())
	return &brokerv1.DeleteGroupResponse{}, nil
}

// checkEmpty refuses a group that somebody uses, as far as this leader knows.
func (s *groupService) checkEmpty(lead *leadership, name string) error {
	if n := s.coordinator.counts(lead)[name]; n > 0 {
		return errorf(CodeGroupNotEmpty, "consumer group %q has %d members: stop them first, or force it (those that go on make the group anew)", name, n)
	}
	g, ok := s.store.Group(name)
	if !ok {
		return nil
	}
	if n := s.work.leasesOf(lead, g.ID); n > 0 {
		return errorf(CodeGroupNotEmpty, "consumers of group %q hold %d messages: stop them first and let their leases end, or force it (their receipts are not valid then)", name, n)
	}
	return nil
}

// PauseGroup implements broker.v1.GroupService.
func (s *groupService) PauseGroup(ctx context.Context, req *brokerv1.PauseGroupRequest) (*brokerv1.PauseGroupResponse, error) {
	req.RequestId = newRequestID(req.GetRequestId())
	return atLeader(ctx, s.router, brokerv1.GroupService_PauseGroup_FullMethodName, true, req, s.pauseGroup)
}

func (s *groupService) pauseGroup(ctx context.Context, lead *leadership, req *brokerv1.PauseGroupRequest) (*brokerv1.PauseGroupResponse, error) {
	_, err := s.proposer.command(ctx, &recordv1.Command{
		RequestId: req.GetRequestId(),
		Kind:      &recordv1.Command_PauseGroup{PauseGroup: &recordv1.PauseGroup{Name: req.GetName(), Paused: req.GetPaused()}},
	})
	if err != nil {
		return nil, err
	}
	s.coordinator.refresh(lead, req.GetName())
	if g, ok := s.store.Group(req.GetName()); ok && g.Work != nil {
		s.work.wakeGroup(g.ID)
	}
	s.finder.hold.wakeAll() // pulls of the group may wait for it
	return &brokerv1.PauseGroupResponse{}, nil
}
