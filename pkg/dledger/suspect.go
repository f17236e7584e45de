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
	// Attempt says what came of the last attempt to repair it; empty: none yet.
	Attempt string
}

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
		for _, r := range ranges {
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
	may := excused(ranges, s.settled()) && !s.cfg.Member.Barred
	s.deliver(ctx, letter{event: member.Standing{MayVote: may}})
}

// excused says whether a member may vote in spite of the ranges. What is lost on every
// disk is no reason not to, once it is settled: no vote can bring it back, and nobody
// could lead any more. (The vote itself compares indexes and terms, which the log
// knows of faulty entries too.) An entry that is not known to be committed may never
// have been anywhere else: with it this member could win an election by the length of
// its ledger, and could then give its followers neither that entry nor what comes
// after. It waits for the others, who replace it.
func excused(ranges []SuspectRange, settled commitlog.Index) bool {
	return !slices.ContainsFunc(ranges, func(r SuspectRange) bool { return !r.Lost || r.Last > settled })
}

// settled is the last entry that is known here to be committed, be it because the
// state had it applied before this process began.
func (s *Server) settled() commitlog.Index {
	return max(s.commit.load(), commitlog.Index(s.applied.Load()))
}

// suspectRanges are the faulty ranges, with what is known of earlier attempts to
// repair them.
func suspectRanges(faulty []commitlog.FaultyRange, known []SuspectRange) (all []SuspectRange) {
	for _, f := range faulty {
		r := SuspectRange{First: f.First, Last: f.Last, Path: f.Path, Why: f.Why}
		for _, was := range known {
			if was.First == r.First && was.Last == r.Last {
				r.Lost, r.Attempt = was.Lost, was.Attempt
			}
		}
		all = append(all, r)
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
func (s *Server) noteAttempt(r SuspectRange, lost bool, attempt string) {
	now := slices.Clone(s.suspect.load())
	for i := range now {
		if now[i].First == r.First && now[i].Last == r.Last {
			now[i].Lost, now[i].Attempt = lost, attempt
		}
	}
	s.storeSuspect(now)
	switch {
	case lost && !r.Lost:
		s.log.Error("DATA LOSS: no member has a good copy of these entries; they cannot be read, everything around them can. "+
			"Keep the disks: a copy may be found on one that is away; it is asked for again and again",
			"first", int64(r.First), "last", int64(r.Last), "why", r.Why, "attempt", attempt)
	case attempt != r.Attempt:
		s.log.Warn("commit log not repaired yet", "first", int64(r.First), "last", int64(r.Last), "attempt", attempt)
	}
}

// vouch limits what this member says to hold durably to what it does hold. An
// entry that is committed needs its copy no more; one that is not would be
// counted with it, also if every peer has said that it has no copy: one may have
// it in memory only.
func (s *Server) vouch(index member.Index, term member.Term) (member.Index, member.Term) {
	faulty, ok := s.ledger.FaultyAfter(s.settled())
	if !ok || index < memberIndex(faulty) {
		return index, term
	}
	before, err := s.ledger.TermAt(faulty - 1)
	if err != nil {
		return member.NoIndex, member.NoTerm
	}
	return memberIndex(faulty - 1), member.Term(before)
}

// Read reads entries of this member's log, committed or not. An entry that is
// damaged here is an *Error: DATA_DAMAGED while a copy is looked for, DATA_LOST
// once nobody has one. AwaitReadable waits for the end of that.
func (s *Server) Read(from, to commitlog.Index, maxBytes int) (commitlog.Frame, error) {
	f, err := s.ledger.Read(from, to, maxBytes)
	if errors.Is(err, commitlog.ErrFaulty) {
		return f, s.damagedError(from)
	}
	return f, err
}

func (s *Server) damagedError(i commitlog.Index) *Error {
	for _, r := range s.suspect.load() {
		if r.First <= i && i <= r.Last && r.Lost {
			return s.refusal(CodeDataLost, fmt.Sprintf(
				"entries %d to %d are damaged on every member: they cannot be read, those around them can; see docs/runbooks/damaged-disk.md", r.First, r.Last))
		}
	}
	return s.refusal(CodeDataDamaged, fmt.Sprintf("entry %d is damaged on the disk of member %s and is being repaired from a peer", i, s.cfg.ID))
}

// AwaitReadable waits until entry i is not faulty any more.
func (s *Server) AwaitReadable(ctx context.Context, i commitlog.Index) error {
	for {
		_, _, changed := s.suspect.watch()
		if f, ok := s.ledger.FaultyAfter(i - 1); !ok || f > i {
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
