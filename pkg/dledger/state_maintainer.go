package dledger

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// core is what only the state maintainer touches.
type core struct {
	member *member.Member
	writer ledgerWriter

	replies  replySlots      // requests of peers that wait for the member's answer
	asked    []*Proposal     // proposals stepped since the last Take, in order
	received []*receivedPush // pushes stepped since the last Take
	credits  []credit        // received bytes that are not durable yet, in ledger order
	transfer *transferSlot   // who waits for the transfer under way; nil: nobody
	failover failover
	mirror   ballotMirror

	askedChanges []*changeSlot // changes of the group stepped since the last Take, in order
	changes      []*changeSlot // those that wait to be committed
	seats        []member.Seat // whom the member wants as peers
	stranger     *member.Seat  // the leader, if it is none of them
	regrouped    bool          // the group has changed since the newest status
	failed       error         // of this member's own disk, outside of carryOut; final

	role member.RoleChange // the newest
	noop member.Index      // the entry that opened this leader's term; NoIndex: no leader

	commitUntold bool           // nobody was woken for the newest commit index
	commitTerm   commitlog.Term // of the entry at the newest one

	publishedAt time.Time // of the newest status
}

// maintainState is the only goroutine that touches s.core.
func (s *Server) maintainState(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.MaintainInterval)
	defer tick.Stop()
	defer s.refuseAsked()
	for {
		due := false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			due = true
		case l := <-s.inbox:
			s.step(l)
		case <-s.pending.wake:
			// Whoever else has a proposal to make and is ready to run goes first: so many
			// streams share a step, a push and a sync. Alone this costs nothing.
			runtime.Gosched()
		case <-s.nowServing:
		}
		s.stepAll(due)
		if s.core.failed != nil {
			return s.core.failed
		}
		if err := s.carryOut(s.core.member.Take()); err != nil {
			return err // a disk that fails, or a broken invariant, ends the broker
		}
		if due {
			s.tellLate()
			if err := s.mirrorBallot(time.Now()); err != nil {
				return err
			}
		}
	}
}

// stepAll steps whatever waits, and then the tick if one is due: on a machine
// that stood still, the answers that lie in the inbox are heard before their
// absence is judged.
func (s *Server) stepAll(due bool) {
	s.stepWaiting()
	if due {
		s.core.member.Step(time.Now(), member.Tick{})
		s.core.replies.forget()
	}
}

// stepWaiting steps whatever else has arrived, so that one Take, one write and
// one sync serve all of it. The size of the inbox bounds it.
func (s *Server) stepWaiting() {
	for range len(s.inbox) {
		s.step(<-s.inbox) // the state maintainer is the only one who takes
	}
	for _, p := range s.pending.takeWaiting() {
		s.core.member.Step(time.Now(), member.Propose{Count: len(p.Bodies)})
		s.core.asked = append(s.core.asked, p)
	}
}

func (s *Server) step(l letter) {
	now := time.Now()
	switch {
	case l.push != nil && s.holdsTruncate(l.push.request):
		return
	case l.push != nil:
		l.event = member.Receive{Message: l.push.request}
		if l.push.request.Last >= l.push.request.First {
			s.core.received = append(s.core.received, l.push)
		}
	case l.transfer != nil:
		if !s.beginTransfer(l.transfer) {
			return
		}
	case l.change != nil:
		l.event = s.beginChange(l.change)
	case l.adopt != nil:
		l.adopt.answer <- s.adoptGeneration(l.adopt.generation) // capacity 1
		return
	case l.givenUp != "":
		s.writeGivenUp(l.givenUp)
		return
	case l.stranger != nil:
		s.meet(*l.stranger)
		return
	case l.reply != nil:
		s.core.replies.add(l.event.(member.Receive).Message, l.reply)
	case l.event == nil:
		return // only a new status is wanted
	}
	if done, ok := l.event.(member.Persisted); ok {
		s.persistedCredits(done.Index)
	}
	s.core.failover.saw(l.event, s.core.role.Leader, now)
	s.core.member.Step(now, l.event)
}

// carryOut does what the member asks, in the order of Update's fields.
func (s *Server) carryOut(u member.Update) error {
	if u.Ballot != nil {
		if err := s.ballot.save(*u.Ballot); err != nil {
			return err
		}
		s.core.mirror.saved(time.Now())
	}
	if u.Truncate != nil {
		if err := s.core.writer.truncateFrom(*u.Truncate); err != nil {
			return err
		}
	}
	if err := s.saveChanges(u); err != nil {
		return err
	}
	if err := s.writeLedger(u); err != nil { // readable now, durable later
		return err
	}
	if u.Role != nil {
		s.changeLedTerm(*u.Role) // before the first push of a new leader
	}
	s.answerChanges(u.Changed)
	s.core.regrouped = s.core.regrouped || u.Peers != nil || u.Changes != nil
	s.changePeers(u)
	for _, msg := range u.Send {
		s.send(msg)
	}
	s.advanceCommit(u.Commit)
	if u.Role != nil {
		s.changeRole(*u.Role)
	}
	s.publishStatus()
	if u.Role != nil {
		s.announceRole(*u.Role)
	}
	for _, a := range u.Transfers {
		s.endTransfer(a)
	}
	return nil
}

// writeLedger appends as the update says, and answers the proposals that were
// refused.
func (s *Server) writeLedger(u member.Update) error {
	w := &s.core.writer
	accepted := s.answerProposals(u.Answers)
	s.pending.append(accepted) // before anything can fail: from here on they are answered
	for _, span := range u.Append {
		var err error
		switch {
		case span.Noop:
			if !w.leads(span.Term) { // else it proves a replaced member, and changes nothing here
				s.core.noop = span.First
				s.serveFrom.Store(maxIndex)
			}
			err = w.appendNoop(span)
		case span.Change:
			err = s.appendChange(span, u.Changed)
		case isOwn(span, accepted):
			err = w.appendOwn(span, accepted)
		default:
			err = w.appendReceived(span, s.core.received)
		}
		if err != nil {
			return err
		}
	}
	for _, a := range accepted {
		if a.proposal.Taken != nil {
			a.proposal.Taken()
		}
	}
	s.settleCredits(u)
	s.core.received = s.core.received[:0]
	return nil
}

// answerProposals refuses those proposals that the member did not take and
// returns the others with their places in the ledger.
func (s *Server) answerProposals(answers []member.ProposeAnswer) []pendingAppend {
	if len(answers) != len(s.core.asked) {
		panic(fmt.Sprintf("dledger: %d proposals have %d answers", len(s.core.asked), len(answers)))
	}
	if len(answers) == 0 {
		return nil
	}
	now := time.Now()
	accepted := make([]pendingAppend, 0, len(answers))
	for i, a := range answers {
		p := s.core.asked[i]
		switch a.Code {
		case member.Success:
			accepted = append(accepted, pendingAppend{
				proposal: p, first: logIndex(a.First), last: logIndex(a.Last), term: logTerm(a.Term), at: now,
			})
		case member.LeaderTransferring:
			s.refuse(p, s.refusal(CodeLeaderTransferring, "the leadership is being handed over; try again"))
		default:
			s.refuse(p, s.refusal(CodeNotLeader, "this member does not lead any more; ask the leader"))
		}
	}
	clear(s.core.asked)
	s.core.asked = s.core.asked[:0]
	return accepted
}

// refuseAsked answers the proposals that were stepped but got no answer, because
// the disk failed in between. Nothing of them was appended.
func (s *Server) refuseAsked() {
	s.pending.refuse(s.core.asked, s.refusal(CodeShuttingDown, "this broker is stopping; try another one"))
	s.core.asked = nil
}

func (s *Server) refuse(p *Proposal, err *Error) {
	s.metrics.proposals.WithLabelValues("rejected").Inc()
	s.pending.refuse([]*Proposal{p}, err)
}

// tellLate does, at every tick, what nobody waits for: applying here and at the
// peers what a leader has had committed. So it is done for many entries at once, and
// not while they are being acknowledged.
func (s *Server) tellLate() {
	s.tellCommit()
	s.sendNotices()
}

func (s *Server) sendNotices() {
	for _, p := range s.peerList() {
		p.outbox.sendNotice()
	}
}

func (s *Server) tellCommit() {
	if s.core.commitUntold {
		s.core.commitUntold = false
		s.commit.store(s.commit.load())
	}
}

// advanceCommit lets everyone read up to index. Who waits for it is at a leader, or wants
// to know that a new leader serves; else the broker applies at the next tick.
func (s *Server) advanceCommit(index member.Index) {
	if logIndex(index) <= s.commit.load() {
		return
	}
	term, err := s.ledger.TermAt(logIndex(index))
	news := err == nil && term != s.core.commitTerm
	if news {
		s.core.commitTerm = term
	}
	if news || s.core.role.Role == member.Leader {
		s.commit.store(logIndex(index))
		s.core.commitUntold = false
	} else {
		s.commit.replace(logIndex(index))
		s.core.commitUntold = true
	}
	s.settleChanges(index)
	now := time.Now()
	s.pending.committed(logIndex(index), now, s.metrics.commitSeconds.Observe)
	if s.core.noop != member.NoIndex && index >= s.core.noop {
		s.core.failover.committed(now)
		if s.serveFrom.Swap(int64(s.core.noop)) != int64(s.core.noop) {
			s.sendNotices() // that this leader serves
		}
	}
}
