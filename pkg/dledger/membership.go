package dledger

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// groupName is what tells a group that was recovered without a majority from the
// one that it was before. It is immutable.
type groupName struct {
	generation string // empty: it never was
	recoveries []Recovery
	changes    []member.Change // as in the members file
}

// noteGroup makes known what the members file says. Called by the state maintainer.
func (s *Server) noteGroup() {
	r := s.members.record
	s.group.Store(&groupName{generation: r.generation, recoveries: r.recoveries, changes: r.changes})
}

// refuseHalfRecovered refuses a directory in which a recovery was cut short after
// it was decided for.
func (s *Server) refuseHalfRecovered() error {
	r, outline := s.members.record, ledgerOutline(s.ledger)
	for _, c := range r.changes {
		if isUnfinished(c, r, s.cfg.ID, outline) {
			return fmt.Errorf("dledger: a recovery of %s was cut short: its entry %d is not in the ledger; run it again: broker recover", s.cfg.Dir, c.At)
		}
	}
	return nil
}

// warnOfOtherPeers says that the configuration names another group than the one
// that this member is in, which is no fault: it names how the group began.
func (s *Server) warnOfOtherPeers(group member.Members) {
	configured := s.cfg.members()
	if !slices.Equal(configured, group) {
		s.log.Info("the group is not, or not any more, the one that the configuration names; what was changed since counts",
			"configured", describeSeats(configured), "group", describeSeats(group))
	}
}

func describeSeats(ms member.Members) []string {
	all := make([]string, len(ms))
	for i, s := range ms {
		all[i] = fmt.Sprintf("%s=%s", s.ID, s.Address)
		if s.Learner {
			all[i] += " (learner)"
		}
	}
	return all
}

// saveChanges makes the changes of an update durable, and with them what the pushes
// of this update say about recoveries.
func (s *Server) saveChanges(u member.Update) error {
	if u.Changes == nil {
		return nil
	}
	var more []Recovery
	for _, p := range s.core.received {
		for _, r := range p.membership.GetRecoveries() {
			more = append(more, recoveryFromWire(r))
		}
	}
	was := s.members.record.changes
	if err := s.members.saveChanges(u.Changes, more); err != nil {
		return err
	}
	s.noteGroup()
	newest := u.Changes[len(u.Changes)-1]
	text := "the group changes"
	if slices.ContainsFunc(was, func(c member.Change) bool { return c.At == newest.At && c.Term == newest.Term }) {
		text = "a change of the group was undone"
	}
	s.log.Info(text, "entry", int64(newest.At), "term", int64(newest.Term), "members", describeSeats(newest.Members))
	return nil
}

// changePeers goes over to the peers that the member names.
func (s *Server) changePeers(u member.Update) {
	if u.Peers != nil {
		s.core.seats = u.Peers
	} else if s.core.stranger == nil {
		return
	}
	s.seatPeers()
}

// seatPeers makes the peers those of the member, and the leader if it is not one of
// them: a member that is being added, or was away while the leader was, learns who
// that is from its entries only, and those the leader must bring.
func (s *Server) seatPeers() {
	want := s.core.seats
	if stranger := s.core.stranger; stranger != nil {
		if stranger.ID != s.core.member.Leader() || slices.ContainsFunc(want, func(s member.Seat) bool { return s.ID == stranger.ID }) {
			s.core.stranger = nil
		} else {
			want = append(slices.Clone(want), *stranger)
		}
	}
	if err := s.followMembers(want); err != nil && s.complaints.fresh("address", time.Now()) {
		s.log.Error("a member cannot be talked to; remove it, and add it with its proper address", "err", err)
	}
}

// meet takes in a leader that is not one of the peers.
func (s *Server) meet(stranger member.Seat) {
	if stranger.ID != s.core.member.Leader() || s.peer(stranger.ID) != nil {
		return
	}
	s.log.Info("the leader is not in the group that this member knows of; it is followed", "leader", string(stranger.ID), "addr", stranger.Address)
	s.core.stranger = &stranger
	s.seatPeers()
}

// generation is the name of the group that this member is in.
func (s *Server) generation() string { return s.group.Load().generation }

// adoption asks the state maintainer to take over the name of the group.
type adoption struct {
	generation string
	answer     chan bool // capacity 1
}

// adoptGeneration takes over the name of the group that a request comes from, if
// nothing in this directory is of another one: it is not proven and holds no entry, so
// that nobody can have counted on it.
func (s *Server) adoptGeneration(name string) bool {
	r := s.members.record
	if r.generation == name {
		return true
	}
	if outline := ledgerOutline(s.ledger); r.generation != "" || s.ballot.load().Proven || outline.End() != member.NoIndex {
		return false
	}
	r.generation = name
	if err := s.members.save(r); err != nil {
		s.core.failed = errors.Join(s.core.failed, err)
		return false
	}
	s.noteGroup()
	s.log.Info("joined a group that was recovered without a majority", "generation", name)
	return true
}

// The reasons of a refusal that only a new directory can change: the sender is of a
// generation that the receiver does not know, or of one that its own has left behind.
const (
	otherGeneration = "OTHER_GENERATION"
	givenUp         = "GIVEN_UP"

	refusedKey = "generation" // of the sender, as the receiver has seen it
)

// follows says whether the group has left the generation of that name behind.
func (g *groupName) follows(name string) bool {
	return g.generation != name && (name == "" || slices.ContainsFunc(g.recoveries, func(r Recovery) bool { return r.Generation == name }))
}

// checkGeneration refuses a request from a group that was left behind by a recovery
// without a majority, or from the one that left this member behind. A member that
// knows that it was given up refuses the others that were, too: it acknowledges
// nothing for them, and they learn it from it.
func (s *Server) checkGeneration(h *dledgerv1.Header) error {
	switch {
	case h.GetGeneration() == s.generation() && s.fenced.Load():
		return withReason(h, s.refuseRequest(h, codes.FailedPrecondition, "%s", s.outcast.Load().why), givenUp)
	case h.GetGeneration() == s.generation(), s.adopt(h):
		return nil
	}
	own := s.group.Load()
	text := fmt.Sprintf("member %s is of generation %q of its group, the request of %q of generation %q: the group was recovered without a majority "+
		"and without one of the two. The one that was given up must not come back with its data directory: stop it, remove the directory, and add it "+
		"anew with `broker admin member add` (docs/runbooks/majority-lost.md)", s.cfg.ID, own.generation, h.GetFrom(), h.GetGeneration())
	if n := len(own.recoveries); n > 0 {
		text += fmt.Sprintf("; %s knows of %v", s.cfg.ID, own.recoveries[n-1])
	}
	refused := s.refuseRequest(h, codes.FailedPrecondition, "%s", text)
	reason := otherGeneration
	if own.follows(h.GetGeneration()) {
		reason = givenUp
	}
	return withReason(h, refused, reason)
}

// withReason says in an error for a machine why a request was refused.
func withReason(h *dledgerv1.Header, refused error, reason string) error {
	detailed, err := status.Convert(refused).WithDetails(&errdetails.ErrorInfo{
		Reason: reason, Domain: "ledgermq", Metadata: map[string]string{refusedKey: h.GetGeneration()},
	})
	if err != nil {
		return refused
	}
	return detailed.Err()
}

func (s *Server) adopt(h *dledgerv1.Header) bool {
	if s.generation() != "" || s.peer(member.ID(h.GetFrom())) == nil && !s.cfg.Joining {
		return false
	}
	a := &adoption{generation: h.GetGeneration(), answer: make(chan bool, 1)}
	if a.generation == "" || len(a.generation) > maxGenerationLen || !s.deliver(s.life, letter{adopt: a}) {
		return false
	}
	select {
	case ok := <-a.answer:
		return ok
	case <-s.stopping:
		return false
	}
}

// generationRefused is the reason for which a peer has refused this member's
// generation; empty: another one, or one that this member has left since.
func (s *Server) generationRefused(err error) string {
	for _, d := range status.Convert(err).Details() {
		info, ok := d.(*errdetails.ErrorInfo)
		if ok && (info.GetReason() == otherGeneration || info.GetReason() == givenUp) && info.GetMetadata()[refusedKey] == s.generation() {
			return info.GetReason()
		}
	}
	return ""
}
