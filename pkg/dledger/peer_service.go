package dledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

var (
	errStopping = status.Error(codes.Unavailable, "this member is stopping")
	errPaused   = status.Error(codes.Unavailable, "traffic with this peer is paused")
	errRetired  = status.Error(codes.Unavailable, "the caller has left the group of this member")
)

// duplicateFor is how long a second broker with a peer's id is reported after it
// was last heard.
const duplicateFor = 10 * time.Second

// peerService answers the requests of peers. Its handlers check, put an event
// into the inbox and wait for the member's answer.
type peerService struct {
	dledgerv1.UnsafeDLedgerServiceServer
	*Server
}

// Register registers the service of the peer listener.
func (s *Server) Register(registrar grpc.ServiceRegistrar) {
	dledgerv1.RegisterDLedgerServiceServer(registrar, peerService{Server: s})
}

// Vote implements dledgerv1.DLedgerServiceServer.
func (s peerService) Vote(ctx context.Context, r *dledgerv1.VoteRequest) (*dledgerv1.VoteResponse, error) {
	answer, err := s.serve(ctx, r.GetHeader(), r.GetCandidate(), r.GetTerm(), s.voteRequestFromWire(r))
	if err != nil {
		return nil, err
	}
	return s.voteResponseToWire(answer.(member.VoteResponse), r.GetHeader()), nil
}

// HeartBeat implements dledgerv1.DLedgerServiceServer.
func (s peerService) HeartBeat(ctx context.Context, r *dledgerv1.HeartBeatRequest) (*dledgerv1.HeartBeatResponse, error) {
	answer, err := s.serve(ctx, r.GetHeader(), "", r.GetTerm(), s.heartBeatRequestFromWire(r))
	if err != nil {
		return nil, err
	}
	m := answer.(member.HeartBeatResponse)
	resp := s.heartBeatResponseToWire(m, r.GetHeader())
	if m.Code == member.Success {
		s.meetLeader(ctx, r)
		s.learnMembers(ctx, r.GetMembers())
		if r.GetNeedsSeed() {
			s.cfg.OnNeedsSeed(member.ID(r.GetLeader()))
		}
		resp.Divergent = s.compareDigest(s.peer(member.ID(r.GetLeader())), r)
	}
	return resp, nil
}

// meetLeader brings a leader that is no peer to the state maintainer.
func (s *Server) meetLeader(ctx context.Context, r *dledgerv1.HeartBeatRequest) {
	leader := member.ID(r.GetLeader())
	if s.peer(leader) != nil {
		return
	}
	for _, m := range r.GetMembers() {
		if member.ID(m.GetId()) == leader && m.GetPeerAddr() != "" && len(m.GetPeerAddr()) <= maxAddressBytes {
			s.deliver(ctx, letter{stranger: &member.Seat{ID: leader, Address: m.GetPeerAddr()}})
		}
	}
}

// LeadershipTransfer implements dledgerv1.DLedgerServiceServer.
func (s peerService) LeadershipTransfer(ctx context.Context, r *dledgerv1.LeadershipTransferRequest) (*dledgerv1.LeadershipTransferResponse, error) {
	answer, err := s.serve(ctx, r.GetHeader(), r.GetLeader(), r.GetTerm(), s.transferRequestFromWire(r))
	if err != nil {
		return nil, err
	}
	return s.transferResponseToWire(answer.(member.TransferResponse), r.GetHeader()), nil
}

// serve checks a request and lets the member answer it. A sender that is not in
// the group is the member's to refuse, by its code.
func (s *Server) serve(ctx context.Context, h *dledgerv1.Header, claimed string, term int64, msg member.Message) (member.Message, error) {
	p, err := s.checkHeader(h)
	if err != nil {
		return nil, err
	}
	if p != nil && p.paused.Load() {
		return nil, errPaused
	}
	if claimed != "" && claimed != h.GetFrom() {
		return nil, status.Errorf(codes.InvalidArgument, "request of %q comes from %q", claimed, h.GetFrom())
	}
	if err := s.checkTerm(term); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	answer, err := s.ask(ctx, msg)
	if err != nil && !errors.Is(err, errStopping) {
		return nil, status.FromContextError(err).Err()
	}
	if p != nil && p.paused.Load() {
		return nil, errPaused
	}
	return answer, err
}

// checkHeader refuses what is not meant for this member before anything else is
// looked at (R12). The peer is nil if the sender is not in the group.
func (s *Server) checkHeader(h *dledgerv1.Header) (*peer, error) {
	switch {
	case h.GetClusterId() != s.cfg.ClusterID:
		return nil, s.refuseRequest(h, codes.FailedPrecondition, "member %s belongs to cluster %q, the request of %q to cluster %q: check cluster id and peer addresses",
			s.cfg.ID, s.cfg.ClusterID, h.GetFrom(), h.GetClusterId())
	case h.GetGroup() != s.cfg.Group:
		return nil, s.refuseRequest(h, codes.FailedPrecondition, "member %s belongs to group %q, the request of %q to group %q: check the peer addresses",
			s.cfg.ID, s.cfg.Group, h.GetFrom(), h.GetGroup())
	case h.GetTo() != string(s.cfg.ID):
		return nil, s.refuseRequest(h, codes.FailedPrecondition, "this is member %s, the request of %q is for %q: check the peer addresses",
			s.cfg.ID, h.GetFrom(), h.GetTo())
	}
	if err := s.checkGeneration(h); err != nil {
		return nil, err
	}
	if h.GetFrom() == string(s.cfg.ID) {
		s.noteOwnDuplicate(h)
		return nil, nil
	}
	p := s.peer(member.ID(h.GetFrom()))
	if p == nil {
		return nil, nil
	}
	return p, s.checkIncarnation(p, h)
}

// refuseRequest is the error for a request, logged once per kind of sender and
// while: a wrong configuration repeats itself ten times a second.
func (s *Server) refuseRequest(h *dledgerv1.Header, code codes.Code, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if s.complaints.fresh(h.GetClusterId()+"/"+h.GetGroup()+"/"+h.GetFrom()+"/"+h.GetTo(), time.Now()) {
		s.log.Error("request refused", "why", text)
	}
	s.metrics.refused.Inc()
	return status.Error(code, text)
}

// noteOwnDuplicate complains of a request that carries this member's own id: the
// member refuses it by its code.
func (s *Server) noteOwnDuplicate(h *dledgerv1.Header) {
	now := time.Now()
	s.duplicateAt.Store(&now)
	_ = s.refuseRequest(h, codes.AlreadyExists, "two brokers have the id %s: this one has data directory %s, the other one %s; stop one of them",
		s.cfg.ID, s.cfg.Incarnation, h.GetIncarnation())
}

// checkIncarnation refuses a second broker that uses the id of a peer. Every live
// peer keeps a push stream open to this member, so another incarnation beside an
// open stream is not a peer that came back with a new data directory.
func (s *Server) checkIncarnation(p *peer, h *dledgerv1.Header) error {
	if p.take(h.GetIncarnation(), p.current.Load()) {
		return nil
	}
	return s.refuseRequest(h, codes.AlreadyExists, "two brokers have the id %s: one with data directory %s is connected, this one has %s; stop one of them",
		p.id, p.incarnation(), h.GetIncarnation())
}

// take notes the incarnation of a request, unless another one is connected.
func (p *peer) take(incarnation string, open *inboundStream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if incarnation == p.mu.incarnation {
		return true
	}
	if open != nil && open.incarnation != incarnation {
		p.mu.duplicateAt = time.Now()
		return false
	}
	p.mu.incarnation = incarnation
	return true
}

func (p *peer) incarnation() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.incarnation
}

// duplicated says whether a second broker with the peer's id was heard lately.
func (p *peer) duplicated(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.mu.duplicateAt.IsZero() && now.Sub(p.mu.duplicateAt) < duplicateFor
}

// checkTerm refuses a term so far ahead that only a fault can have made it (R2).
func (s *Server) checkTerm(term int64) error {
	if known := s.status.load().Term; member.Term(term)-known > maxTermJump {
		return fmt.Errorf("term %d is too far ahead of term %d to be believed", term, known)
	}
	return nil
}
