package dledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// sendControlRequests carries votes, heartbeats and transfers to p and brings the
// answers to the member. Several of these run per peer. A request that fails is
// lost; the member has its own timeouts.
func (s *Server) sendControlRequests(ctx context.Context, p *peer) error {
	client := dledgerv1.NewDLedgerServiceClient(p.control)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-p.requests:
			if time.Since(r.at) > s.cfg.RPCTimeout {
				s.metrics.dropped.WithLabelValues(string(p.id), "late").Inc()
				continue
			}
			answer, err := s.callPeer(ctx, client, p, r.message)
			if err != nil {
				s.metrics.dropped.WithLabelValues(string(p.id), "failed").Inc()
				p.log.Debug("request to peer", "request", fmt.Sprintf("%T", r.message), "err", err)
				s.noteRefusal(ctx, p, err) // an idle push stream would not tell
				continue
			}
			if answer != nil && !p.paused.Load() {
				s.deliver(ctx, letter{event: member.Receive{Message: answer}})
			}
		}
	}
}

func (s *Server) callPeer(ctx context.Context, client dledgerv1.DLedgerServiceClient, p *peer, msg member.Message) (member.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RPCTimeout)
	defer cancel()
	switch m := msg.(type) {
	case member.VoteRequest:
		resp, err := client.Vote(ctx, s.voteRequestToWire(m))
		if err != nil {
			return nil, err
		}
		return s.voteResponseFromWire(p, resp)
	case member.HeartBeatRequest:
		resp, err := client.HeartBeat(ctx, s.heartBeatRequestToWire(m))
		if err != nil {
			return nil, err
		}
		s.noteHeartBeatResponse(ctx, p, resp)
		return s.heartBeatResponseFromWire(p, resp)
	case member.TransferRequest:
		resp, err := client.LeadershipTransfer(ctx, s.transferRequestToWire(m))
		if err != nil {
			return nil, err
		}
		return s.transferResponseFromWire(p, resp)
	}
	return nil, fmt.Errorf("%T is no control request", msg)
}

// noteHeartBeatResponse keeps what a follower says about itself.
func (s *Server) noteHeartBeatResponse(ctx context.Context, p *peer, resp *dledgerv1.HeartBeatResponse) {
	changed := p.healthy.Swap(resp.GetHealthy()) != resp.GetHealthy()
	if info := resp.GetInfo(); info.GetId() == string(p.id) {
		changed = p.learn(memberInfo{info.GetClientAddr(), info.GetIncarnation(), info.GetTrouble()}) || changed
	}
	if resp.GetDivergent() {
		s.noteDivergence(p, "the peer says that its history differs from this leader's")
	}
	if changed {
		s.deliver(ctx, letter{})
	}
}

// learn keeps what is known about the peer for clients and says whether it is new.
func (p *peer) learn(info memberInfo) bool {
	if info.clientAddr == "" || *p.info.Load() == info {
		return false
	}
	p.info.Store(&info)
	return true
}
