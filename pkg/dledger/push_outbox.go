package dledger

import (
	"slices"
	"sync"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// pushOutbox is what waits to be pushed to one peer. Ranges of entries that
// continue each other become one, and whatever the member asks for makes the
// older requests that it overtakes pointless, so that a slow peer costs a few
// words of memory however far behind it is.
//
// A commit index that no entries go with waits for those that come next: the peer
// only applies sooner by it, and a frame of its own wakes five goroutines on both
// sides just when the acknowledgement of those entries is on its way. It goes
// alone when nothing has come by the next tick.
//
// The state maintainer adds; the entry dispatcher takes.
type pushOutbox struct {
	wake chan struct{} // capacity 1: something was added

	mu struct {
		sync.Mutex
		queue  []member.PushRequest
		serial uint64              // of the head: changes whenever it becomes another request
		notice *member.PushRequest // a COMMIT that waits for company; the queue is empty then
	}
}

// maxPushQueue bounds the requests that could not be merged.
const maxPushQueue = 32

func newPushOutbox() *pushOutbox { return &pushOutbox{wake: make(chan struct{}, 1)} }

// add queues a request. Nothing is lost that the member would not ask for again.
func (o *pushOutbox) add(r member.PushRequest) {
	if o.put(r) {
		signal(o.wake)
	}
}

// sendNotice lets a commit index go alone for which no company has come.
func (o *pushOutbox) sendNotice() {
	if o.putNotice() {
		signal(o.wake)
	}
}

func (o *pushOutbox) putNotice() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.notice == nil {
		return false
	}
	o.mu.queue = append(o.mu.queue, *o.mu.notice)
	o.mu.notice = nil
	return true
}

// put says whether there is something to send now.
func (o *pushOutbox) put(r member.PushRequest) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.mu.queue)
	if n == 0 && r.Type == member.Commit {
		o.mu.notice = &r
		return false
	}
	o.mu.notice = nil // whatever comes carries a commit index that is no older
	switch {
	case n == 0:
	case r.Term != o.mu.queue[n-1].Term, r.Type == member.Compare, r.Type == member.Truncate:
		// The conversation starts anew; what was queued belongs to the old one.
		o.dropLocked()
	case mergePush(&o.mu.queue[n-1], r):
		return true
	case n >= maxPushQueue:
		o.dropLocked()
		return false
	}
	o.mu.queue = append(o.mu.queue, r)
	return true
}

func (o *pushOutbox) dropLocked() {
	o.mu.queue, o.mu.notice = o.mu.queue[:0], nil
	o.mu.serial++
}

// mergePush lets tail say what r says too, if the two continue each other.
func mergePush(tail *member.PushRequest, r member.PushRequest) bool {
	switch {
	case r.Type == member.Commit && (tail.Type == member.Commit || tail.Type == member.Append):
		if tail.Type == member.Commit {
			*tail = r
			return true
		}
		if r.PrevIndex != tail.Last {
			return false
		}
	case r.Type == member.Append && tail.Type == member.Append && r.First == tail.Last+1 && r.Last >= r.First && tail.Last >= tail.First:
		runs := r.Runs
		if tail.Runs[len(tail.Runs)-1].Term == runs[0].Term {
			runs = runs[1:]
		}
		tail.Runs = append(slices.Clone(tail.Runs), runs...)
		tail.Last = r.Last
	default:
		return false
	}
	tail.Commit = max(tail.Commit, r.Commit)
	return true
}

// head is the request to send next. The serial is for advance.
func (o *pushOutbox) head() (r member.PushRequest, serial uint64, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.mu.queue) == 0 {
		return member.PushRequest{}, 0, false
	}
	return o.mu.queue[0], o.mu.serial, true
}

// advance notes that the head was sent up to last (for a range), or as a whole.
// It does nothing if the head has been dropped meanwhile.
func (o *pushOutbox) advance(serial uint64, sent member.PushRequest, last member.Index) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.serial != serial || len(o.mu.queue) == 0 {
		return
	}
	h := &o.mu.queue[0]
	if sent.Last >= sent.First && last < h.Last {
		h.PrevIndex, h.PrevTerm = last, termIn(h.Runs, last)
		h.Runs = runsFrom(h.Runs, last+1)
		h.First = last + 1
		return
	}
	newer := sent.Commit < h.Commit // was merged in while it was sent
	notice := commitAfter(*h, sent, last)
	o.mu.queue = slices.Delete(o.mu.queue, 0, 1)
	o.mu.serial++
	if newer && len(o.mu.queue) == 0 { // else what follows carries it
		o.mu.notice = &notice
	}
}

// commitAfter is a COMMIT of what h says by now, for a peer to which h was sent as `sent`.
func commitAfter(h, sent member.PushRequest, last member.Index) member.PushRequest {
	c := member.PushRequest{
		From: h.From, To: h.To, Type: member.Commit, Term: h.Term, Leader: h.Leader, Commit: h.Commit,
		PrevIndex: h.PrevIndex, PrevTerm: h.PrevTerm, Last: member.NoIndex,
	}
	if sent.Last >= sent.First {
		c.PrevIndex, c.PrevTerm = last, termIn(sent.Runs, last)
	}
	return c
}

// clear drops everything: the stream was lost, the member will start anew.
func (o *pushOutbox) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropLocked()
}

// runsFrom is what runs say about the entries from first on.
func runsFrom(runs []member.Run, first member.Index) []member.Run {
	var kept []member.Run
	for i, r := range runs {
		if i+1 < len(runs) && runs[i+1].First <= first {
			continue
		}
		kept = append(kept, member.Run{First: max(r.First, first), Term: r.Term})
	}
	return kept
}
