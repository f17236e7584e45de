package broker

import (
	"context"
	"slices"
	"time"

	brokerv1 "github.com/ledgermq/ledgermq/proto/broker/v1"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	"github.com/ledgermq/ledgermq/pkg/rolechange"
)

// statusService tells how this broker is: broker.v1.StatusService. It never asks
// anyone else, so it answers while nobody leads.
type statusService struct {
	brokerv1.UnsafeStatusServiceServer

	broker *Broker
}

// GetStatus implements broker.v1.StatusService.
func (s *statusService) GetStatus(context.Context, *brokerv1.GetStatusRequest) (*brokerv1.GetStatusResponse, error) {
	st := s.broker.ledger.Status()
	resp := &brokerv1.GetStatusResponse{Status: s.member(st), Members: s.broker.clientAddrs()}
	for _, p := range st.Peers {
		resp.Peers = append(resp.Peers, peerMessage(st, p))
	}
	return resp, nil
}

func (s *statusService) member(st *dledger.Status) *brokerv1.MemberStatus {
	b := s.broker
	role := rolechange.Slave
	if st.Role == member.Leader {
		role = rolechange.Master
	}
	logHash, logHashIndex := b.ledger.LogHash()
	stateHash, applied := b.store.Hash()
	disk, seed := b.disk.state.Load(), b.seedProgress.Load()
	return &brokerv1.MemberStatus{
		SeedBytes: seed.have, SeedTotalBytes: seed.total,
		Suspect: suspectMessages(st.Suspect),
		Id:      string(st.ID), ClusterId: b.cfg.Cluster.ID, Incarnation: b.dir.Incarnation,
		Role: st.Role.String(), BrokerRole: role.String(), Term: int64(st.Term), Leader: string(st.Leader),
		LedgerBeginIndex: int64(st.Begin), LedgerEndIndex: int64(st.End), LedgerEndTerm: int64(st.EndTerm),
		DurableIndex: int64(st.Durable), CommitIndex: int64(st.Commit),
		AppliedIndex: int64(applied), StateHash: stateHash,
		LogHash: logHash, LogHashIndex: int64(logHashIndex),
		ClientAddr: b.clientAddr(), Durability: string(b.cfg.Durability.Ack), Version: b.cfg.Version,
		Serving: b.leaderships.serving() != nil, LastFailover: phases(st.Failover),
		Standing: st.Standing,
		Seat:     st.Seat, Outcast: st.Outcast, Group: groupMessage(st),
		ReadOnly: disk.blocked(), Trouble: b.trouble(), DiskFreeBytes: disk.fs.Free, DiskTotalBytes: disk.fs.Total,
	}
}

func suspectMessages(ranges []dledger.SuspectRange) (all []*brokerv1.SuspectRange) {
	for _, r := range ranges {
		all = append(all, &brokerv1.SuspectRange{
			FirstIndex: int64(r.First), LastIndex: int64(r.Last), Lost: r.Lost, Why: r.String(),
		})
	}
	return all
}

// phases are the parts of the newest election that this member won.
func phases(f dledger.Failover) []*brokerv1.FailoverPhase {
	if f.At.IsZero() {
		return nil
	}
	var all []*brokerv1.FailoverPhase
	for _, p := range []struct {
		name string
		took time.Duration
	}{{"detect", f.Detect}, {"elect", f.Elect}, {"commit", f.Commit}, {"serve", f.Serve}} {
		all = append(all, &brokerv1.FailoverPhase{Name: p.name, Seconds: p.took.Seconds()})
	}
	return all
}

func peerMessage(st *dledger.Status, p dledger.PeerStatus) *brokerv1.PeerStatus {
	m := &brokerv1.PeerStatus{
		Id: string(p.ID), PeerAddr: p.Addr, Connected: p.Connected, WaterMark: -1, Paused: p.Paused,
		MayNotVote: p.MayNotVote, Trouble: p.Trouble, Seat: p.Seat,
	}
	if p.Connected {
		m.ActiveSinceUnixMs = p.ActiveSince.UnixMilli()
	}
	if st.Role == member.Leader {
		m.WaterMark = int64(p.Match)
	}
	return m
}

// clientAddr is this broker's address for clients.
func (b *Broker) clientAddr() string { return b.cfg.advertised(b.sockets.client.Addr()) }

// groupAddrs are the client addresses of the whole group, empty where they are not
// known: a client can tell who is not in it any more.
func (b *Broker) groupAddrs() []*brokerv1.Member {
	known := b.clientAddrs()
	for _, seat := range b.ledger.Status().Members {
		if !slices.ContainsFunc(known, func(m *brokerv1.Member) bool { return m.GetId() == string(seat.ID) }) {
			known = append(known, &brokerv1.Member{Id: string(seat.ID)})
		}
	}
	return known
}

// clientAddrs are the client addresses of all members that this one knows of.
func (b *Broker) clientAddrs() []*brokerv1.Member {
	st := b.ledger.Status()
	all := []*brokerv1.Member{{Id: string(st.ID), ClientAddr: b.clientAddr()}}
	for _, p := range st.Peers {
		if p.ClientAddr != "" && p.Seat != dledger.SeatLeaving {
			all = append(all, &brokerv1.Member{Id: string(p.ID), ClientAddr: p.ClientAddr})
		}
	}
	return all
}
