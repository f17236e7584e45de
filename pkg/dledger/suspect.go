package dledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// A server whose log has faulty entries is suspect: it follows, or goes on
// leading, but neither votes nor stands, because it may lack what it once
// acknowledged. It asks its peers for their copies until none is faulty.

// repairRetry is the wait between attempts to repair what no peer could help
// with. The first comes sooner.
const (
	repairFirstRetry = 50 * time.Millisecond
	repairRetry      = 5 * time.Second
)

// SuspectRange is a run of entries of which this member's disk has no good copy.
type SuspectRange struct {
	First, Last commitlog.Index
	Path        string // the file that is damaged
	Why         string // how it is damaged
	// Lost is set when every peer has answered that it has no good copy either.
	Lost bool
	// Expired is set instead where that is so because a peer's retention has removed
	// the entries: the group did not promise them any more, and this member kept them
	// for longer.
	Expired bool
	// Shared is set beside Lost where most members say to have had the entries.
	Shared bool
	// Attempt says what came of the last attempt to repair it; empty: none yet.
	Attempt string
}

// unobtainable says that no peer can bring the entries.
func (r SuspectRange) unobtainable() bool { return r.Lost || r.Expired }

// String says what is known about the range.
func (r SuspectRange) String() string {
	text := fmt.Sprintf("entries %d to %d: %s: %s", r.First, r.Last, r.Path, r.Why)
	if r.Attempt != "" {
		text += "; " + r.Attempt
	}
	return text
}

// repairLedger repairs the log whenever it is found damaged, and keeps the
// member from voting until then.
func (s *Server) repairLedger(ctx context.Context) error {
	delay := repairFirstRetry
	for ctx.Err() == nil {
		ranges := s.noteSuspect(ctx)
		if len(ranges) == 0 {
			delay = repairFirstRetry
			select {
			case <-ctx.Done():
			case <-s.ledger.Damaged():
			}
			continue
		}
		for _, r := range s.ledger.Faulty() {
			if err := s.repairRange(ctx, r); err != nil {
				return err
			}
		}
		if len(s.noteSuspect(ctx)) > 0 {
			pause(ctx, delay)
			delay = min(2*delay, repairRetry)
		}
	}
	return nil
}

// noteSuspect makes known what is faulty now, and tells the member what follows
// from it.
func (s *Server) noteSuspect(ctx context.Context) []SuspectRange {
	old := s.suspect.load()
	now := suspectRanges(s.ledger.Faulty(), old)
	s.storeSuspect(now)
	if was := len(old) > 0; was != (len(now) > 0) {
		s.log.Warn("this member's log", "suspect", !was, "ranges", len(now))
	}
	s.tellStanding(ctx, now)
	return now
}

// tellStanding tells the member whether it may vote. An event that finds things as
// they are changes nothing.
func (s *Server) tellStanding(ctx context.Context, ranges []SuspectRange) {
	may := Excused(ranges, s.settled()) && !s.cfg.Member.Barred && !s.fenced.Load()
	s.deliver(ctx, letter{event: member.Standing{MayVote: may}})
	if hindered := Hindered(ranges, s.settled()); s.hindered.Swap(hindered) != hindered {
		s.log.Warn("entries that only this member may have had cannot be read", "fit_to_lead", !hindered)
	}
	s.tellHealth(ctx)
}

// Hindered says whether a leader with these ranges can give its followers nothing more:
// it cannot read what comes next, that is not known to be committed, and an attempt to
// get it from the others has failed. It need not be anywhere else. Those who can go on
// without it do, when somebody else leads; this one would be heard as the leader, and
// commit nothing, for ever.
func Hindered(ranges []SuspectRange, settled commitlog.Index) bool {
	return slices.ContainsFunc(ranges, func(r SuspectRange) bool { return r.Last > settled && r.Attempt != "" && !r.Shared })
}

// Excused says whether a member may vote in spite of the ranges. What no disk has
// is no reason not to, once it is settled: no vote can bring it back, and nobody
// could lead any more. (The vote itself compares indexes and terms, which the log
// knows of faulty entries too.) An entry that is not known to be committed may never
// have been anywhere else: with it this member could win an election by the length of
// its ledger, and could then give its followers neither that entry nor what comes
// after. It waits for the others, who replace it. Unless most members have had it, and
// lost it: then there is nobody to wait for. (A power cut of all, before anybody had
// its state on disk, leaves nobody who knows what was committed.)
func Excused(ranges []SuspectRange, settled commitlog.Index) bool {
	return !slices.ContainsFunc(ranges, func(r SuspectRange) bool { return !r.unobtainable() || r.Last > settled && !r.Shared })
}

// settled is the last entry that is known here to be committed, be it because the
// state had it applied before this process began.
func (s *Server) settled() commitlog.Index {
	return max(s.commit.load(), commitlog.Index(s.applied.Load()))
}

// suspectRanges are the faulty ranges, with what is known of earlier attempts to
// repair them, and cut where that differs. known is in order.
func suspectRanges(faulty []commitlog.FaultyRange, known []SuspectRange) (all []SuspectRange) {
	for _, f := range faulty {
		next := f.First
		add := func(last commitlog.Index, was SuspectRange) {
			if next <= last {
				all = append(all, SuspectRange{
					First: next, Last: last, Path: f.Path, Why: f.Why, Lost: was.Lost, Expired: was.Expired, Shared: was.Shared, Attempt: was.Attempt,
				})
				next = last + 1
			}
		}
		for _, was := range known {
			if was.Last >= next && was.First <= f.Last {
				add(was.First-1, SuspectRange{})
				add(min(was.Last, f.Last), was)
			}
		}
		add(f.Last, SuspectRange{})
	}
	return all
}

// storeSuspect publishes the ranges, and wakes those who wait for entries if
// anything has changed.
func (s *Server) storeSuspect(now []SuspectRange) {
	lost := 0
	for _, r := range now {
		if r.Lost {
			lost += int(r.Last-r.First) + 1
		}
	}
	s.metrics.lost.Set(float64(lost))
	if !slices.Equal(s.suspect.load(), now) {
		s.suspect.store(now)
	}
}

// noteAttempt records what came of an attempt to repair a range.
func (s *Server) noteAttempt(r commitlog.FaultyRange, fates []fate) {
	old := s.suspect.load()
	var known []SuspectRange
	for _, was := range old {
		if was.Last < r.First {
			known = append(known, was)
		}
	}
	for _, f := range fates {
		known = append(known, f.stillKnown(old)...)
	}
	for _, was := range old {
		if was.First > r.Last {
			known = append(known, was)
		}
	}
	now := suspectRanges(s.ledger.Faulty(), known)
	s.storeSuspect(now)
	for _, r := range now {
		told := slices.ContainsFunc(old, func(was SuspectRange) bool {
			return was.First == r.First && was.Last == r.Last && was.Lost == r.Lost && (r.Lost || was.Attempt == r.Attempt)
		})
		if !told && r.Attempt != "" {
			s.logAttempt(r)
		}
	}
}

func (s *Server) logAttempt(r SuspectRange) {
	about := []any{"first", int64(r.First), "last", int64(r.Last), "why", r.Why, "attempt", r.Attempt}
	switch {
	case r.Lost:
		s.log.Error("DATA LOSS: no member has a good copy of these entries; they cannot be read, everything around them can. "+
			"Keep the disks: a copy may be found on one that is away; it is asked for again and again", about...)
	case r.Expired:
		s.log.Warn("these entries are damaged here, and the others have removed them by retention: they cannot be read, and go with the next that are purged", about...)
	default:
		s.log.Warn("commit log not repaired yet", about...)
	}
}

// vouch limits what this member says to hold durably to what it does hold. What most
// members have had and lost is the exception: nothing behind it could ever be committed,
// and no copy is missing that would be there without it.
func (s *Server) vouch(index member.Index, term member.Term) (member.Index, member.Term) {
	faulty, ok := s.ledger.FaultyAfter(s.settled())
	for _, r := range s.suspect.load() {
		if ok && r.Shared && r.First <= faulty && faulty <= r.Last {
			faulty, ok = s.ledger.FaultyAfter(r.Last)
		}
	}
	if !ok {
		return index, term
	}
	return Vouch(index, term, memberIndex(faulty), s.ledger.TermAt)
}

// Vouch cuts a durable position down to before the first faulty entry that is not
// settled. An entry that is committed needs its copy no more; one that is not would be
// counted with it, also if every peer has said that it has no copy: one may have it in
// memory only.
func Vouch(index member.Index, term member.Term, faulty member.Index, termAt func(commitlog.Index) (commitlog.Term, error)) (member.Index, member.Term) {
	if index < faulty {
		return index, term
	}
	before, err := termAt(logIndex(faulty - 1))
	if err != nil {
		return member.NoIndex, member.NoTerm
	}
	return faulty - 1, member.Term(before)
}

// Read reads entries of this member's log, committed or not. An entry that is
// damaged here is an *Error: DATA_DAMAGED while a copy is looked for, DATA_LOST
// once nobody has one. AwaitReadable waits for the end of that.
func (s *Server) Read(from, to commitlog.Index, maxBytes int) (commitlog.Frame, error) {
	read := s.ledger.Read
	if int64(from) > s.applied.Load() { // to apply it: nobody else is served it
		read = s.ledger.ReadForGroup
	}
	f, err := read(from, to, maxBytes)
	if errors.Is(err, commitlog.ErrFaulty) {
		return f, s.damagedError(from)
	}
	return f, err
}

func (s *Server) damagedError(i commitlog.Index) *Error {
	for _, r := range s.suspect.load() {
		if r.First <= i && i <= r.Last && r.Expired {
			return s.refusal(CodeDataLost, fmt.Sprintf(
				"entries %d to %d are damaged on the disk of member %s, and the other members have removed them by retention: they cannot be read, those around them can", r.First, r.Last, s.cfg.ID))
		}
		if r.First <= i && i <= r.Last && r.Lost {
			return s.refusal(CodeDataLost, fmt.Sprintf(
				"entries %d to %d are damaged on every member: they cannot be read, those around them can; see docs/runbooks/damaged-disk.md", r.First, r.Last))
		}
	}
	return s.refusal(CodeDataDamaged, fmt.Sprintf("entry %d is damaged on the disk of member %s and is being repaired from a peer", i, s.cfg.ID))
}

// Lost says whether entry i is known to be lost: every peer has given evidence that it
// has no good copy.
func (s *Server) Lost(i commitlog.Index) bool {
	return slices.ContainsFunc(s.suspect.load(), func(r SuspectRange) bool { return r.First <= i && i <= r.Last && r.Lost })
}

// AwaitReadable waits until entry i is not faulty any more.
func (s *Server) AwaitReadable(ctx context.Context, i commitlog.Index) error {
	return s.awaitEntry(ctx, i, func([]SuspectRange) bool { return false })
}

// AwaitRepair waits until entry i is not faulty any more, or it is known that no peer
// can bring it: then it is not readable.
func (s *Server) AwaitRepair(ctx context.Context, i commitlog.Index) (readable bool, err error) {
	readable = true
	err = s.awaitEntry(ctx, i, func(all []SuspectRange) bool {
		readable = !slices.ContainsFunc(all, func(r SuspectRange) bool { return r.First <= i && i <= r.Last && r.unobtainable() })
		return !readable
	})
	return readable && err == nil, err
}

func (s *Server) awaitEntry(ctx context.Context, i commitlog.Index, enough func([]SuspectRange) bool) error {
	for {
		now, _, changed := s.suspect.watch()
		if f, ok := s.ledger.FaultyAfter(i - 1); !ok || f > i || enough(now) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for entry %d to be repaired: %w", i, ctx.Err())
		case <-s.stopping:
			return s.refusal(CodeShuttingDown, "this broker is stopping")
		}
	}
}
