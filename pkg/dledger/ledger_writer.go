package dledger

import (
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// ledgerWriter carries the member's truncations and appends over to the commit
// log and flips the log between MASTER and SLAVE, at once and in order with them.
// Owned by the state maintainer.
type ledgerWriter struct {
	log    *commitlog.Log
	master bool
	term   member.Term // of master
}

// becomeMaster opens the log for the entries of this member's own leadership.
func (w *ledgerWriter) becomeMaster(term member.Term) {
	if w.leads(term) {
		return
	}
	w.log.BecomeMaster(logTerm(term))
	w.master, w.term = true, term
}

// leads says whether the log is open for this member's leadership of term.
func (w *ledgerWriter) leads(term member.Term) bool { return w.master && w.term == term }

// becomeSlave opens the log for a leader's entries and for truncation.
func (w *ledgerWriter) becomeSlave(term member.Term) {
	if !w.master {
		return
	}
	w.log.BecomeSlave(logTerm(term))
	w.master = false
}

// truncateFrom drops entries. Only a follower is ever told to.
func (w *ledgerWriter) truncateFrom(i member.Index) error {
	w.becomeSlave(w.term)
	if err := w.log.TruncateFrom(logIndex(i)); err != nil {
		return fmt.Errorf("truncate ledger from %d: %w", i, err)
	}
	return nil
}

// appendNoop appends an entry without a body: it opens this member's own term, or
// proves a replaced member.
func (w *ledgerWriter) appendNoop(span member.Span) error {
	w.becomeMaster(span.Term)
	noop := []commitlog.Body{{Type: commitlog.TypeNoop}}
	if err := w.log.AppendMaster(logTerm(span.Term), logIndex(span.First), noop); err != nil {
		return fmt.Errorf("append no-op %d of term %d: %w", span.First, span.Term, err)
	}
	return nil
}

// appendChange appends the entry by which this leader changes the group.
func (w *ledgerWriter) appendChange(span member.Span, body []byte) error {
	w.becomeMaster(span.Term)
	change := []commitlog.Body{{Type: commitlog.TypeConfigChange, Bytes: body}}
	if err := w.log.AppendMaster(logTerm(span.Term), logIndex(span.First), change); err != nil {
		return fmt.Errorf("append change %d of term %d: %w", span.First, span.Term, err)
	}
	return nil
}

// isOwn says whether the entries of span come from accepted proposals.
func isOwn(span member.Span, accepted []pendingAppend) bool {
	for _, a := range accepted {
		if a.term == logTerm(span.Term) && a.first <= logIndex(span.First) && logIndex(span.First) <= a.last {
			return true
		}
	}
	return false
}

// appendOwn appends the bodies of accepted proposals. A leader that was deposed
// and truncated before this was carried out appends what is left of them.
func (w *ledgerWriter) appendOwn(span member.Span, accepted []pendingAppend) error {
	w.becomeMaster(span.Term)
	first, last := logIndex(span.First), logIndex(span.Last)
	var bodies []commitlog.Body
	for _, a := range accepted {
		from, to := max(first, a.first), min(last, a.last)
		if a.term == logTerm(span.Term) && from <= to {
			bodies = append(bodies, a.proposal.Bodies[from-a.first:to-a.first+1]...)
		}
	}
	if len(bodies) != int(last-first)+1 {
		panic(fmt.Sprintf("dledger: %d bodies for the entries %d to %d of term %d", len(bodies), first, last, span.Term))
	}
	if err := w.log.AppendMaster(logTerm(span.Term), first, bodies); err != nil {
		return fmt.Errorf("append entries %d to %d of term %d: %w", first, last, span.Term, err)
	}
	return nil
}

// appendReceived appends a leader's entries, as they came.
func (w *ledgerWriter) appendReceived(span member.Span, received []*receivedPush) error {
	w.becomeSlave(w.term)
	for next := span.First; next <= span.Last; {
		push := findPush(received, next, span.Term)
		if push == nil {
			panic(fmt.Sprintf("dledger: nobody sent entry %d of term %d", next, span.Term))
		}
		last := min(span.Last, lastOfTerm(push.request, span.Term))
		entries, err := cutEntries(push, next, last)
		if err != nil {
			return fmt.Errorf("cut entries %d to %d from a push: %w", next, last, err)
		}
		lent := commitlog.Lent{Bytes: entries}
		if push.frame.buffer != nil && len(entries) == len(push.entries) {
			lent.Hold, lent.Room = push.frame.hold, push.frame.room
		}
		if err := w.log.AppendLent(lent); err != nil {
			return fmt.Errorf("append entries %d to %d of term %d from %s: %w", next, last, span.Term, push.request.From, err)
		}
		next = last + 1
	}
	return nil
}

// findPush finds a push that carries the entry (i, term). Any will do: entries
// of one index and term are the same.
func findPush(received []*receivedPush, i member.Index, term member.Term) *receivedPush {
	for _, p := range received {
		if p.request.First <= i && i <= p.request.Last && termIn(p.request.Runs, i) == term {
			return p
		}
	}
	return nil
}

// termIn is the term that runs give to the entry at i, which they cover.
func termIn(runs []member.Run, i member.Index) member.Term {
	term := member.NoTerm
	for _, r := range runs {
		if r.First > i {
			break
		}
		term = r.Term
	}
	return term
}

// lastOfTerm is the last index of term in the range of a push.
func lastOfTerm(r member.PushRequest, term member.Term) member.Index {
	for i, run := range r.Runs {
		if run.Term == term && i+1 < len(r.Runs) {
			return r.Runs[i+1].First - 1
		}
	}
	return r.Last
}

// cutEntries is the part of a push from first to last.
func cutEntries(p *receivedPush, first, last member.Index) ([]byte, error) {
	if first == p.request.First && last == p.request.Last {
		return p.entries, nil
	}
	rest, from := p.entries, 0
	for len(rest) > 0 {
		h, _, next, err := commitlog.NextEntry(rest)
		if err != nil {
			return nil, err
		}
		if memberIndex(h.Index) == first {
			from = len(p.entries) - len(rest)
		}
		rest = next
		if memberIndex(h.Index) == last {
			break
		}
	}
	return p.entries[from : len(p.entries)-len(rest)], nil
}
