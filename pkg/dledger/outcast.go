package dledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// The seats of a member. DLedger has no such words.
const (
	SeatVoter   = "VOTER"
	SeatLearner = "LEARNER"
	SeatLeaving = "LEAVING" // of a peer: out of the group, but it may not know it
	SeatNone    = "NONE"    // of this member: not in the group, as far as it knows
)

// outcastFor is how long the word of a peer counts that this member is not of its
// group: it says so again with every request.
const outcastFor = 10 * time.Second

// outcast is what a peer has said.
type outcast struct {
	why string
	at  time.Time
}

// noteOutcast keeps what a peer has said, and wakes those who watch the status.
func (s *Server) noteOutcast(ctx context.Context, why string) {
	old := s.outcast.Swap(&outcast{why: why, at: time.Now()})
	if old == nil || old.why != why {
		s.deliver(ctx, letter{})
	}
}

// noteRefusal draws the consequences if a peer is of another generation of the group.
// If that one has left this member's behind, this one must not serve any more, be it
// with a majority of those that were given up: two groups of one name would each
// acknowledge what the other does not have. It neither votes nor leads nor follows,
// from now on in memory, and with this directory for ever as soon as the members file
// says so: restarted where it cannot be told again it would be free to. A directory that is not proven counts nowhere anyway, and
// may yet be taken into the new generation.
func (s *Server) noteRefusal(ctx context.Context, p *peer, err error) {
	reason := s.generationRefused(err)
	if reason == "" || s.fenced.Load() { // the first word says it best: the others repeat it to each other
		return
	}
	s.noteOutcast(ctx, fmt.Sprintf("%s refuses it: %s", p.id, status.Convert(err).Message()))
	if reason != givenUp || !s.status.load().proven || s.fenced.Swap(true) {
		return
	}
	s.deliver(s.life, letter{givenUp: s.outcast.Load().why})
	p.log.Error("this member was given up by a recovery of its group: it neither votes nor leads nor follows any more")
	s.tellStanding(ctx, s.suspect.load())
	s.SetFit(false)
}

// GivenUp says whether a recovery of the group has left this member behind. What is after
// a Close still holds.
func (s *Server) GivenUp() bool { return s.fenced.Load() }

// writeGivenUp makes durable that this member was given up. Called by the state
// maintainer.
func (s *Server) writeGivenUp(why string) {
	next := s.members.record
	next.givenUp = why[:min(len(why), maxGivenUpBytes)]
	if err := s.members.save(next); err != nil {
		s.core.failed = errors.Join(s.core.failed, err)
	}
}

// rememberGivenUp is what follows at a start from what the members file says.
func (s *Server) rememberGivenUp() {
	why := s.members.record.givenUp
	if why == "" {
		return
	}
	s.log.Error("this member was given up by a recovery of its group: it neither votes nor leads nor follows", "why", why)
	s.outcast.Store(&outcast{why: why, at: time.Now()})
	s.fenced.Store(true)
}

// explainOutcast says why this member is not, or seems not to be, in the group, and
// what to do about it. Empty: it is. Called by the state maintainer.
func (s *Server) explainOutcast(ms member.Status) string {
	if ms.Seat() == SeatNone {
		return s.explainNoSeat(ms)
	}
	said := s.outcast.Load()
	switch {
	case said == nil:
		return ""
	case s.fenced.Load():
		return said.why
	case ms.Leader != "" || time.Since(said.at) > outcastFor:
		return ""
	}
	return said.why
}

func (s *Server) explainNoSeat(ms member.Status) string {
	for _, c := range s.members.record.changes {
		if _, ok := c.Members.Seat(s.cfg.ID); ok {
			return fmt.Sprintf("it was removed from the group, which is now %v, and takes no part in it: stop it and remove its data directory, "+
				"or add it again with `broker admin member add %s HOST:PORT`", seatIDs(ms.Members), s.cfg.ID)
		}
	}
	if ms.Leader != "" {
		return fmt.Sprintf("%s is bringing it up to date: the entry that names it has not come yet", ms.Leader)
	}
	return fmt.Sprintf("it waits to be added to the group: run `broker admin member add %s HOST:PORT` against one of %v", s.cfg.ID, seatIDs(ms.Members))
}

// disowned is what follows from a peer that does not know this member.
func disowned(by member.ID) string {
	return fmt.Sprintf("%s says that this member is not in its group: it was removed while it was away; stop it and remove its data directory, "+
		"or add it again with `broker admin member add`", by)
}

// logOutcast tells the log when the reason comes, changes or goes.
func (s *Server) logOutcast(old, next *Status) {
	switch {
	case old.Outcast == next.Outcast:
	case next.Outcast == "":
		s.log.Info("this member is in the group", "seat", next.Seat)
	default:
		s.log.Warn("this member is not in the group", "why", next.Outcast)
	}
}

// awaitSeat waits until this member is in the group: who is not has nothing to say to
// its members. Unless it leads: a leader that removes itself has to bring the others the
// entry that says so, or nobody ever commits it. False: ctx is done.
func (s *Server) awaitSeat(ctx context.Context) bool {
	for {
		st, _, changed := s.status.watch()
		if st.Seat != SeatNone || st.Role == member.Leader {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
