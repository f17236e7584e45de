package dledger

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// maxTerm is above every term, maxIndex above every index.
const (
	maxTerm  commitlog.Term = math.MaxInt64
	maxIndex int64          = math.MaxInt64
)

// changeRole follows a change of role, term or leader as far as it concerns the
// log and what this member serves.
func (s *Server) changeRole(rc member.RoleChange) {
	before := s.core.role
	s.core.role = rc
	s.tellCommit() // whoever leads next has it applied
	s.core.failover.changed(before, rc, time.Now())
	if rc.Role == member.Leader {
		if !s.core.writer.master || s.core.writer.term != rc.Term {
			panic(fmt.Sprintf("dledger: leads term %d without its no-op entry", rc.Term))
		}
	} else {
		s.core.writer.becomeSlave(rc.Term)
		s.core.noop = member.NoIndex
		s.serveFrom.Store(maxIndex)
	}
	s.metrics.roleChanged(before, rc)
	s.log.Info("role", "role", rc.Role.String(), "term", int64(rc.Term), "leader", string(rc.Leader), "reason", string(rc.Reason))
}

// changeLedTerm follows whether this member leads, and in which term. What its
// outboxes hold is of the leadership before: receivers that are still in that
// term would take it for the word of their leader.
func (s *Server) changeLedTerm(rc member.RoleChange) {
	led := member.NoTerm
	if rc.Role == member.Leader {
		led = rc.Term
	}
	if s.ledTerm.Swap(int64(led)) == int64(led) {
		return
	}
	for _, p := range s.peerList() {
		p.outbox.clear()
	}
}

// leads says whether this member leads in term.
func (s *Server) leads(term member.Term) bool { return s.ledTerm.Load() == int64(term) }

// announceRole fails what was appended under a leadership that is over, and tells
// whoever wants to know. The status already shows the new role.
func (s *Server) announceRole(rc member.RoleChange) {
	lost := s.refusal(CodeLeadershipLost, "")
	if rc.Role == member.Leader {
		lost.Message = "led again in a newer term; the entries of the older one may be committed or not"
		s.countLost(s.pending.failBelow(logTerm(rc.Term), lost))
	} else {
		lost.Message = fmt.Sprintf("stopped leading (%s) before the entries were known to be committed; they may be or not", rc.Reason)
		s.countLost(s.pending.failBelow(maxTerm, lost))
	}
	s.failChanges(rc)
	s.cfg.OnRole(rc)
}

func (s *Server) countLost(n int) {
	s.metrics.proposals.WithLabelValues("lost").Add(float64(n))
}

// Applied tells that the entries from first on are applied, with one outcome for
// each. It is called in the order of the ledger, by one goroutine. With no
// outcomes it tells where a state store stands that was applied up to first-1
// before this process began.
func (s *Server) Applied(first commitlog.Index, outcomes []any) {
	last := first + commitlog.Index(len(outcomes)) - 1
	if int64(last) < s.applied.Load() {
		return
	}
	served := s.isServing()
	s.applied.Store(int64(last))
	ok := s.pending.applied(first, outcomes, s.ledger.TermAt)
	s.metrics.proposals.WithLabelValues("committed").Add(float64(ok))
	if !served && s.isServing() {
		select {
		case s.nowServing <- struct{}{}: // capacity 1
		default:
		}
	}
}

// isServing says whether this member leads and has applied everything up to the
// entry that opened its term.
func (s *Server) isServing() bool { return s.applied.Load() >= s.serveFrom.Load() }

// SetFit says whether this member's disk and process are fit to lead. A leader
// that is not hands over or steps down.
func (s *Server) SetFit(fit bool) {
	s.unfit.Store(!fit)
	s.tellHealth(s.life)
}

// tellHealth tells the member whether it is fit to lead. What it is told twice changes
// nothing.
func (s *Server) tellHealth(ctx context.Context) {
	fit := !s.unfit.Load() && !s.fenced.Load() && !s.hindered.Load()
	s.deliver(ctx, letter{event: member.Health{Fit: fit}})
}

// SetTrouble says, for the others to show, why this member should not lead; empty:
// nothing. It changes nothing here: SetFit does.
func (s *Server) SetTrouble(why string) { s.trouble.Store(&why) }

func (s *Server) ownTrouble() string {
	if why := s.trouble.Load(); why != nil {
		return *why
	}
	return ""
}
