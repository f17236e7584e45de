package dledger

import (
	"fmt"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// What the answers of peers say about entries that nobody has brought: whether
// they are lost, or may yet be found, or are nobody's loss (ADR 0014).

// denialKind is why a peer does not bring an entry.
type denialKind uint8

const (
	notHere     denialKind = iota + 1 // its ledger ends before
	notDurable                        // it is in its memory only, as yet
	damagedToo                        // its own copy is damaged
	purgedThere                       // its retention has removed it: it was committed
	anotherTerm                       // it has another entry there: one of the two will be truncated
)

// denial is a peer's word that it has none of the entries from first to last.
type denial struct {
	first, last commitlog.Index
	kind        denialKind
	term        commitlog.Term // of what is damaged there; 0: not known
}

var nothingDenied = denial{first: 0, last: commitlog.NoIndex}

func (d denial) covers(i commitlog.Index) bool { return d.first <= i && i <= d.last }

func (d denial) String() string {
	switch d.kind {
	case notHere:
		return fmt.Sprintf("does not have entry %d", d.first)
	case notDurable:
		return fmt.Sprintf("does not have entry %d on its disk yet", d.first)
	case damagedToo:
		return fmt.Sprintf("its own copy of entry %d is damaged", d.first)
	case purgedThere:
		return fmt.Sprintf("has removed entry %d by retention", d.first)
	case anotherTerm:
		return fmt.Sprintf("has another entry %d, of another term", d.first)
	}
	return fmt.Sprintf("denialKind(%d)", uint8(d.kind))
}

// checkFetched says what a response is. Whether entries are the right ones is
// the log's to find out.
func checkFetched(peer string, r *dledgerv1.FetchResponse, from, to commitlog.Index) (entries []byte, denied *denial, err error) {
	kinds := map[dledgerv1.FetchResult]denialKind{
		dledgerv1.FetchResult_FETCH_RESULT_NOT_HERE:    notHere,
		dledgerv1.FetchResult_FETCH_RESULT_NOT_DURABLE: notDurable,
		dledgerv1.FetchResult_FETCH_RESULT_DAMAGED:     damagedToo,
		dledgerv1.FetchResult_FETCH_RESULT_PURGED:      purgedThere,
	}
	kind, denies := kinds[r.GetResult()]
	switch {
	case r.GetFrom() != peer:
		return nil, nil, fmt.Errorf("answer from %q instead of %s", r.GetFrom(), peer)
	case r.GetFirstIndex() != int64(from):
		return nil, nil, fmt.Errorf("asked for entry %d, got %d", from, r.GetFirstIndex())
	case denies:
		return nil, &denial{first: from, last: min(max(commitlog.Index(r.GetLastIndex()), from), to), kind: kind, term: commitlog.Term(r.GetTerm())}, nil
	case r.GetResult() != dledgerv1.FetchResult_FETCH_RESULT_ENTRIES || len(r.GetEntries()) == 0:
		return nil, nil, fmt.Errorf("answer %v with %d bytes", r.GetResult(), len(r.GetEntries()))
	}
	return r.GetEntries(), nil, nil
}

// ofThisHistory is the part of some entries before the first that has another term
// than this member's log knows it to have. That one is another entry, and so are all
// behind it: with that the peer denies what was asked for.
func (s *Server) ofThisHistory(entries []byte, from, to commitlog.Index) ([]byte, *denial) {
	for rest, i := entries, from; len(rest) > 0; i++ {
		h, _, after, err := commitlog.NextEntry(rest)
		if err != nil || h.Index != i {
			break // Repair says what is wrong with it
		}
		if term, err := s.ledger.TermAt(i); err == nil && term != h.Term {
			return entries[:len(entries)-len(rest)], &denial{first: i, last: to, kind: anotherTerm}
		}
		rest = after
	}
	return entries, nil
}

// fate is what the peers' answers make of some entries that nobody has brought.
type fate struct {
	first, last commitlog.Index
	lost        bool   // every peer has answered, and none has a good copy
	expired     bool   // so it is, and a peer has removed them by retention
	shared      bool   // they are lost, and most members have had them: see Excused
	away        bool   // nobody who answered has a chance of a copy, and somebody did not answer
	said        string // what the peers answered
}

// judgeFate judges entry `from`, and as many behind it as the same answers speak of.
// Only an answer which leaves no chance that the peer has a copy is evidence of loss:
// a peer that is away may have one, one in memory may reach the disk, and while a
// peer has another entry there it is not settled which of the two is the group's. term
// is that of entry `from` here; what the peers say to have damaged too is the same
// entry if it is that of theirs.
func judgeFate(peers []fetchPeer, from, to commitlog.Index, term commitlog.Term) fate {
	f := fate{first: from, last: to, lost: true}
	var said []string
	having, away := 1, false
	for _, p := range peers {
		why := p.said
		if !p.gone {
			why = p.denied.String()
			f.last = min(f.last, p.denied.last)
			f.lost = f.lost && p.denied.kind != notDurable && p.denied.kind != anotherTerm
			f.expired = f.expired || p.denied.kind == purgedThere
			if p.denied.kind == damagedToo && p.denied.term == term {
				having++
			}
		}
		away = away || p.absent
		said = append(said, fmt.Sprintf("%s %s", p.id, why))
	}
	f.away = f.lost && away
	f.lost = f.lost && !away
	f.expired = f.expired && f.lost
	f.lost = f.lost && !f.expired
	f.shared = f.lost && having > (len(peers)+1)/2
	f.said = strings.Join(said, "; ")
	return f
}

// stillKnown is what is known of a fate's entries after an attempt in which somebody was
// away. What was lost or expired once stays so: whoever is away has said before that it has
// no copy, and none of the others could have given it one. (One who comes back with another
// disk is asked again, and brings it.) Else a group that has lost an entry for good could
// elect nobody as soon as a single member is away. old is in order.
func (f fate) stillKnown(old []SuspectRange) (known []SuspectRange) {
	next := f.first
	add := func(last commitlog.Index, was SuspectRange) {
		if next <= last {
			was.First, was.Last = next, last
			known = append(known, was)
			next = last + 1
		}
	}
	unknown := SuspectRange{Lost: f.lost, Expired: f.expired, Shared: f.shared, Attempt: f.said}
	for _, was := range old {
		if f.away && was.unobtainable() && was.Last >= next && was.First <= f.last {
			add(was.First-1, unknown)
			add(min(was.Last, f.last), was)
		}
	}
	add(f.last, unknown)
	return known
}

// damagedTerm is the term of entry `from` here, and how far the entries up to `to` have
// the same one.
func (s *Server) damagedTerm(from, to commitlog.Index) (commitlog.Term, commitlog.Index) {
	last, term := s.damagedRun(from, to)
	return commitlog.Term(term), commitlog.Index(last)
}

// unknownFate says of a whole range why it is not repaired.
func unknownFate(r commitlog.FaultyRange, why string) []fate {
	return []fate{{first: r.First, last: r.Last, said: why}}
}
