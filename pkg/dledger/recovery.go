package dledger

import (
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// Recovery is the record of one recovery without a majority: when, where and why
// the group went on without the members that it had. It is kept for ever, in the
// members file and in the ledger.
type Recovery struct {
	// Generation is the name of the group from then on.
	Generation string
	Time       time.Time // to the millisecond
	Member     member.ID // on whose directory it was done
	// Before is the group that had lost its majority, After the one that goes on.
	Before, After member.Members
	Reason        string
	// End and EndTerm are the last entry that was there, committed or not; Applied
	// the last one that was known to be committed.
	End     member.Index
	EndTerm member.Term
	Applied member.Index
}

// String says what happened, in one line.
func (r Recovery) String() string {
	return fmt.Sprintf("generation %s: recovered on %s at %s from %s to %s, with the entries up to %d of term %d (known to be committed: %d): %s",
		r.Generation, r.Member, r.Time.UTC().Format(time.RFC3339), seatIDs(r.Before), seatIDs(r.After), r.End, r.EndTerm, r.Applied, r.Reason)
}

func seatIDs(ms member.Members) []member.ID {
	ids := make([]member.ID, len(ms))
	for i, s := range ms {
		ids[i] = s.ID
	}
	return ids
}

func recoveryToWire(r Recovery) *dledgerv1.Recovery {
	return &dledgerv1.Recovery{
		Generation: r.Generation, TimeUnixMs: r.Time.UnixMilli(), Member: string(r.Member),
		Before: seatsToWire(r.Before), After: seatsToWire(r.After), Reason: r.Reason,
		EndIndex: int64(r.End), EndTerm: int64(r.EndTerm), AppliedIndex: int64(r.Applied),
	}
}

func recoveryFromWire(r *dledgerv1.Recovery) Recovery {
	return Recovery{
		Generation: r.GetGeneration(), Time: time.UnixMilli(r.GetTimeUnixMs()).UTC(), Member: member.ID(r.GetMember()),
		Before: seatsFromWire(r.GetBefore()), After: seatsFromWire(r.GetAfter()), Reason: r.GetReason(),
		End: member.Index(r.GetEndIndex()), EndTerm: member.Term(r.GetEndTerm()), Applied: member.Index(r.GetAppliedIndex()),
	}
}

func seatsToWire(ms member.Members) []*dledgerv1.Seat {
	all := make([]*dledgerv1.Seat, len(ms))
	for i, s := range ms {
		all[i] = &dledgerv1.Seat{Id: string(s.ID), Learner: s.Learner, Address: s.Address}
	}
	return all
}

func seatsFromWire(all []*dledgerv1.Seat) member.Members {
	ms := make(member.Members, len(all))
	for i, s := range all {
		ms[i] = member.Seat{ID: member.ID(s.GetId()), Learner: s.GetLearner(), Address: s.GetAddress()}
	}
	return ms
}
