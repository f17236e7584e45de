package client

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// fakeGroups is consumer groups with one member each: it owns all queues of its topic.
type fakeGroups struct {
	brokerv1.UnimplementedGroupServiceServer
	c  *cluster
	mu struct {
		sync.Mutex
		epoch    uint64
		version  int64
		sessions map[string]string // → topic
		progress map[uint32]int64
		commits  int
		changed  chan struct{}
		taken    bool  // the member owns nothing
		gaveUp   []int // queues claimed by each session that left
		claims   map[string]int
		groups   map[string]*brokerv1.ConsumerGroup
	}
}

func newFakeGroups(c *cluster) *fakeGroups {
	g := &fakeGroups{c: c}
	g.mu.groups = map[string]*brokerv1.ConsumerGroup{}
	g.mu.claims = map[string]int{}
	g.mu.epoch, g.mu.sessions, g.mu.progress, g.mu.changed = 1, map[string]string{}, map[uint32]int64{}, make(chan struct{})
	return g
}

func (g *fakeGroups) assignmentLocked(topic string, ids []uint32) *brokerv1.Assignment {
	a := &brokerv1.Assignment{Version: g.mu.version}
	for i, id := range ids {
		if !g.mu.taken {
			a.Queues = append(a.Queues, &brokerv1.AssignedQueue{Topic: topic, Queue: uint32(i), QueueId: id, Epoch: g.mu.epoch, Offset: g.mu.progress[id]})
		}
	}
	return a
}

func (g *fakeGroups) queues(topic string) []uint32 {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	return g.c.mu.topics[topic]
}

// change begins a new assignment.
func (g *fakeGroups) change(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
	g.mu.version++
	close(g.mu.changed)
	g.mu.changed = make(chan struct{})
}

func (g *fakeGroups) Join(_ context.Context, req *brokerv1.JoinRequest) (*brokerv1.JoinResponse, error) {
	ids := g.queues(req.GetTopics()[0])
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.version++
	session := fmt.Sprint("s", g.mu.version)
	g.mu.sessions[session] = req.GetTopics()[0]
	g.mu.claims[session] = len(req.GetOwned())
	return &brokerv1.JoinResponse{Session: session, HeartbeatIntervalMs: 1000, Assignment: g.assignmentLocked(req.GetTopics()[0], ids)}, nil
}

// forget loses all sessions, as a change of leader does.
func (g *fakeGroups) forget() { g.change(func() { clear(g.mu.sessions) }) }

func (g *fakeGroups) look(session string) (*brokerv1.Assignment, chan struct{}, error) {
	g.mu.Lock()
	topic := g.mu.sessions[session]
	g.mu.Unlock()
	ids := g.queues(topic)
	g.mu.Lock()
	defer g.mu.Unlock()
	if topic == "" {
		return nil, nil, codeError(codes.NotFound, CodeUnknownSession, map[string]string{"outcome": "definite"})
	}
	return g.assignmentLocked(topic, ids), g.mu.changed, nil
}

func (g *fakeGroups) Heartbeat(_ context.Context, req *brokerv1.HeartbeatRequest) (*brokerv1.HeartbeatResponse, error) {
	a, _, err := g.look(req.GetSession())
	return &brokerv1.HeartbeatResponse{HeartbeatIntervalMs: 1000, Assignment: a}, err
}

func (g *fakeGroups) Leave(_ context.Context, req *brokerv1.LeaveRequest) (*brokerv1.LeaveResponse, error) {
	if _, _, err := g.look(req.GetSession()); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.mu.sessions, req.GetSession())
	g.mu.gaveUp = append(g.mu.gaveUp, g.mu.claims[req.GetSession()])
	return &brokerv1.LeaveResponse{}, nil
}

func (g *fakeGroups) Watch(req *brokerv1.WatchRequest, rpc brokerv1.GroupService_WatchServer) error {
	for {
		a, changed, err := g.look(req.GetSession())
		if err != nil {
			return err
		}
		if err := rpc.Send(&brokerv1.WatchResponse{Assignment: a}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-rpc.Context().Done():
			return rpc.Context().Err()
		}
	}
}

func (g *fakeGroups) CommitProgress(_ context.Context, req *brokerv1.CommitProgressRequest) (*brokerv1.CommitProgressResponse, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	resp := &brokerv1.CommitProgressResponse{}
	for _, c := range req.GetCommits() {
		result := &brokerv1.QueueCommitResult{}
		if c.GetEpoch() != g.mu.epoch {
			result.Error = &brokerv1.ErrorDetail{Code: string(CodeStaleGeneration)}
		} else {
			g.mu.progress[c.GetQueueId()] = max(g.mu.progress[c.GetQueueId()], c.GetOffset())
			g.mu.commits++
		}
		resp.Results = append(resp.Results, result)
	}
	return resp, nil
}

func (g *fakeGroups) committed(topic string, queue int) int64 {
	ids := g.queues(topic)
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.progress[ids[queue]]
}
