package broker

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/batch"
	"github.com/ledgermq/ledgermq/pkg/dledger"
)

// newcomer is a broker that knows the members of a group and is not one of them. It
// is not started. Its first start has the listener: nobody can take the port before.
func (c *cluster) newcomer(id string, change func(*Config)) *node {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	cfg := testConfig(c.t, id)
	cfg.Cluster.Peers = map[string]string{id: l.Addr().String()}
	for other, addr := range c.nodes[0].cfg.Cluster.Peers {
		cfg.Cluster.Peers[other] = addr
	}
	cfg.Cluster.Join, cfg.Listen.Peer = true, l.Addr().String()
	if change != nil {
		change(&cfg)
	}
	cfg.Listeners.Peer = l
	c.t.Cleanup(func() { _ = l.Close() })
	return &node{t: c.t, cfg: cfg}
}

// retry calls until it succeeds or fails in a way that does not pass.
func retry(t *testing.T, call func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := call(ctx)
		if err == nil {
			return
		}
		switch errorInfo(t, err).GetReason() {
		case string(CodeNotCaughtUp), string(CodeMembersChanging), string(CodeNoLeader), string(CodeLeaderNotReady), string(CodeLeaderTransferring):
		case string(CodeLeadershipLost): // the change may be made, or not; another try tells
		case string(CodeQuorumAtRisk): // on a machine under load a member is unheard for a while
		default:
			t.Fatalf("%v", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %v", err)
		}
	}
}

func (n *node) addMember(id, addr string) {
	n.t.Helper()
	retry(n.t, func(ctx context.Context) error {
		_, err := n.admin.AddMember(ctx, &brokerv1.AddMemberRequest{Id: id, PeerAddr: addr})
		return err
	})
}

func (n *node) promoteMember(id string) {
	n.t.Helper()
	retry(n.t, func(ctx context.Context) error {
		_, err := n.admin.PromoteMember(ctx, &brokerv1.PromoteMemberRequest{Id: id})
		return err
	})
}

func (n *node) removeMember(id string) {
	n.t.Helper()
	doubt := false // who removes the leader may lose the connection to it before the answer
	retry(n.t, func(ctx context.Context) error {
		_, err := n.admin.RemoveMember(ctx, &brokerv1.RemoveMemberRequest{Id: id})
		if err != nil && doubt && errorInfo(n.t, err).GetReason() == string(CodeUnknownMember) {
			return nil
		}
		doubt = doubt || err != nil && errorInfo(n.t, err).GetReason() == string(CodeLeadershipLost)
		return err
	})
}

// listed are the seats of the group as this node tells them, by id.
func (n *node) listed(local bool) map[string]string {
	n.t.Helper()
	resp, err := n.admin.ListMembers(n.ctx(), &brokerv1.ListMembersRequest{Local: local})
	require.NoError(n.t, err)
	seats := map[string]string{}
	for _, m := range resp.GetMembers() {
		seats[m.GetId()] = m.GetSeat()
	}
	return seats
}

func (n *node) awaitSeats(want map[string]string) {
	n.t.Helper()
	require.Eventually(n.t, func() bool { return fmt.Sprint(n.listed(true)) == fmt.Sprint(want) }, patience, 10*time.Millisecond)
}

// A group gets a member and loses another; clients are told who is there, and who is
// out says so.
func TestMembersComeAndGo(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	queue := leader.createTopic("t", 1)[0]
	require.Nil(t, leader.publish(makeBatch(t, batch.Stamp{Queue: queue}, "a")).GetError())

	n4 := c.newcomer("n4", nil)
	n4.startWith(n4.cfg)
	require.Eventually(t, func() bool { return n4.b.phase() == phaseRunning }, patience, time.Millisecond)
	require.Contains(t, n4.b.ready().word(), "not ok: member: it waits to be added")
	_, err := n4.admin.ListTopics(n4.ctx(), &brokerv1.ListTopicsRequest{})
	require.Equal(t, string(CodeNoLeader), errorInfo(t, err).GetReason())

	followers[0].addMember("n4", n4.cfg.Listen.Peer)
	n4.await("a leader", func(v leaderView) bool { return v.leader != "" && v.outcast == "" })
	require.Equal(t, "LEARNER", followers[0].listed(false)["n4"])
	followers[0].promoteMember("n4")
	n4.awaitSeats(map[string]string{"n1": "VOTER", "n2": "VOTER", "n3": "VOTER", "n4": "VOTER"})
	require.Eventually(t, func() bool { return n4.b.ready().OK }, patience, 5*time.Millisecond)
	require.Eventually(t, func() bool {
		resp, err := followers[1].status.GetStatus(followers[1].ctx(), &brokerv1.GetStatusRequest{})
		require.NoError(t, err)
		return len(resp.GetMembers()) == 4
	}, patience, 10*time.Millisecond, "clients are told of the new broker")

	gone := leader.cfg.Node.ID
	followers[0].removeMember(gone)
	leader.await("to be out", func(v leaderView) bool { return v.outcast != "" && v.leader == "" })
	require.Contains(t, leader.b.ready().word(), "it was removed from the group")
	_, err = leader.admin.ListTopics(leader.ctx(), &brokerv1.ListTopicsRequest{})
	require.Equal(t, string(CodeNoLeader), errorInfo(t, err).GetReason(), "at once")
	rest := append(followers, n4)
	next, _ := c.leader(rest...)
	require.Nil(t, next.publish(makeBatch(t, batch.Stamp{Queue: queue}, "b")).GetError())
	for _, n := range rest {
		require.Eventually(t, func() bool {
			for _, m := range n.b.groupAddrs() {
				if m.GetId() == gone {
					return false
				}
			}
			return len(n.b.groupAddrs()) == 3
		}, patience, 10*time.Millisecond, "clients are told who is out")
		requireSame(t, next, n)
	}
	seat, err := leader.status.GetStatus(leader.ctx(), &brokerv1.GetStatusRequest{})
	require.NoError(t, err)
	require.Equal(t, dledger.SeatNone, seat.GetStatus().GetSeat())
}

func TestMembersThatCannotBe(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, _ := c.leader()
	for name, call := range map[string]func() error{
		"id": func() error {
			_, err := leader.admin.AddMember(leader.ctx(), &brokerv1.AddMemberRequest{Id: "a b", PeerAddr: "h:1"})
			return err
		},
		"address": func() error {
			_, err := leader.admin.AddMember(leader.ctx(), &brokerv1.AddMemberRequest{Id: "n4", PeerAddr: "h:0"})
			return err
		},
		"escape": func() error {
			_, err := leader.admin.AddMember(leader.ctx(), &brokerv1.AddMemberRequest{Id: "n4", PeerAddr: "h%zz:1"})
			return err
		},
		"no port": func() error {
			_, err := leader.admin.AddMember(leader.ctx(), &brokerv1.AddMemberRequest{Id: "n4", PeerAddr: "h"})
			return err
		},
		"known": func() error {
			_, err := leader.admin.AddMember(leader.ctx(), &brokerv1.AddMemberRequest{Id: "n2", PeerAddr: "h:1"})
			return err
		},
		"address taken": func() error {
			_, err := leader.admin.AddMember(leader.ctx(), &brokerv1.AddMemberRequest{Id: "n4", PeerAddr: leader.cfg.Cluster.Peers["n2"]})
			return err
		},
	} {
		err := call()
		require.Equal(t, codes.InvalidArgument, status.Code(err), name)
		require.Equal(t, string(CodeInvalidMember), errorInfo(t, err).GetReason(), name)
		require.Equal(t, "definite", errorInfo(t, err).GetMetadata()["outcome"], name)
	}
	_, err := leader.admin.RemoveMember(leader.ctx(), &brokerv1.RemoveMemberRequest{Id: "n9"})
	require.Equal(t, string(CodeUnknownMember), errorInfo(t, err).GetReason())
	_, err = leader.admin.PromoteMember(leader.ctx(), &brokerv1.PromoteMemberRequest{Id: "n9"})
	require.Equal(t, string(CodeUnknownMember), errorInfo(t, err).GetReason())
}

// A learner that nobody reaches is not promoted, and a voter is not removed when too
// few of the others are up.
func TestChangesThatWouldStopTheGroup(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader, followers := c.leader()
	dead, alive := followers[0], followers[1]
	leader.addMember("n4", "127.0.0.1:1")
	_, err := leader.admin.PromoteMember(leader.ctx(), &brokerv1.PromoteMemberRequest{Id: "n4"})
	require.Equal(t, string(CodeNotCaughtUp), errorInfo(t, err).GetReason())
	leader.removeMember("n4")
	dead.kill()
	require.Eventually(t, func() bool { // before, nobody can know that it is dead
		resp, err := leader.admin.ListMembers(leader.ctx(), &brokerv1.ListMembersRequest{})
		require.NoError(t, err)
		for _, m := range resp.GetMembers() {
			if m.GetId() == dead.cfg.Node.ID {
				return m.GetHeardMs() > leader.b.electionTimeout().Milliseconds() && m.GetLag() >= 0
			}
		}
		return false
	}, patience, 20*time.Millisecond)
	_, err = leader.admin.RemoveMember(leader.ctx(), &brokerv1.RemoveMemberRequest{Id: alive.cfg.Node.ID})
	require.Equal(t, string(CodeQuorumAtRisk), errorInfo(t, err).GetReason())
	leader.removeMember(dead.cfg.Node.ID)
	leader.awaitSeats(map[string]string{leader.cfg.Node.ID: "VOTER", alive.cfg.Node.ID: "VOTER"})
}

// A single broker becomes three; what it holds is purged, so that the others need a
// seed, and learn of the group from it.
func TestSingleBrokerGrowsWithSeeds(t *testing.T) {
	c := startCluster(t, 1, func(cfg *Config) {
		smallSegments(cfg)
		cfg.Retention = RetentionConfig{Size: 2 * mebibyte, CheckInterval: 10 * time.Millisecond}
	})
	n1 := c.nodes[0]
	n1.await("serving", func(v leaderView) bool { return v.serving != nil })
	queue := n1.createTopic("t", 1)[0]
	n1.publishBulk(queue, 0, 29)
	n1.awaitPurged(10)
	for i, id := range []string{"n2", "n3"} {
		n := c.newcomer(id, func(cfg *Config) {
			smallSegments(cfg)
			cfg.Cluster.Peers = map[string]string{"n1": n1.cfg.Cluster.Peers["n1"]} // not even this one's own address
		})
		// As the program: it is opened again when the seed is here.
		first, err := New(n.cfg)
		require.NoError(t, err)
		n.cfg.Listeners.Peer = nil
		n.cfg.Listen.Client, n.cfg.Listen.HTTP = first.Addrs().Client, first.Addrs().HTTP
		first.Kill()
		n.b = first
		n.connect()
		opened := n.serve()
		n1.addMember(id, n.cfg.Listen.Peer)
		n.take(opened)
		n1.promoteMember(id)
		requireSame(t, n1, n)
		n1.publishBulk(queue, 30+i, 30+i)
		c.nodes = append(c.nodes, n)
	}
	want := map[string]string{"n1": "VOTER", "n2": "VOTER", "n3": "VOTER"}
	for _, n := range c.nodes {
		n.awaitSeats(want)
		requireSame(t, n1, n)
	}
	n1.kill()
	next, _ := c.leader(c.nodes[1:]...)
	next.publishBulk(queue, 32, 32)
}

// The same with certificates: they are checked by the member's id, also of one that
// is new.
func TestMembersComeWithTLS(t *testing.T) {
	ca := newAuthority(t)
	secure := func(c *Config) { c.TLS.Peer = ca.issue(c.Node.ID, 30) }
	c := startCluster(t, 1, secure)
	n1 := c.nodes[0]
	n1.await("serving", func(v leaderView) bool { return v.serving != nil })
	n2 := c.newcomer("n2", secure)
	n2.startWith(n2.cfg)
	n1.addMember("n2", n2.cfg.Listen.Peer)
	n1.promoteMember("n2")
	requireSame(t, n1, n2)
	_, err := n2.admin.ListTopics(n2.ctx(), &brokerv1.ListTopicsRequest{})
	require.NoError(t, err, "passed on to the leader")

	impostor := c.newcomer("n3", func(c *Config) { c.TLS.Peer = ca.issue("n9", 31) })
	impostor.startWith(impostor.cfg)
	n1.addMember("n3", impostor.cfg.Listen.Peer)
	_, err = n1.admin.PromoteMember(n1.ctx(), &brokerv1.PromoteMemberRequest{Id: "n3"})
	require.Equal(t, string(CodeNotCaughtUp), errorInfo(t, err).GetReason())
	require.Equal(t, dledger.SeatNone, impostor.b.ledger.Status().Seat)
}
