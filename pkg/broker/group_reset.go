package broker

import (
	"context"
	"slices"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	"github.com/ledgermq/ledgermq/pkg/state"
)

// ResetGroup implements broker.v1.GroupService.
func (s *groupService) ResetGroup(ctx context.Context, req *brokerv1.ResetGroupRequest) (*brokerv1.ResetGroupResponse, error) {
	if req.GetTo() == nil {
		return nil, errorf(CodeLimitExceeded, "a reset says to where")
	}
	req.RequestId = newRequestID(req.GetRequestId())
	return atLeader(ctx, s.router, brokerv1.GroupService_ResetGroup_FullMethodName, true, req, s.resetGroup)
}

func (s *groupService) resetGroup(ctx context.Context, lead *leadership, req *brokerv1.ResetGroupRequest) (*brokerv1.ResetGroupResponse, error) {
	g, ok := s.store.Group(req.GetGroup())
	switch {
	case !ok:
		return nil, unknownGroup(req.GetGroup())
	case g.Assignment == state.AssignBroadcast:
		return nil, errorf(CodeGroupMismatch, "consumer group %q is a broadcast group, which keeps no progress", g.Name)
	}
	resp, ids, err := s.planReset(g, req)
	if err != nil || req.GetDryRun() || len(ids) == 0 {
		return resp, err
	}
	if err := s.room.progress(g.ID, ids); err != nil {
		return nil, err
	}
	cmd := &recordv1.ResetProgress{GroupId: g.ID}
	for i, q := range resp.GetQueues() {
		cmd.Offsets = append(cmd.Offsets, &recordv1.QueueOffset{QueueId: uint32(ids[i]), Offset: q.GetAfter()})
	}
	out, err := s.proposer.command(ctx, &recordv1.Command{RequestId: req.GetRequestId(), Kind: &recordv1.Command_ResetProgress{ResetProgress: cmd}})
	if err != nil {
		return nil, err
	}
	s.coordinator.refresh(lead, g.Name)
	s.work.wakeGroup(g.ID)
	for i, q := range resp.GetQueues() {
		if out.Duplicate { // an earlier try did it, perhaps from elsewhere
			p, _ := s.store.Progress(g.ID, ids[i])
			q.Before, q.After = int64(p.Offset), int64(p.Offset)
		} else {
			q.After = int64(out.Progress[i].Offset)
		}
	}
	return resp, nil
}

// planReset says what a reset would do, and to which queues.
func (s *groupService) planReset(g *state.Group, req *brokerv1.ResetGroupRequest) (*brokerv1.ResetGroupResponse, []state.QueueID, error) {
	ids, err := s.queuesToReset(g, req)
	if err != nil {
		return nil, nil, err
	}
	var other *state.Group
	if name := req.GetOtherGroup(); name != "" {
		var ok bool
		if other, ok = s.store.Group(name); !ok {
			return nil, nil, unknownGroup(name)
		}
	}
	resp := &brokerv1.ResetGroupResponse{}
	var kept []state.QueueID
	for _, id := range ids {
		q, err := s.planQueue(g, other, id, req)
		if err != nil {
			return nil, nil, err
		}
		if q != nil {
			kept, resp.Queues = append(kept, id), append(resp.Queues, q)
		}
	}
	return resp, kept, nil
}

// queuesToReset are those of the topic that is named, or all in which the group, or the one
// whose progress it takes over, is somewhere.
func (s *groupService) queuesToReset(g *state.Group, req *brokerv1.ResetGroupRequest) ([]state.QueueID, error) {
	var ids []state.QueueID
	if req.GetTopic() == "" {
		if len(req.GetQueues()) > 0 {
			return nil, errorf(CodeUnknownTopic, "queues are named, but not their topic")
		}
		from := g
		if other, ok := s.store.Group(req.GetOtherGroup()); ok {
			from = other
		}
		for _, p := range s.store.GroupProgress(from.ID) {
			ids = append(ids, p.Queue)
		}
		return ids, nil
	}
	t, ok := s.store.Topic(req.GetTopic())
	if !ok {
		return nil, noTopic(s.store, req.GetTopic())
	}
	for _, n := range req.GetQueues() {
		if int64(n) >= int64(len(t.Queues)) {
			return nil, errorf(CodeUnknownQueue, "topic %q has queues 0 to %d, not %d", t.Name, len(t.Queues)-1, n)
		}
	}
	for i, id := range t.Queues {
		if len(req.GetQueues()) == 0 || slices.Contains(req.GetQueues(), uint32(i)) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// planQueue says what a reset would do to one queue; nil: nothing.
func (s *groupService) planQueue(g, other *state.Group, id state.QueueID, req *brokerv1.ResetGroupRequest) (*brokerv1.QueueReset, error) {
	topic, number, ok := s.store.TopicOfQueue(id)
	first, end, known := s.store.QueueRange(id)
	if !ok || !known {
		return nil, nil //nolint:nilnil // deleted just now
	}
	p, _ := s.store.Progress(g.ID, id)
	q := &brokerv1.QueueReset{Topic: topic, Queue: uint32(number), Before: int64(p.Offset), FirstOffset: int64(first), EndOffset: int64(end)}
	var to state.Offset
	var err error
	switch want := req.GetTo().(type) {
	case *brokerv1.ResetGroupRequest_Start:
		to, err = s.finder.start(id, want.Start)
	case *brokerv1.ResetGroupRequest_Shift:
		if p.Offset == state.NoOffset {
			return nil, nil //nolint:nilnil // there is nothing to move
		}
		to = shifted(p.Offset, want.Shift, first, end)
	case *brokerv1.ResetGroupRequest_OtherGroup:
		theirs, _ := s.store.Progress(other.ID, id)
		if theirs.Offset == state.NoOffset {
			return nil, nil //nolint:nilnil // they are nowhere
		}
		to = min(max(first, theirs.Offset), end)
	}
	q.After = int64(to)
	return q, err
}

// shifted moves an offset by n messages, within what the queue has.
func shifted(at state.Offset, n int64, first, end state.Offset) state.Offset {
	at = min(max(first, at), end)
	switch {
	case n >= int64(end-at):
		return end
	case n <= int64(first-at):
		return first
	}
	return at + state.Offset(n)
}
