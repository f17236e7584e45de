package dledger

import (
	"context"
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// MembersChange is a change of the group that is committed.
type MembersChange struct {
	// At and Term are its entry's; NoIndex: it was so already.
	At   commitlog.Index
	Term commitlog.Term
}

// changeSlot waits for the end of one change of the group.
type changeSlot struct {
	event  member.ChangeMembers
	answer chan changeEnd // capacity 1
	at     member.Index   // of its entry; set by the state maintainer
	term   member.Term
}

// changeEnd is how a change ended.
type changeEnd struct {
	done MembersChange
	err  error
}

// ChangeMembers changes the group by one step and returns when that is committed.
// Errors are *Error: NOT_LEADER, NO_LEADER, LEADER_NOT_READY, LEADER_TRANSFERRING,
// MEMBERS_CHANGING, NOT_CAUGHT_UP, QUORUM_AT_RISK, UNKNOWN_MEMBER, INVALID_MEMBER,
// SHUTTING_DOWN are definite, LEADERSHIP_LOST is not; so is an end of ctx.
func (s *Server) ChangeMembers(ctx context.Context, ev member.ChangeMembers) (MembersChange, error) {
	slot := &changeSlot{event: ev, answer: make(chan changeEnd, 1), at: member.NoIndex}
	if !s.deliver(ctx, letter{change: slot}) {
		return MembersChange{}, s.refusal(CodeShuttingDown, "this broker is stopping; try another one")
	}
	select {
	case end := <-slot.answer:
		return end.done, end.err
	case <-ctx.Done():
		return MembersChange{}, fmt.Errorf("%v of %q: %w", ev.Op, ev.ID, ctx.Err())
	case <-s.stopping:
		return MembersChange{}, s.refusal(CodeLeadershipLost, "this broker stopped during the change; it may happen or not")
	}
}

// beginChange steps a change; its answer comes with the next Take.
func (s *Server) beginChange(slot *changeSlot) member.Event {
	s.core.askedChanges = append(s.core.askedChanges, slot)
	return slot.event
}

// answerChanges tells those whose changes did not begin, and notes the others.
func (s *Server) answerChanges(answers []member.ChangeAnswer) {
	if len(answers) != len(s.core.askedChanges) {
		panic(fmt.Sprintf("dledger: %d changes have %d answers", len(s.core.askedChanges), len(answers)))
	}
	for i, a := range answers {
		slot := s.core.askedChanges[i]
		switch {
		case a.Code == member.Success && a.At == member.NoIndex:
			slot.answer <- changeEnd{done: MembersChange{At: commitlog.NoIndex}}
		case a.Code == member.Success:
			slot.at, slot.term = a.At, a.Term
			s.core.changes = append(s.core.changes, slot)
		default:
			slot.answer <- changeEnd{err: s.changeRefusal(slot.event, a.Code)}
		}
	}
	s.core.askedChanges = nil
}

// changeRefusal says why a change did not begin.
func (s *Server) changeRefusal(ev member.ChangeMembers, code member.Code) *Error {
	switch code {
	case member.NotLeader:
		return s.refuseUnlessServingAs("change")
	case member.LeaderTransferring:
		return s.refusal(CodeLeaderTransferring, "the leadership is being handed over; try again")
	case member.ChangeNotReady:
		return s.refusal(CodeLeaderNotReady, "elected, but no entry of its own term is committed yet; try again")
	case member.ChangeInProgress:
		return s.refusal(CodeMembersChanging, "another change of the group is not committed yet: one at a time; try again")
	case member.NotCaughtUp:
		return s.refusal(CodeNotCaughtUp, fmt.Sprintf("%s cannot be promoted yet: it has not been heard lately, or its directory is not proven, or it lacks too many entries", ev.ID))
	case member.QuorumAtRisk:
		return s.refusal(CodeQuorumAtRisk, fmt.Sprintf("after %v of %s too few of the voters would be up for anything to be committed: bring them back first", ev.Op, ev.ID))
	case member.UnknownMember:
		return s.refusal(CodeUnknownMember, fmt.Sprintf("%q is not in group %s; members are %v", ev.ID, s.cfg.Group, s.groupIDs()))
	case member.UnexpectedArgument:
		return s.refusal(CodeInvalidMember, s.explainInvalid(ev))
	}
	return s.refusal(CodeInvalidMember, fmt.Sprintf("%v of %s: %v", ev.Op, ev.ID, code))
}

func (s *Server) explainInvalid(ev member.ChangeMembers) string {
	group := s.core.member.Status().Members
	if seat, known := group.Seat(ev.ID); ev.Op == member.AddLearner && known {
		kind := "a voter"
		if seat.Learner {
			kind = "a learner"
		}
		return fmt.Sprintf("%s is in the group already, as %s at %s: remove it first if it has moved", ev.ID, kind, seat.Address)
	}
	return fmt.Sprintf("%v of %s is not possible: a group has 1 to 9 voters and at most 3 learners, and now has %d and %d",
		ev.Op, ev.ID, group.CountVoters(), len(group)-group.CountVoters())
}

// settleChanges ends the changes that are committed now.
func (s *Server) settleChanges(commit member.Index) {
	kept := s.core.changes[:0]
	for _, slot := range s.core.changes {
		if slot.at > commit {
			kept = append(kept, slot)
			continue
		}
		end := changeEnd{done: MembersChange{At: logIndex(slot.at), Term: logTerm(slot.term)}}
		if term, err := s.ledger.TermAt(logIndex(slot.at)); err != nil || term != logTerm(slot.term) {
			end = changeEnd{err: s.refusal(CodeLeadershipLost, "another leader's entry stands in the place of the change")}
		}
		slot.answer <- end
	}
	clear(s.core.changes[len(kept):])
	s.core.changes = kept
}

// failChanges ends those of a leadership that is over.
func (s *Server) failChanges(rc member.RoleChange) {
	for _, slot := range s.core.changes {
		slot.answer <- changeEnd{err: s.refusal(CodeLeadershipLost, fmt.Sprintf("stopped leading (%s) before the change of the group was known to be committed; it may be or not", rc.Reason))}
	}
	s.core.changes = nil
}

// appendChange appends the entry by which this leader changes the group.
func (s *Server) appendChange(span member.Span, answers []member.ChangeAnswer) error {
	for i, a := range answers {
		if a.Code != member.Success || a.At != span.First || a.Term != span.Term {
			continue
		}
		ev := s.core.askedChanges[i].event
		group := s.group.Load()
		m := &dledgerv1.Membership{
			Seats: seatsToWire(a.Members), Op: dledgerv1.ChangeOp(ev.Op), Id: string(ev.ID), Address: ev.Address, Generation: group.generation,
		}
		for _, r := range group.recoveries {
			m.Recoveries = append(m.Recoveries, recoveryToWire(r))
		}
		body, err := encodeMembership(m)
		if err != nil {
			return err
		}
		return s.core.writer.appendChange(span, body)
	}
	panic(fmt.Sprintf("dledger: nobody asked for the change at entry %d of term %d", span.First, span.Term))
}
