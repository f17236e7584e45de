package dledger

import (
	"sync"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// pendingAppends holds every proposal from Propose to Done: first those that
// wait for the state maintainer, then, in ledger order, those that are appended
// and wait to be committed and applied. Both together are bounded.
//
// Propose and Applied are called by the broker, everything else by the state
// maintainer. Done is always called outside the lock.
type pendingAppends struct {
	maxCount int
	maxBytes int64
	wake     chan struct{} // capacity 1: something waits

	mu struct {
		sync.Mutex
		closed   bool
		count    int
		bytes    int64
		waiting  []*Proposal
		appended []pendingAppend // ascending; the first `gone` ones are done
		gone     int
		observed int // how many of appended are known to be committed
	}
}

// pendingAppend is a proposal whose entries are in the ledger.
type pendingAppend struct {
	proposal    *Proposal
	first, last commitlog.Index
	term        commitlog.Term
	at          time.Time
	outcomes    []any
}

// finished is a proposal whose Done is to be called.
type finished struct {
	proposal *Proposal
	result   ProposalResult
}

type admission uint8

const (
	admitted admission = iota + 1
	admitFull
	admitClosed
)

func newPendingAppends(maxCount int, maxBytes int64) *pendingAppends {
	return &pendingAppends{maxCount: maxCount, maxBytes: maxBytes, wake: make(chan struct{}, 1)}
}

// admit queues p for the state maintainer. One proposal is admitted however
// large it is, so that a limit below its size cannot stop it for ever.
func (a *pendingAppends) admit(p *Proposal) admission {
	res := a.enqueue(p)
	if res == admitted {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
	return res
}

func (a *pendingAppends) enqueue(p *Proposal) admission {
	size := p.bytes()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.closed {
		return admitClosed
	}
	if a.mu.count > 0 && (a.mu.count >= a.maxCount || a.mu.bytes+size > a.maxBytes) {
		return admitFull
	}
	a.mu.count++
	a.mu.bytes += size
	a.mu.waiting = append(a.mu.waiting, p)
	return admitted
}

// takeWaiting hands the waiting proposals to the state maintainer. They count
// against the limits until they are finished.
func (a *pendingAppends) takeWaiting() []*Proposal {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.mu.waiting
	a.mu.waiting = nil
	return taken
}

// append notes that proposals are in the ledger, in its order.
func (a *pendingAppends) append(batch []pendingAppend) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.gone > 1024 && a.mu.gone*2 > len(a.mu.appended) {
		n := copy(a.mu.appended, a.mu.appended[a.mu.gone:])
		clear(a.mu.appended[n:])
		a.mu.appended = a.mu.appended[:n]
		a.mu.observed = max(0, a.mu.observed-a.mu.gone)
		a.mu.gone = 0
	}
	a.mu.appended = append(a.mu.appended, batch...)
}

// committed tells observe how long ago each newly committed proposal was appended.
func (a *pendingAppends) committed(upTo commitlog.Index, now time.Time, observe func(seconds float64)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.observed = max(a.mu.observed, a.mu.gone)
	for a.mu.observed < len(a.mu.appended) && a.mu.appended[a.mu.observed].last <= upTo {
		observe(now.Sub(a.mu.appended[a.mu.observed].at).Seconds())
		a.mu.observed++
	}
}

// applied notes the outcomes of the entries from first on and finishes the
// proposals that are complete. termAt answers with the term of the entry that is
// really there: a proposal whose last entry was replaced by another leader's is
// not completed by it. If the last one stands, so do those before it.
func (a *pendingAppends) applied(first commitlog.Index, outcomes []any, termAt func(commitlog.Index) (commitlog.Term, error)) int {
	done := a.takeApplied(first, outcomes)
	ok := 0
	for i := range done {
		r := &done[i].result
		if term, err := termAt(r.First + commitlog.Index(len(r.Outcomes)) - 1); err != nil || term != r.Term {
			r.Outcomes = nil
			r.Err = &Error{Code: CodeLeadershipLost, Message: "another leader's entry stands in its place", Indefinite: true}
		} else {
			ok++
		}
		done[i].proposal.Done(*r)
	}
	return ok
}

func (a *pendingAppends) takeApplied(first commitlog.Index, outcomes []any) []finished {
	last := first + commitlog.Index(len(outcomes)) - 1
	a.mu.Lock()
	defer a.mu.Unlock()
	var done []finished
	for a.mu.gone < len(a.mu.appended) {
		p := &a.mu.appended[a.mu.gone]
		from, to := max(first, p.first), min(last, p.last)
		if to < from {
			break
		}
		if p.outcomes == nil {
			p.outcomes = make([]any, len(p.proposal.Bodies))
		}
		copy(p.outcomes[from-p.first:], outcomes[from-first:to-first+1])
		if to < p.last {
			break // the rest of its entries comes with a later call
		}
		done = append(done, finished{p.proposal, ProposalResult{First: p.first, Term: p.term, Outcomes: p.outcomes}})
		a.releaseLocked(p.proposal)
		*p = pendingAppend{}
		a.mu.gone++
	}
	return done
}

// refuse finishes proposals that were taken but not appended.
func (a *pendingAppends) refuse(ps []*Proposal, err *Error) {
	a.release(ps)
	for _, p := range ps {
		p.Done(ProposalResult{First: -1, Err: err})
	}
}

func (a *pendingAppends) release(ps []*Proposal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range ps {
		a.releaseLocked(p)
	}
}

func (a *pendingAppends) releaseLocked(p *Proposal) {
	a.mu.count--
	a.mu.bytes -= p.bytes()
}

// failBelow finishes what was appended in terms below term and is not applied:
// the leadership under which it was appended is over.
func (a *pendingAppends) failBelow(term commitlog.Term, err *Error) int {
	failed := a.takeBelow(term)
	for _, f := range failed {
		f.result.Err = err
		f.proposal.Done(f.result)
	}
	return len(failed)
}

func (a *pendingAppends) takeBelow(term commitlog.Term) []finished {
	a.mu.Lock()
	defer a.mu.Unlock()
	var failed []finished
	for a.mu.gone < len(a.mu.appended) && a.mu.appended[a.mu.gone].term < term {
		p := &a.mu.appended[a.mu.gone]
		failed = append(failed, finished{p.proposal, ProposalResult{First: p.first, Term: p.term}})
		a.releaseLocked(p.proposal)
		*p = pendingAppend{}
		a.mu.gone++
	}
	return failed
}

// close refuses what waits and what comes, as certain, and fails what is
// appended, as uncertain.
func (a *pendingAppends) close(waiting, appended *Error) {
	a.mu.Lock()
	a.mu.closed = true
	a.mu.Unlock()
	a.refuse(a.takeWaiting(), waiting)
	a.failBelow(maxTerm, appended)
}
