package broker

import (
	"context"
	"errors"

	"github.com/google/uuid"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"

	consumers "github.com/ledgermq/ledgermq/pkg/group"
	"github.com/ledgermq/ledgermq/pkg/state"
)

// What one member may ask for.
const (
	maxMemberTopics = 100
	maxMemberName   = 255
	maxOwnedQueues  = 100_000
)

// groupService is consumer groups: broker.v1.GroupService. Managing them is in
// group_admin.go.
type groupService struct {
	brokerv1.UnsafeGroupServiceServer

	router      *router
	proposer    *proposer
	store       *state.Store
	disk        *diskGuard
	coordinator *groupCoordinator
	gatherer    *gatherer[*recordv1.ProgressCommit]
	finder      *offsetFinder
	room        *groupRoom
	work        *workQueues
}

// Join implements broker.v1.GroupService.
func (s *groupService) Join(ctx context.Context, req *brokerv1.JoinRequest) (*brokerv1.JoinResponse, error) {
	if err := checkGroupName(req.GetGroup()); err != nil {
		return nil, err
	}
	switch n := len(req.GetMember()); {
	case n == 0 || n > maxMemberName:
		return nil, errorf(CodeLimitExceeded, "a member's name has 1 to %d bytes, not %d", maxMemberName, n)
	case len(req.GetTopics()) == 0 || len(req.GetTopics()) > maxMemberTopics:
		return nil, errorf(CodeLimitExceeded, "a member reads 1 to %d topics, not %d", maxMemberTopics, len(req.GetTopics()))
	case len(req.GetOwned()) > maxOwnedQueues || len(req.GetStaticQueues()) > maxOwnedQueues:
		return nil, errorf(CodeLimitExceeded, "a member has at most %d queues", maxOwnedQueues)
	}
	return atLeader(ctx, s.router, brokerv1.GroupService_Join_FullMethodName, true, req, s.join)
}

func (s *groupService) join(ctx context.Context, lead *leadership, req *brokerv1.JoinRequest) (*brokerv1.JoinResponse, error) {
	j := consumers.Joining{Member: req.GetMember(), Topics: req.GetTopics()}
	for _, name := range req.GetTopics() {
		if _, ok := s.store.Topic(name); !ok {
			return nil, noTopic(s.store, name)
		}
	}
	for _, want := range req.GetStaticQueues() {
		t, ok := s.store.Topic(want.GetTopic())
		if !ok || int64(want.GetQueue()) >= int64(len(t.Queues)) {
			return nil, errorf(CodeUnknownQueue, "there is no queue %s/%d", want.GetTopic(), want.GetQueue())
		}
		j.Static = append(j.Static, consumers.QueueID(t.Queues[want.GetQueue()]))
	}
	for _, o := range req.GetOwned() {
		j.Owned = append(j.Owned, consumers.Owned{Queue: consumers.QueueID(o.GetQueueId()), Epoch: consumers.Epoch(o.GetEpoch())})
	}
	g, err := s.ensure(ctx, req.GetGroup(), req.GetAssignment())
	if err != nil {
		return nil, err
	}
	session, err := s.coordinator.join(lead, g, j, req.GetStart())
	if err != nil {
		return nil, s.over(err)
	}
	t, err := s.coordinator.assignment(lead, session)
	if err != nil {
		return nil, s.over(err)
	}
	return &brokerv1.JoinResponse{Session: session, HeartbeatIntervalMs: s.interval(), Assignment: t.message}, nil
}

func (s *groupService) interval() int64 { return s.coordinator.timing.Heartbeat.Milliseconds() }

// over turns the end of the leadership into what a client is told.
func (s *groupService) over(err error) error {
	if errors.Is(err, errLeadershipOver) {
		return s.router.ended()
	}
	return err
}

// ensure returns a group, making it if there is none.
func (s *groupService) ensure(ctx context.Context, name string, want brokerv1.GroupAssignment) (*state.Group, error) {
	g, ok := s.store.Group(name)
	if !ok {
		if want == brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK {
			return nil, errorf(CodeGroupMismatch, "a member cannot join a work-queue group")
		}
		if err := s.create(ctx, name, want, nil, ""); err != nil && reasonOf(err) != CodeGroupExists {
			return nil, err
		}
		if g, ok = s.store.Group(name); !ok {
			return nil, unknownGroup(name) // and deleted again
		}
	}
	if g.Work != nil {
		return nil, errorf(CodeGroupMismatch, "consumer group %q is a work-queue group: its consumers receive messages and do not join", name)
	}
	if kind := state.GroupAssignment(want); kind != 0 && kind != g.Assignment {
		return nil, errorf(CodeGroupMismatch, "consumer group %q gives its queues out as %s, not as %s", name, assignmentName(g.Assignment), assignmentName(kind))
	}
	return g, nil
}

func (s *groupService) create(ctx context.Context, name string, kind brokerv1.GroupAssignment, work *brokerv1.WorkPolicy, request string) error {
	if kind == brokerv1.GroupAssignment_GROUP_ASSIGNMENT_UNSPECIFIED {
		kind = brokerv1.GroupAssignment_GROUP_ASSIGNMENT_STICKY
	}
	if err := errors.Join(s.disk.refusal(), s.room.create(name)); err != nil {
		return err
	}
	group := &recordv1.CreateGroup{Name: name, Assignment: uint32(kind)}
	if kind == brokerv1.GroupAssignment_GROUP_ASSIGNMENT_WORK {
		group.Work = &recordv1.WorkPolicy{
			MaxAttempts: work.GetMaxAttempts(), BackoffMinMs: work.GetBackoffMinMs(), BackoffMaxMs: work.GetBackoffMaxMs(), Fifo: work.GetFifo(),
		}
	}
	_, err := s.proposer.command(ctx, &recordv1.Command{RequestId: request, Kind: &recordv1.Command_CreateGroup{CreateGroup: group}})
	return err
}

// checkGroupName refuses names that could not stand in a path or a metric.
func checkGroupName(name string) error {
	if !namePattern.MatchString(name) || name == "." || name == ".." {
		return errorf(CodeInvalidGroupName, "group name %q: use 1 to 127 of a-z A-Z 0-9 . _ - and not \".\" or \"..\"", name)
	}
	return nil
}

func unknownGroup(name string) *Error {
	return errorf(CodeUnknownGroup, "there is no consumer group %q", name)
}

func assignmentName(kind state.GroupAssignment) string {
	switch kind {
	case state.AssignSticky:
		return "sticky"
	case state.AssignStatic:
		return "static"
	case state.AssignBroadcast:
		return "broadcast"
	case state.AssignWork:
		return "work"
	}
	return "unknown"
}

// Heartbeat implements broker.v1.GroupService.
func (s *groupService) Heartbeat(ctx context.Context, req *brokerv1.HeartbeatRequest) (*brokerv1.HeartbeatResponse, error) {
	return atLeader(ctx, s.router, brokerv1.GroupService_Heartbeat_FullMethodName, true, req, s.heartbeat)
}

func (s *groupService) heartbeat(_ context.Context, lead *leadership, req *brokerv1.HeartbeatRequest) (*brokerv1.HeartbeatResponse, error) {
	newest, err := s.coordinator.beat(lead, req.GetSession(), req.GetVersion())
	if err != nil {
		return nil, s.over(err)
	}
	resp := &brokerv1.HeartbeatResponse{HeartbeatIntervalMs: s.interval()}
	if newest != req.GetVersion() {
		t, err := s.coordinator.assignment(lead, req.GetSession())
		if err != nil {
			return nil, s.over(err)
		}
		resp.Assignment = t.message
	}
	return resp, nil
}

// Leave implements broker.v1.GroupService.
func (s *groupService) Leave(ctx context.Context, req *brokerv1.LeaveRequest) (*brokerv1.LeaveResponse, error) {
	return atLeader(ctx, s.router, brokerv1.GroupService_Leave_FullMethodName, true, req, s.leave)
}

func (s *groupService) leave(ctx context.Context, lead *leadership, req *brokerv1.LeaveRequest) (*brokerv1.LeaveResponse, error) {
	if err := s.coordinator.leave(ctx, lead, req.GetSession()); err != nil {
		return nil, s.over(err)
	}
	return &brokerv1.LeaveResponse{}, nil
}

// Watch implements broker.v1.GroupService.
func (s *groupService) Watch(req *brokerv1.WatchRequest, rpc brokerv1.GroupService_WatchServer) error {
	lead, err := s.router.stream(rpc.Context())
	if err != nil {
		return err
	}
	version := int64(-1)
	for {
		t, err := s.coordinator.assignment(lead, req.GetSession())
		if err != nil {
			return s.over(err)
		}
		if t.message.GetVersion() != version {
			if err := rpc.Send(&brokerv1.WatchResponse{Assignment: t.message}); err != nil {
				return err
			}
			version = t.message.GetVersion()
		}
		select {
		case <-t.changed:
		case <-lead.done:
			return s.router.ended()
		case <-s.router.stopping:
			return errorf(CodeShuttingDown, "the broker is shutting down")
		case <-rpc.Context().Done():
			return rpc.Context().Err()
		}
	}
}

// CommitProgress implements broker.v1.GroupService. Progress is taken while the disk is
// nearly full, too: it is what lets consumers go on.
func (s *groupService) CommitProgress(ctx context.Context, req *brokerv1.CommitProgressRequest) (*brokerv1.CommitProgressResponse, error) {
	return atLeader(ctx, s.router, brokerv1.GroupService_CommitProgress_FullMethodName, true, req, s.commitProgress)
}

func (s *groupService) commitProgress(ctx context.Context, _ *leadership, req *brokerv1.CommitProgressRequest) (*brokerv1.CommitProgressResponse, error) {
	g, ok := s.store.Group(req.GetGroup())
	switch {
	case !ok:
		return nil, unknownGroup(req.GetGroup())
	case g.Assignment == state.AssignBroadcast:
		return nil, errorf(CodeGroupMismatch, "consumer group %q is a broadcast group, which keeps no progress", g.Name)
	case g.Work != nil:
		return nil, errorf(CodeGroupMismatch, "consumer group %q is a work-queue group: its messages are acknowledged one by one", g.Name)
	case len(req.GetCommits()) == 0:
		return &brokerv1.CommitProgressResponse{}, nil
	}
	commits := make([]*recordv1.ProgressCommit, 0, len(req.GetCommits()))
	queues := make([]state.QueueID, 0, len(req.GetCommits()))
	for _, c := range req.GetCommits() {
		commits = append(commits, &recordv1.ProgressCommit{GroupId: g.ID, QueueId: c.GetQueueId(), Epoch: c.GetEpoch(), Offset: c.GetOffset()})
		queues = append(queues, state.QueueID(c.GetQueueId()))
	}
	if err := s.room.progress(g.ID, queues); err != nil {
		return nil, err
	}
	results, err := s.gatherer.commit(ctx, commits)
	if err != nil {
		return nil, err
	}
	resp := &brokerv1.CommitProgressResponse{}
	for i, r := range results {
		resp.Results = append(resp.Results, commitResult(g, req.GetCommits()[i], r))
	}
	return resp, nil
}

// commitResult says what became of one commit.
func commitResult(g *state.Group, c *brokerv1.QueueCommit, r state.CommitResult) *brokerv1.QueueCommitResult {
	out := &brokerv1.QueueCommitResult{Offset: int64(r.Offset)}
	if r.Code == state.CodeOK {
		return out
	}
	e := errorf(Code(r.Code), "offset %d of queue %d was not stored for consumer group %q, which is at %d: the queue ends at %d, and its epoch is %d, not %d",
		c.GetOffset(), c.GetQueueId(), g.Name, r.Offset, r.End, r.Epoch, c.GetEpoch())
	out.Error = &brokerv1.ErrorDetail{Code: string(e.Code), Message: e.Message, Indefinite: e.Indefinite, RetryAfterMs: e.retryAfter().Milliseconds()}
	return out
}

// FetchProgress implements broker.v1.GroupService.
func (s *groupService) FetchProgress(ctx context.Context, req *brokerv1.FetchProgressRequest) (*brokerv1.FetchProgressResponse, error) {
	return atLeader(ctx, s.router, brokerv1.GroupService_FetchProgress_FullMethodName, true, req, s.fetchProgress)
}

func (s *groupService) fetchProgress(_ context.Context, _ *leadership, req *brokerv1.FetchProgressRequest) (*brokerv1.FetchProgressResponse, error) {
	g, ok := s.store.Group(req.GetGroup())
	if !ok {
		return nil, unknownGroup(req.GetGroup())
	}
	t, ok := s.store.Topic(req.GetTopic())
	if !ok {
		return nil, noTopic(s.store, req.GetTopic())
	}
	resp := &brokerv1.FetchProgressResponse{}
	for i, id := range t.Queues {
		p, _ := s.store.Progress(g.ID, id)
		first, end, _ := s.store.QueueRange(id)
		resp.Queues = append(resp.Queues, &brokerv1.QueueProgress{
			Queue: uint32(i), QueueId: uint32(id), Offset: int64(p.Offset), Epoch: p.Epoch, FirstOffset: int64(first), EndOffset: int64(end),
		})
	}
	return resp, nil
}

// newRequestID makes a retry between brokers recognisable where the client gave none.
func newRequestID(given string) string {
	if given == "" {
		return uuid.NewString()
	}
	return given
}
