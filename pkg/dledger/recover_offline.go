package dledger

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// recoveryTermJump is how far a recovery raises the term. The members that are given
// up may have gone on for a few terms: no entry of theirs shall ever have the index
// and term of one of the new generation, whatever fences fail.
const recoveryTermJump member.Term = 1024

// Holdings is what the directory of a stopped member holds, for the decision to go on
// with it alone.
type Holdings struct {
	ID         member.ID
	Term       member.Term
	Proven     bool // it surely holds all that this member has ever acknowledged
	Begin, End commitlog.Index
	EndTerm    commitlog.Term
	// Group is the newest one in the ledger, committed or not, Seat this member's place
	// in it: SeatVoter, SeatLearner or SeatNone.
	Group      member.Members
	Seat       string
	Generation string
	Recoveries []Recovery
	// LeftBehind says that an earlier recovery, on another member, gave this directory up;
	// empty: nobody has told it so.
	LeftBehind string
	// Faulty are the entries of which this disk has no good copy.
	Faulty []commitlog.FaultyRange
	// Unfinished is a recovery that was cut short after it was decided for; nil: none.
	Unfinished *Recovery

	group    member.Change // that made Group
	decision member.Change // of Unfinished
}

// GivenUp are the members that a recovery gives up: all others of the group.
func (h *Holdings) GivenUp() []member.ID {
	group := h.Group
	if h.Unfinished != nil {
		group = h.Unfinished.Before
	}
	return slices.DeleteFunc(seatIDs(group), func(id member.ID) bool { return id == h.ID })
}

// RecoverRequest is what a recovery is told besides the directory.
type RecoverRequest struct {
	// GiveUp must be Holdings.GivenUp, in any order: whoever asks must know them.
	GiveUp []member.ID
	// Reason is kept for ever: 1 to 1024 bytes. A recovery that is finished keeps its own.
	Reason string
	// Now is the time of the record, Unique a name that no other recovery has.
	Now    time.Time
	Unique string
	// Applied is the last entry that is known to be committed, for the record.
	Applied commitlog.Index
}

// offline is a directory that no Server has open.
type offline struct {
	cfg     Config
	ballot  *ballotFile
	members *membersFile
	log     *commitlog.Log
}

// openOffline opens what is there and makes nothing new.
func openOffline(cfg Config) (*offline, error) {
	cfg = cfg.withDefaults()
	o := &offline{cfg: cfg}
	owner := ballotOwner{clusterID: cfg.ClusterID, group: cfg.Group, id: cfg.ID}
	var err error
	if o.ballot, err = openBallot(cfg.Dir, owner); err != nil {
		return nil, err
	}
	if err := refuseLostLog(cfg, o.ballot); err != nil {
		return nil, errors.Join(err, o.ballot.close())
	}
	if !o.ballot.lived() {
		return nil, errors.Join(fmt.Errorf("%s has never taken part in a group: there is nothing to recover", cfg.Dir), o.ballot.close())
	}
	o.members, err = readMembersFile(commitlog.OSFS(), cfg.Dir, owner)
	if errors.Is(err, fs.ErrNotExist) {
		o.members, err = openMembers(commitlog.OSFS(), cfg, o.ballot) // of before there was such a file
	}
	if err == nil {
		lc := logConfig(cfg)
		lc.TolerateDamage, lc.ReadAll, lc.Registerer = true, true, nil
		o.log, err = commitlog.Open(lc)
	}
	if err != nil {
		return nil, errors.Join(err, o.ballot.close())
	}
	return o, nil
}

func (o *offline) close() error { return errors.Join(o.log.Close(), o.ballot.close()) }

// holdings looks at what is there.
func (o *offline) holdings() *Holdings {
	r, b := o.members.record, o.ballot.load()
	h := &Holdings{
		ID: o.cfg.ID, Term: b.Term, Proven: b.Proven, Begin: o.log.Begin(), Generation: r.generation, Recoveries: r.recoveries, Faulty: o.log.Faulty(),
		LeftBehind: r.givenUp,
	}
	h.End, h.EndTerm = o.log.End()
	outline := ledgerOutline(o.log)
	for i, c := range r.changes {
		switch {
		case i == 0, outline.Has(c.At, c.Term):
			h.group = c
		case isUnfinished(c, r, o.cfg.ID, outline):
			last := r.recoveries[len(r.recoveries)-1]
			h.Unfinished, h.decision = &last, c
		}
	}
	h.Group = h.group.Members
	h.Seat = member.Status{ID: o.cfg.ID, Members: h.Group}.Seat()
	return h
}

// isUnfinished says whether c is the change by which the newest recovery of this
// directory goes on, and its entry is the next one to be written. (A member that is
// brought up to date after it lost its disk can have met that change too, and then
// lost its entry in a crash. It is the leader's to bring again.)
func isUnfinished(c member.Change, r membersRecord, self member.ID, outline member.Ledger) bool {
	if len(r.recoveries) == 0 {
		return false
	}
	last := r.recoveries[len(r.recoveries)-1]
	return c.At == last.End+1 && last.Member == self && r.generation == last.Generation &&
		outline.End() == last.End && outline.EndTerm() == last.EndTerm
}

// Inspect says what the directory of a stopped member holds. cfg is what Open would be
// told. Like a start, it drops a torn tail of the log; it changes nothing else.
func Inspect(cfg Config) (*Holdings, error) {
	o, err := openOffline(cfg)
	if err != nil {
		return nil, err
	}
	return o.holdings(), o.close()
}

// Recover makes the member of a stopped directory the only one of its group, in a new
// generation, when a majority of the old one is gone for good. Whatever the directory
// holds counts as committed from then on, also what never was; what it lacks is lost,
// also what was acknowledged. The members that are given up are refused for ever with
// the directories that they had. A recovery that is cut short is finished by another
// call; until then the directory does not open.
func Recover(cfg Config, req RecoverRequest) (Recovery, error) {
	o, err := openOffline(cfg)
	if err != nil {
		return Recovery{}, err
	}
	r, err := o.recover(req)
	return r, errors.Join(err, o.close())
}

func (o *offline) recover(req RecoverRequest) (Recovery, error) {
	h := o.holdings()
	if err := h.refuse(req); err != nil {
		return Recovery{}, err
	}
	if h.Unfinished == nil {
		if err := o.decide(h, req); err != nil {
			return Recovery{}, err
		}
		h = o.holdings()
	}
	return *h.Unfinished, o.carryOut(h)
}

// refuse says why the directory cannot be recovered, or not like this.
func (h *Holdings) refuse(req RecoverRequest) error {
	givenUp := h.GivenUp()
	confirmed := slices.Sorted(slices.Values(req.GiveUp))
	switch {
	case len(h.Faulty) > 0:
		return fmt.Errorf("entries %d to %d are damaged on this disk, and only the members that are to be given up can have good copies: "+
			"recover on a member whose ledger is whole, or bring one of the others back (docs/runbooks/damaged-disk.md)", h.Faulty[0].First, h.Faulty[0].Last)
	case h.Seat == SeatNone:
		return fmt.Errorf("%s is not in the group, which is %v as far as it knows: recover on one of those", h.ID, h.Group)
	case len(givenUp) == 0:
		return fmt.Errorf("%s is the only member of its group and needs no other: start it", h.ID)
	case !slices.Equal(confirmed, givenUp):
		return fmt.Errorf("the members that would be given up are %v, confirmed were %v", givenUp, confirmed)
	case h.Unfinished != nil:
		return nil
	case strings.TrimSpace(req.Reason) == "" || len(req.Reason) > maxReasonBytes:
		return fmt.Errorf("a reason of 1 to %d bytes is needed: it is kept for ever", maxReasonBytes)
	case req.Unique == "" || len(h.Recoveries) >= maxRecoveries:
		return fmt.Errorf("%d recoveries are on record, at most %d can be", len(h.Recoveries), maxRecoveries)
	}
	return nil
}

// decide writes the decision: from here on the directory is of the new generation.
func (o *offline) decide(h *Holdings, req RecoverRequest) error {
	seat, _ := h.Group.Seat(h.ID)
	seat.Learner = false
	r := Recovery{
		Generation: fmt.Sprintf("%d-%s", len(h.Recoveries)+1, req.Unique), Time: req.Now.UTC().Truncate(time.Millisecond), Member: h.ID,
		Before: h.Group, After: member.Members{seat}, Reason: req.Reason,
		End: memberIndex(h.End), EndTerm: member.Term(h.EndTerm), Applied: memberIndex(req.Applied),
	}
	if err := checkRecovery(r); err != nil {
		return err
	}
	next := o.members.record
	next.givenUp = "" // whoever recovers it knows; Holdings has said so
	next.generation, next.recoveries = r.Generation, append(slices.Clone(h.Recoveries), r)
	next.changes = []member.Change{h.group, {At: r.End + 1, Term: h.Term + recoveryTermJump, Members: r.After}}
	return o.members.save(next)
}

// carryOut does what follows from the decision: the ballot, then the entry.
func (o *offline) carryOut(h *Holdings) error {
	ballot := member.Ballot{Term: h.decision.Term, VotedFor: h.ID, Proven: true}
	if h.Term < ballot.Term {
		if err := o.ballot.save(ballot); err != nil {
			return err
		}
		if err := o.ballot.mirror(); err != nil {
			return err
		}
	}
	m := &dledgerv1.Membership{
		Seats: seatsToWire(h.decision.Members), Op: dledgerv1.ChangeOp_CHANGE_OP_RECOVER, Id: string(h.ID), Generation: h.Unfinished.Generation,
	}
	for _, r := range h.Recoveries {
		m.Recoveries = append(m.Recoveries, recoveryToWire(r))
	}
	body, err := encodeMembership(m)
	if err != nil {
		return err
	}
	w := ledgerWriter{log: o.log}
	if err := w.appendChange(member.Span{First: h.decision.At, Last: h.decision.At, Term: h.decision.Term, Change: true}, body); err != nil {
		return err
	}
	for {
		done, err := o.log.Sync()
		if err != nil {
			return fmt.Errorf("sync commit log: %w", err)
		}
		if memberIndex(done.Index) >= h.decision.At {
			return nil
		}
	}
}
