package dledger

import (
	"context"
	"fmt"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// inboxSize bounds the events that wait for the state maintainer. Whoever brings
// more waits; nothing is lost here.
const inboxSize = 1024

// answerTimeout bounds how long a request of a peer waits for the member, whatever
// deadline the peer has set. Only a disk that hangs takes so long.
const answerTimeout = 10 * time.Second

// letter is one event for the state maintainer with what the shell has to keep
// for the answer. Exactly one of event, push, change, adopt, stranger and givenUp is set, or
// none: then the letter only asks for a new status.
type letter struct {
	event member.Event
	push  *receivedPush // a push of a peer; its request becomes the event

	reply    *replySlot    // where the answer to event goes
	transfer *transferSlot // where the end of a Transfer goes
	change   *changeSlot   // a change of the group, and where its end goes
	adopt    *adoption     // the name of the group, and where the answer goes
	stranger *member.Seat  // a leader that is no peer
	givenUp  string        // why this member was left behind
}

// receivedPush is a push with its entries, kept until the Take that follows.
type receivedPush struct {
	request member.PushRequest
	entries []byte    // verified; request.First to request.Last
	frame   pushFrame // that holds them
	// membership is the newest change of the group among them; nil: there is none.
	membership *dledgerv1.Membership
	from       *inboundStream
}

// deliver puts a letter into the inbox. False: the server or the caller stopped first.
func (s *Server) deliver(ctx context.Context, l letter) bool {
	select {
	case s.inbox <- l:
		return true
	case <-ctx.Done():
	case <-s.stopping:
	}
	return false
}

// replySlot waits for the member's answer to one request of a peer.
type replySlot struct {
	ctx context.Context // of the request: done when nobody waits any more
	ch  chan member.Message
}

// ask hands a request of a peer to the member and waits for its answer, as long
// as the peer does, but never for long: the member answers in one step.
func (s *Server) ask(ctx context.Context, request member.Message) (member.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	slot := &replySlot{ctx: ctx, ch: make(chan member.Message, 1)}
	if !s.deliver(ctx, letter{event: member.Receive{Message: request}, reply: slot}) {
		return nil, errStopping
	}
	select {
	case answer := <-slot.ch:
		return answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.stopping:
		return nil, errStopping
	}
}

// replyKey is what request and answer have in common.
type replyKey struct {
	kind    messageKind
	peer    member.ID
	term    member.Term
	preVote bool
}

type messageKind uint8

const (
	kindVote messageKind = iota + 1
	kindHeartBeat
	kindTransfer
)

// replySlots are the requests of peers that wait for an answer, first come first
// served among equals. Owned by the state maintainer.
type replySlots map[replyKey][]*replySlot

func (r replySlots) add(request member.Message, slot *replySlot) {
	var key replyKey
	switch m := request.(type) {
	case member.VoteRequest:
		key = replyKey{kind: kindVote, peer: m.From, term: m.Term, preVote: m.PreVote}
	case member.HeartBeatRequest:
		key = replyKey{kind: kindHeartBeat, peer: m.From, term: m.Term}
	case member.TransferRequest:
		key = replyKey{kind: kindTransfer, peer: m.From, term: m.Term}
	default:
		panic(fmt.Sprintf("dledger: nobody waits for an answer to %T", request))
	}
	r[key] = append(r[key], slot)
}

// answer gives m to the oldest request that it can answer and whose caller still
// waits. Without one it is dropped: the caller has given up.
func (r replySlots) answer(key replyKey, m member.Message) {
	waiting := r[key]
	for len(waiting) > 0 {
		slot := waiting[0]
		waiting = waiting[1:]
		if slot.ctx.Err() == nil {
			slot.ch <- m // capacity 1, used once
			break
		}
	}
	if len(waiting) == 0 {
		delete(r, key)
		return
	}
	r[key] = waiting
}

// forget drops the requests whose callers have given up.
func (r replySlots) forget() {
	for key, waiting := range r {
		kept := waiting[:0]
		for _, slot := range waiting {
			if slot.ctx.Err() == nil {
				kept = append(kept, slot)
			}
		}
		if len(kept) == 0 {
			delete(r, key)
		} else {
			r[key] = kept
		}
	}
}

// memberIndex and its kin convert between the types of the core and of the log,
// which stand on one floor and do not know each other.
func memberIndex(i commitlog.Index) member.Index { return member.Index(i) }
func logIndex(i member.Index) commitlog.Index    { return commitlog.Index(i) }
func logTerm(t member.Term) commitlog.Term       { return commitlog.Term(t) }
