package dledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// controlSenders is how many votes and heartbeats may be under way to one peer at
// once: a request that nobody answers must not hold up the next one.
const controlSenders = 3

// peer is everything between this member and another one: two connections out,
// what waits to be sent on them, and the stream that comes in.
type peer struct {
	id   member.ID
	addr string
	log  *slog.Logger

	control *grpc.ClientConn // votes, heartbeats, transfers: never behind bulk data
	bulk    *grpc.ClientConn // pushes, and requests forwarded for clients
	redials [2]*redialer     // of the two

	requests chan controlRequest // to the control senders
	outbox   *pushOutbox         // to the entry dispatcher
	inbound  chan *inboundStream // to the push receiver
	current  atomic.Pointer[inboundStream]
	paused   atomic.Bool
	fetching atomic.Bool               // it is being lent entries
	healthy  atomic.Bool               // it said that it is fit to lead
	active   atomic.Pointer[time.Time] // since when the outgoing stream is up; nil: it is not
	info     atomic.Pointer[memberInfo]
	diverged atomic.Bool // its history is known to differ from ours
	lagging  atomic.Bool // it needs entries that are purged here

	life    context.Context // done when the peer is not this member's any more
	retire  context.CancelFunc
	closing sync.Once

	mu struct {
		sync.Mutex
		incarnation string    // of the newest request that was taken
		duplicateAt time.Time // when a second broker with this id was last heard
	}
}

// memberInfo is what a member says about itself for clients.
type memberInfo struct{ clientAddr, incarnation, trouble string }

// controlRequest is a vote, heartbeat or transfer on its way.
type controlRequest struct {
	message member.Message
	at      time.Time // when the member asked for it
}

func (s *Server) newPeer(id member.ID, addr string) (*peer, error) {
	p := &peer{
		id: id, addr: addr, log: s.log.With("peer", string(id)),
		requests: make(chan controlRequest, controlSenders+1),
		outbox:   newPushOutbox(),
		inbound:  make(chan *inboundStream),
		redials:  [2]*redialer{newRedialer(s.cfg.Dial), newRedialer(s.cfg.Dial)},
	}
	p.info.Store(&memberInfo{})
	p.life, p.retire = context.WithCancel(s.life)
	var err error
	if p.control, err = s.dial(id, addr, controlConn, p.redials[0]); err != nil {
		return nil, fmt.Errorf("peer %s at %s: %w", id, addr, err)
	}
	if p.bulk, err = s.dial(id, addr, bulkConn, p.redials[1]); err != nil {
		return nil, errors.Join(fmt.Errorf("peer %s at %s: %w", id, addr, err), p.control.Close())
	}
	return p, nil
}

// close ends the peer and its connections. It may be called again.
func (p *peer) close() (err error) {
	p.retire()
	p.closing.Do(func() { err = errors.Join(p.control.Close(), p.bulk.Close()) })
	return err
}

// gone is closed when this member does not know the peer any more.
func (p *peer) gone() <-chan struct{} { return p.life.Done() }

// redialSoon cuts the waits between attempts to connect short: the peer has just
// shown that it lives.
func (p *peer) redialSoon() {
	for _, r := range p.redials {
		r.soon()
	}
}

// keepConnected keeps a connection up while nothing is sent on it, so that the
// first vote after a leader's death does not wait for one.
func keepConnected(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		state := conn.GetState()
		if state == connectivity.Idle {
			conn.Connect()
		}
		if state == connectivity.Shutdown || !conn.WaitForStateChange(ctx, state) {
			return nil
		}
	}
}

// header opens every request to the peer.
func (s *Server) header(to member.ID) *dledgerv1.Header {
	return &dledgerv1.Header{
		ClusterId: s.cfg.ClusterID, Group: s.cfg.Group, From: string(s.cfg.ID), To: string(to),
		RequestId: s.requestID.Add(1), Incarnation: s.cfg.Incarnation, Generation: s.generation(),
	}
}

// send brings a message of the member on its way. It never blocks: what does not
// fit is dropped and counted, and the member asks again in its own time.
func (s *Server) send(msg member.Message) {
	to := msg.Route().To
	switch m := msg.(type) {
	case member.VoteResponse:
		s.core.replies.answer(replyKey{kindVote, to, m.RequestTerm, m.PreVote}, m)
	case member.HeartBeatResponse:
		s.core.replies.answer(replyKey{kind: kindHeartBeat, peer: to, term: m.RequestTerm}, m)
	case member.TransferResponse:
		s.core.replies.answer(replyKey{kind: kindTransfer, peer: to, term: m.RequestTerm}, m)
	case member.PushResponse:
		s.sendPushResponse(m)
	case member.PushRequest:
		if p := s.peer(to); p != nil && !p.paused.Load() && s.leads(m.Term) {
			p.outbox.add(m)
			if m.Type == member.Commit && s.hasLeft(to) {
				p.outbox.sendNotice() // its removal is committed: it is forgotten then, perhaps before the next tick
			}
		}
	case member.VoteRequest, member.HeartBeatRequest, member.TransferRequest:
		s.sendControl(to, msg)
	}
}

// hasLeft says whether the newest group that is known is one without that member.
func (s *Server) hasLeft(id member.ID) bool {
	group := s.members.record.group()
	_, in := group.Seat(id)
	return len(group) > 0 && !in
}

func (s *Server) sendControl(to member.ID, msg member.Message) {
	p := s.peer(to)
	if p == nil || p.paused.Load() {
		return
	}
	select {
	case p.requests <- controlRequest{msg, time.Now()}:
	default:
		s.metrics.dropped.WithLabelValues(string(to), "control").Inc()
	}
}

// PausePeer drops all traffic to and from a peer until ResumePeer: a partition
// for tests and drills. The connections stay up.
func (s *Server) PausePeer(id member.ID) error { return s.setPaused(id, true) }

// ResumePeer ends PausePeer.
func (s *Server) ResumePeer(id member.ID) error { return s.setPaused(id, false) }

func (s *Server) setPaused(id member.ID, paused bool) error {
	p := s.peer(id)
	if p == nil {
		return s.unknownPeer(id)
	}
	if p.paused.Swap(paused) != paused {
		p.log.Warn("peer traffic", "paused", paused)
	}
	return nil
}

func (s *Server) unknownPeer(id member.ID) *Error {
	return s.refusal(CodeUnknownMember, fmt.Sprintf("%q is not another member of group %s; members are %v", id, s.cfg.Group, s.groupIDs()))
}

// PeerConn is the connection to a peer on which requests of clients may be
// forwarded; heartbeats and votes have another one.
func (s *Server) PeerConn(id member.ID) (grpc.ClientConnInterface, bool) {
	p := s.peer(id)
	if p == nil {
		return nil, false
	}
	return p.bulk, true
}
