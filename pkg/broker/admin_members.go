package broker

import (
	"context"
	"net"
	"regexp"
	"strconv"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// maxPeerAddr bounds the address of a member, in bytes: a host name has at most 253.
const maxPeerAddr = 260

// hostPattern is what host names and addresses are made of.
var hostPattern = regexp.MustCompile(`^[a-zA-Z0-9._:-]+$`)

// ListMembers implements broker.v1.AdminService.
func (s *adminService) ListMembers(ctx context.Context, req *brokerv1.ListMembersRequest) (*brokerv1.ListMembersResponse, error) {
	if req.GetLocal() {
		return s.listMembers(ctx, nil, req)
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_ListMembers_FullMethodName, true, req, s.listMembers)
}

func (s *adminService) listMembers(context.Context, *leadership, *brokerv1.ListMembersRequest) (*brokerv1.ListMembersResponse, error) {
	st := s.ledger.Status()
	resp := &brokerv1.ListMembersResponse{Group: groupMessage(st), Node: string(st.ID), Leader: string(st.Leader)}
	peers := make(map[member.ID]dledger.PeerStatus, len(st.Peers))
	for _, p := range st.Peers {
		peers[p.ID] = p
	}
	for _, seat := range st.Members {
		if seat.ID == st.ID {
			resp.Members = append(resp.Members, s.ownSeat(st, seat))
			continue
		}
		resp.Members = append(resp.Members, peerSeat(st, peers[seat.ID], seat))
		delete(peers, seat.ID)
	}
	for _, p := range st.Peers { // on their way out
		if _, left := peers[p.ID]; left {
			resp.Members = append(resp.Members, peerSeat(st, p, member.Seat{ID: p.ID, Address: p.Addr}))
		}
	}
	return resp, nil
}

func (s *adminService) ownSeat(st *dledger.Status, seat member.Seat) *brokerv1.GroupMember {
	m := &brokerv1.GroupMember{
		Id: string(st.ID), PeerAddr: seat.Address, ClientAddr: s.self.clientAddr, Incarnation: s.self.incarnation, Seat: st.Seat,
		Leader: st.Role == member.Leader, Connected: true, WaterMark: int64(st.Durable), Lag: int64(st.End - st.Durable), MayNotVote: !st.MayVote, Trouble: s.self.trouble(),
	}
	if st.Seat == dledger.SeatLearner {
		m.MayNotVote = false // it never does, and nothing is wrong
	}
	return m
}

func peerSeat(st *dledger.Status, p dledger.PeerStatus, seat member.Seat) *brokerv1.GroupMember {
	m := &brokerv1.GroupMember{
		Id: string(seat.ID), PeerAddr: seat.Address, ClientAddr: p.ClientAddr, Incarnation: p.Incarnation, Seat: p.Seat,
		Leader: st.Leader == seat.ID, Connected: p.Connected, MayNotVote: p.MayNotVote, Trouble: p.Trouble,
		WaterMark: -1, Lag: -1, HeardMs: -1,
	}
	if st.Role == member.Leader {
		m.WaterMark, m.Lag = int64(p.Match), int64(max(0, st.End-p.Match))
		if !p.LastHeard.IsZero() {
			m.HeardMs = max(0, time.Since(p.LastHeard).Milliseconds())
		}
	}
	return m
}

// groupMessage is what is known of the group as a whole.
func groupMessage(st *dledger.Status) *brokerv1.Group {
	g := &brokerv1.Group{Changing: st.Changing, Generation: st.Generation}
	for _, r := range st.Recoveries {
		g.Recoveries = append(g.Recoveries, &brokerv1.Recovery{
			Generation: r.Generation, TimeUnixMs: r.Time.UnixMilli(), Member: string(r.Member), Before: ids(r.Before), After: ids(r.After),
			Reason: r.Reason, EndIndex: int64(r.End), EndTerm: int64(r.EndTerm), AppliedIndex: int64(r.Applied),
		})
	}
	return g
}

func ids(ms member.Members) []string {
	all := make([]string, len(ms))
	for i, s := range ms {
		all[i] = string(s.ID)
	}
	return all
}

// AddMember implements broker.v1.AdminService.
func (s *adminService) AddMember(ctx context.Context, req *brokerv1.AddMemberRequest) (*brokerv1.AddMemberResponse, error) {
	if err := checkMemberID(req.GetId()); err != nil {
		return nil, err
	}
	if err := checkPeerAddr(req.GetPeerAddr()); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_AddMember_FullMethodName, false, req, s.addMember)
}

func (s *adminService) addMember(ctx context.Context, _ *leadership, req *brokerv1.AddMemberRequest) (*brokerv1.AddMemberResponse, error) {
	for _, seat := range s.ledger.Status().Members {
		if seat.Address == req.GetPeerAddr() && string(seat.ID) != req.GetId() {
			return nil, errorf(CodeInvalidMember, "%s is the address of %s, which is in the group", req.GetPeerAddr(), seat.ID)
		}
	}
	done, err := s.changeMembers(ctx, member.ChangeMembers{Op: member.AddLearner, ID: member.ID(req.GetId()), Address: req.GetPeerAddr()})
	return &brokerv1.AddMemberResponse{Change: done}, err
}

// PromoteMember implements broker.v1.AdminService.
func (s *adminService) PromoteMember(ctx context.Context, req *brokerv1.PromoteMemberRequest) (*brokerv1.PromoteMemberResponse, error) {
	if err := checkMemberID(req.GetId()); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_PromoteMember_FullMethodName, false, req, s.promoteMember)
}

func (s *adminService) promoteMember(ctx context.Context, _ *leadership, req *brokerv1.PromoteMemberRequest) (*brokerv1.PromoteMemberResponse, error) {
	done, err := s.changeMembers(ctx, member.ChangeMembers{Op: member.Promote, ID: member.ID(req.GetId())})
	return &brokerv1.PromoteMemberResponse{Change: done}, err
}

// RemoveMember implements broker.v1.AdminService.
func (s *adminService) RemoveMember(ctx context.Context, req *brokerv1.RemoveMemberRequest) (*brokerv1.RemoveMemberResponse, error) {
	if err := checkMemberID(req.GetId()); err != nil {
		return nil, err
	}
	return atLeader(ctx, s.router, brokerv1.AdminService_RemoveMember_FullMethodName, false, req, s.removeMember)
}

func (s *adminService) removeMember(ctx context.Context, _ *leadership, req *brokerv1.RemoveMemberRequest) (*brokerv1.RemoveMemberResponse, error) {
	done, err := s.changeMembers(ctx, member.ChangeMembers{Op: member.Remove, ID: member.ID(req.GetId())})
	return &brokerv1.RemoveMemberResponse{Change: done}, err
}

// changeMembers waits for the change no longer than for any other quorum; then it may
// yet be made.
func (s *adminService) changeMembers(ctx context.Context, ev member.ChangeMembers) (*brokerv1.MemberChange, error) {
	ctx, cancel := context.WithTimeout(ctx, s.proposer.timeout)
	defer cancel()
	done, err := s.ledger.ChangeMembers(ctx, ev)
	if err != nil {
		if ctx.Err() != nil {
			return nil, errorf(CodeQuorumAckTimeout, "the change of the group was appended, or not, and no majority has acknowledged it in time").wrap(err)
		}
		return nil, err
	}
	if done.At == commitlog.NoIndex {
		return &brokerv1.MemberChange{LedgerIndex: -1}, nil
	}
	return &brokerv1.MemberChange{LedgerIndex: int64(done.At), Term: int64(done.Term)}, nil
}

func checkMemberID(id string) error {
	if !namePattern.MatchString(id) || len(id) > 64 {
		return errorf(CodeInvalidMember, "member id %.80q: use 1 to 64 of a-z A-Z 0-9 . _ -", id)
	}
	return nil
}

func checkPeerAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	number, _ := strconv.Atoi(port)
	if err != nil || !hostPattern.MatchString(host) || number < 1 || number > 65535 || len(addr) > maxPeerAddr {
		return errorf(CodeInvalidMember, "%.80q is not the HOST:PORT at which the others reach the new member", addr)
	}
	return nil
}
