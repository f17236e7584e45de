package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"
)

// fakeCluster is a broker that leads a group which is nothing but a list.
type fakeCluster struct {
	brokerv1.UnimplementedMessagingServiceServer
	brokerv1.UnimplementedAdminServiceServer

	addr string
	mu   struct {
		sync.Mutex
		members  []*brokerv1.GroupMember
		changing int      // so many lists do not cover the newest change yet
		done     []string // the changes in their order
	}
}

// startFakeCluster serves a group of voters, each at its id and port 1.
func startFakeCluster(t *testing.T, voters ...string) *fakeCluster {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &fakeCluster{addr: listener.Addr().String()}
	for _, id := range voters {
		f.mu.members = append(f.mu.members, &brokerv1.GroupMember{Id: id, PeerAddr: id + ":1", Seat: seatVoter, Leader: id == voters[0]})
	}
	server := grpc.NewServer()
	brokerv1.RegisterMessagingServiceServer(server, f)
	brokerv1.RegisterAdminServiceServer(server, f)
	var serving errgroup.Group
	serving.Go(func() error { return server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		if err := serving.Wait(); !errors.Is(err, grpc.ErrServerStopped) { // it had not begun
			require.NoError(t, err)
		}
	})
	return f
}

// changes are those that were made so far.
func (f *fakeCluster) changes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.mu.done)
}

// WatchLeader says that it leads.
func (f *fakeCluster) WatchLeader(_ *brokerv1.WatchLeaderRequest, s grpc.ServerStreamingServer[brokerv1.WatchLeaderResponse]) error {
	err := s.Send(&brokerv1.WatchLeaderResponse{
		Leader: "n1", LeaderAddr: f.addr, Term: 1, Serving: true, Members: []*brokerv1.Member{{Id: "n1", ClientAddr: f.addr}},
	})
	if err == nil {
		<-s.Context().Done()
	}
	return err
}

// ListMembers tells the list.
func (f *fakeCluster) ListMembers(context.Context, *brokerv1.ListMembersRequest) (*brokerv1.ListMembersResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.changing = max(0, f.mu.changing-1)
	return &brokerv1.ListMembersResponse{Leader: "n1", Members: slices.Clone(f.mu.members), Group: &brokerv1.Group{Changing: f.mu.changing > 0}}, nil
}

// AddMember adds a learner, if it is not there.
func (f *fakeCluster) AddMember(_ context.Context, r *brokerv1.AddMemberRequest) (*brokerv1.AddMemberResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.ContainsFunc(f.mu.members, func(m *brokerv1.GroupMember) bool { return m.GetId() == r.GetId() }) {
		f.mu.members = append(f.mu.members, &brokerv1.GroupMember{Id: r.GetId(), PeerAddr: r.GetPeerAddr(), Seat: "LEARNER"})
	}
	f.changed("add " + r.GetId())
	return &brokerv1.AddMemberResponse{}, nil
}

// PromoteMember makes a voter of a learner.
func (f *fakeCluster) PromoteMember(_ context.Context, r *brokerv1.PromoteMemberRequest) (*brokerv1.PromoteMemberResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, m := range f.mu.members {
		if m.GetId() == r.GetId() {
			f.mu.members[i] = &brokerv1.GroupMember{Id: m.GetId(), PeerAddr: m.GetPeerAddr(), Seat: seatVoter}
		}
	}
	f.changed("promote " + r.GetId())
	return &brokerv1.PromoteMemberResponse{}, nil
}

// RemoveMember takes a member off the list.
func (f *fakeCluster) RemoveMember(_ context.Context, r *brokerv1.RemoveMemberRequest) (*brokerv1.RemoveMemberResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.members = slices.DeleteFunc(f.mu.members, func(m *brokerv1.GroupMember) bool { return m.GetId() == r.GetId() })
	f.changed("remove " + r.GetId())
	return &brokerv1.RemoveMemberResponse{}, nil
}

// changed notes a change that the next two lists do not cover yet; mu is held.
func (f *fakeCluster) changed(what string) {
	f.mu.done = append(f.mu.done, what)
	f.mu.changing = 3
}
