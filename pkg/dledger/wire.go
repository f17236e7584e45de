package dledger

import (
	"cmp"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// The conversions between the member's messages and their wire form. Names and
// numbers of codes are the same on both sides.

func (s *Server) voteRequestToWire(m member.VoteRequest) *dledgerv1.VoteRequest {
	return &dledgerv1.VoteRequest{
		Header: s.header(m.To), Term: int64(m.Term), Candidate: string(m.From),
		LedgerEndIndex: int64(m.LedgerEndIndex), LedgerEndTerm: int64(m.LedgerEndTerm),
		PreVote: m.PreVote, Transfer: m.Transfer, Unproven: m.Unproven,
	}
}

func (s *Server) voteRequestFromWire(r *dledgerv1.VoteRequest) member.VoteRequest {
	return member.VoteRequest{
		From: member.ID(r.GetCandidate()), To: s.cfg.ID, Term: member.Term(r.GetTerm()),
		LedgerEndIndex: member.Index(r.GetLedgerEndIndex()), LedgerEndTerm: member.Term(r.GetLedgerEndTerm()),
		PreVote: r.GetPreVote(), Transfer: r.GetTransfer(),
		Incarnation: member.Incarnation(r.GetHeader().GetIncarnation()), Unproven: r.GetUnproven(),
	}
}

func (s *Server) voteResponseToWire(m member.VoteResponse, h *dledgerv1.Header) *dledgerv1.VoteResponse {
	return &dledgerv1.VoteResponse{
		Term: int64(m.Term), Result: dledgerv1.VoteResult(m.Result), PreVote: m.PreVote,
		RequestId: h.GetRequestId(), From: string(s.cfg.ID), RequestTerm: int64(m.RequestTerm),
		Asker: string(m.Asker), Fresh: m.Fresh,
	}
}

func (s *Server) voteResponseFromWire(p *peer, r *dledgerv1.VoteResponse) (member.Message, error) {
	if err := s.checkResponse(p, r.GetFrom(), r.GetTerm()); err != nil {
		return nil, err
	}
	if r.GetResult() == dledgerv1.VoteResult_VOTE_RESULT_REJECT_UNKNOWN_LEADER {
		s.noteOutcast(s.life, disowned(p.id))
	}
	return member.VoteResponse{
		From: p.id, To: s.cfg.ID, Term: member.Term(r.GetTerm()), Result: member.VoteResult(r.GetResult()),
		PreVote: r.GetPreVote(), RequestTerm: member.Term(r.GetRequestTerm()),
		Asker: member.Incarnation(r.GetAsker()), Fresh: r.GetFresh(),
	}, nil
}

func (s *Server) heartBeatRequestToWire(m member.HeartBeatRequest) *dledgerv1.HeartBeatRequest {
	r := &dledgerv1.HeartBeatRequest{
		Header: s.header(m.To), Term: int64(m.Term), Leader: string(m.Leader), CommitIndex: int64(m.Commit),
		Members: s.directory(), DigestIndex: int64(member.NoIndex), NeedsSeed: s.needsSeed(m.To),
		Proves: string(m.Proves), ProofIndex: int64(m.ProofIndex),
	}
	if d, ok := s.digestAt(logIndex(m.Commit)); ok {
		r.DigestIndex, r.Digest = int64(d.index), d.crc
	}
	return r
}

func (s *Server) heartBeatRequestFromWire(r *dledgerv1.HeartBeatRequest) member.HeartBeatRequest {
	return member.HeartBeatRequest{
		From: member.ID(r.GetHeader().GetFrom()), To: s.cfg.ID, Term: member.Term(r.GetTerm()),
		Leader: member.ID(r.GetLeader()), Commit: member.Index(r.GetCommitIndex()),
		Proves: member.Incarnation(r.GetProves()), ProofIndex: member.Index(r.GetProofIndex()),
	}
}

func (s *Server) heartBeatResponseToWire(m member.HeartBeatResponse, h *dledgerv1.Header) *dledgerv1.HeartBeatResponse {
	m.DurableIndex, m.DurableTerm = s.vouch(m.DurableIndex, m.DurableTerm)
	return &dledgerv1.HeartBeatResponse{
		Term: int64(m.Term), Code: dledgerv1.ResponseCode(m.Code), RequestId: h.GetRequestId(), From: string(s.cfg.ID),
		DurableIndex: int64(m.DurableIndex), DurableTerm: int64(m.DurableTerm), Info: s.ownInfo(),
		Healthy: m.Fit, RequestTerm: int64(m.RequestTerm), Incarnation: string(m.Incarnation), Unproven: m.Unproven,
	}
}

func (s *Server) heartBeatResponseFromWire(p *peer, r *dledgerv1.HeartBeatResponse) (member.Message, error) {
	if err := s.checkResponse(p, r.GetFrom(), r.GetTerm()); err != nil {
		return nil, err
	}
	return member.HeartBeatResponse{
		From: p.id, To: s.cfg.ID, Term: member.Term(r.GetTerm()), Code: member.Code(r.GetCode()),
		DurableIndex: member.Index(r.GetDurableIndex()), DurableTerm: member.Term(r.GetDurableTerm()),
		Fit: r.GetHealthy(), RequestTerm: member.Term(r.GetRequestTerm()),
		Incarnation: p.answering(r.GetIncarnation()), Unproven: r.GetUnproven(),
	}, nil
}

func (s *Server) pushRequestToWire(m member.PushRequest, frame commitlog.Frame) *pushFrame {
	return &pushFrame{entries: frame.Bytes, lent: frame, request: &dledgerv1.PushRequest{
		Header: s.header(m.To), Type: dledgerv1.PushType(m.Type), Term: int64(m.Term), Leader: string(m.Leader),
		PrevIndex: int64(m.PrevIndex), PrevTerm: int64(m.PrevTerm), CommitIndex: int64(m.Commit),
		FirstIndex: int64(m.First), LastIndex: int64(m.Last), FirstTerm: int64(m.FirstTerm),
	}}
}

func (s *Server) pushRequestFromWire(r *dledgerv1.PushRequest, runs []member.Run) member.PushRequest {
	return member.PushRequest{
		From: member.ID(r.GetHeader().GetFrom()), To: s.cfg.ID, Type: member.PushType(r.GetType()),
		Term: member.Term(r.GetTerm()), Leader: member.ID(r.GetLeader()),
		PrevIndex: member.Index(r.GetPrevIndex()), PrevTerm: member.Term(r.GetPrevTerm()), Commit: member.Index(r.GetCommitIndex()),
		First: member.Index(r.GetFirstIndex()), Last: member.Index(r.GetLastIndex()), Runs: runs, FirstTerm: member.Term(r.GetFirstTerm()),
	}
}

func (s *Server) pushResponseToWire(m member.PushResponse) *dledgerv1.PushResponse {
	m.DurableIndex, m.DurableTerm = s.vouch(m.DurableIndex, m.DurableTerm)
	return &dledgerv1.PushResponse{
		Type: dledgerv1.PushType(m.Type), Term: int64(m.Term), Code: dledgerv1.ResponseCode(m.Code), From: string(s.cfg.ID),
		DurableIndex: int64(m.DurableIndex), DurableTerm: int64(m.DurableTerm), EndIndex: int64(m.EndIndex),
		XTerm: int64(m.XTerm), XIndex: int64(m.XIndex), RequestTerm: int64(m.RequestTerm), PrevIndex: int64(m.PrevIndex),
		Incarnation: string(m.Incarnation), Unproven: m.Unproven,
	}
}

func (s *Server) pushResponseFromWire(p *peer, r *dledgerv1.PushResponse) (member.Message, bool) {
	if err := s.checkResponse(p, r.GetFrom(), r.GetTerm()); err != nil {
		p.log.Error("push response", "err", err)
		return nil, false
	}
	return member.PushResponse{
		From: p.id, To: s.cfg.ID, Type: member.PushType(r.GetType()), Term: member.Term(r.GetTerm()), Code: member.Code(r.GetCode()),
		DurableIndex: member.Index(r.GetDurableIndex()), DurableTerm: member.Term(r.GetDurableTerm()), EndIndex: member.Index(r.GetEndIndex()),
		XTerm: member.Term(r.GetXTerm()), XIndex: member.Index(r.GetXIndex()),
		RequestTerm: member.Term(r.GetRequestTerm()), PrevIndex: member.Index(r.GetPrevIndex()),
		Incarnation: p.answering(r.GetIncarnation()), Unproven: r.GetUnproven(),
	}, true
}

func (s *Server) transferRequestToWire(m member.TransferRequest) *dledgerv1.LeadershipTransferRequest {
	return &dledgerv1.LeadershipTransferRequest{
		Header: s.header(m.To), Term: int64(m.Term), Leader: string(m.From), Transferee: string(m.To),
		LedgerEndIndex: int64(m.LedgerEndIndex),
	}
}

func (s *Server) transferRequestFromWire(r *dledgerv1.LeadershipTransferRequest) member.TransferRequest {
	return member.TransferRequest{
		From: member.ID(r.GetLeader()), To: s.cfg.ID, Term: member.Term(r.GetTerm()), LedgerEndIndex: member.Index(r.GetLedgerEndIndex()),
	}
}

func (s *Server) transferResponseToWire(m member.TransferResponse, h *dledgerv1.Header) *dledgerv1.LeadershipTransferResponse {
	return &dledgerv1.LeadershipTransferResponse{
		Term: int64(m.Term), Code: dledgerv1.ResponseCode(m.Code), RequestId: h.GetRequestId(), From: string(s.cfg.ID),
		RequestTerm: int64(m.RequestTerm),
	}
}

func (s *Server) transferResponseFromWire(p *peer, r *dledgerv1.LeadershipTransferResponse) (member.Message, error) {
	if err := s.checkResponse(p, r.GetFrom(), r.GetTerm()); err != nil {
		return nil, err
	}
	return member.TransferResponse{
		From: p.id, To: s.cfg.ID, Term: member.Term(r.GetTerm()), Code: member.Code(r.GetCode()), RequestTerm: member.Term(r.GetRequestTerm()),
	}, nil
}

// answering is the incarnation that an answer names. A peer of an older version,
// which names none, is known by its requests.
func (p *peer) answering(incarnation string) member.Incarnation {
	return member.Incarnation(cmp.Or(incarnation, p.incarnation()))
}

// checkResponse refuses an answer of somebody else than the one who was asked: an
// address in the configuration leads to the wrong broker.
func (s *Server) checkResponse(p *peer, from string, term int64) error {
	if from != string(p.id) {
		return fmt.Errorf("answer from %q instead of %s: %s in the list of peers is another broker's address", from, p.id, p.addr)
	}
	return s.checkTerm(term)
}
