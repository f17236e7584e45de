package dledger

import (
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Proposal is a request to append entries to the ledger, next to one another.
type Proposal struct {
	// Bodies are the bodies of the entries, at least one. Their CRCs have been
	// verified. They must not be modified until Taken or Done has been called.
	Bodies []commitlog.Body
	// Taken, if it is not nil, is called at most once, before Done, when the ledger has
	// copied the bodies, or has taken hold of those that are lent, and needs nothing else
	// any more. It must not block.
	Taken func()
	// Done is called exactly once, unless Propose returned an error; then never.
	// It must not block.
	Done func(ProposalResult)
}

// ProposalResult is what became of a Proposal.
type ProposalResult struct {
	// First is the index of the first entry and Term the term of all of them.
	First commitlog.Index
	Term  commitlog.Term
	// Outcomes are what Applied was given for the entries, one per body.
	Outcomes []any
	// Err says that the entries were not, or not certainly, committed. *Error.
	Err error
}

func (p *Proposal) bytes() int64 {
	var n int64
	for _, b := range p.Bodies {
		n += int64(len(b.Bytes))
	}
	return n
}

func (p *Proposal) validate() error {
	if len(p.Bodies) == 0 || p.Done == nil {
		return fmt.Errorf("a proposal needs bodies and Done")
	}
	for i, b := range p.Bodies {
		if len(b.Bytes) < 4 || len(b.Bytes) > commitlog.MaxBodyBytes {
			return fmt.Errorf("body %d has %d bytes, allowed are 4 to %d", i, len(b.Bytes), commitlog.MaxBodyBytes)
		}
		if b.Type != commitlog.TypeBatch && b.Type != commitlog.TypeCommand && b.Type != commitlog.TypeCarried {
			return fmt.Errorf("body %d has type %d, which nobody may propose", i, b.Type)
		}
	}
	return nil
}

// Propose asks to append p's bodies. It never blocks. A nil error means that
// Done will be called; an error is an *Error and certain: nothing was appended.
//
// Only a member that serves takes proposals: a leader that has applied the entry
// which opened its term.
func (s *Server) Propose(p *Proposal) error {
	if err := p.validate(); err != nil {
		return &Error{Code: CodeInvalidProposal, Message: err.Error()}
	}
	if err := s.refuseUnlessServing(); err != nil {
		s.metrics.proposals.WithLabelValues("rejected").Inc()
		return err
	}
	// A quorum of other disks lets appends come faster than this one writes them, and
	// until then they are memory.
	if s.ledger.Unsynced() > s.cfg.MaxPendingBytes {
		s.metrics.proposals.WithLabelValues("rejected").Inc()
		return s.PendingFull()
	}
	switch s.pending.admit(p) {
	case admitted:
		return nil
	case admitFull:
		s.metrics.proposals.WithLabelValues("rejected").Inc()
		return s.PendingFull()
	default:
		s.metrics.proposals.WithLabelValues("rejected").Inc()
		return s.refusal(CodeShuttingDown, "this broker is stopping; try another one")
	}
}

func (s *Server) refuseUnlessServing() error {
	st := s.status.load()
	switch {
	case st.Role == member.Leader && s.isServing():
		return nil
	case st.Role == member.Leader:
		return s.refusal(CodeLeaderNotReady, "elected, but not everything of earlier terms is applied yet; try again")
	case st.Leader == "":
		return s.refusal(CodeNoLeader, "no leader is known; try again")
	default:
		return s.refusal(CodeNotLeader, "this member does not lead; ask the leader")
	}
}
