package sim

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// scope bounds a search through everything that can happen to a miniature.
type scope struct {
	name    string
	opening func() *miniature // where it begins
	depth   int               // moves
	maxTerm member.Term       // states of higher terms are looked at, and left alone
	entries int               // so many may be in a ledger
	want    miniFacts         // what must come about at least
	beats   bool              // heartbeats that prove nothing are delivered; else all are lost
}

// move is one thing that can happen.
type move struct {
	kind moveKind
	node int
	arg  int // a message, or a peer
}

type moveKind uint8

const (
	moveDeliver  moveKind = iota + 1 // a message, which is then gone
	moveExchange                     // a message, what it makes durable, and its answers: many moves in one, so that few reach far
	moveDouble                       // a message, which may come again
	movePersist
	moveWait // time passes for one member
	movePropose
	moveCrash
	moveWipe
	moveReconnect // a leader to one peer
	moveRemove    // a leader removes a member, maybe itself
	movePromote
)

// search is a depth-first search with a memory of the states it has seen, and of how
// many moves it had left there.
type search struct {
	scope     scope
	seen      map[uint64]int8
	moves     int64 // tried
	path      []string
	violation string // with the moves that led there
	most      miniFacts
}

// miniFacts are what must have come about, or the search has looked at nothing.
type miniFacts struct {
	term      member.Term
	committed int
	founded   int  // members that have founded the group
	groups    int  // changes that have been made
	proven    bool // a replaced member was proven
}

// exhaust tries everything within the scope.
func exhaust(sc scope) *search {
	s := &search{scope: sc, seen: map[uint64]int8{}}
	s.visit(sc.opening(), sc.depth)
	return s
}

func (s *search) visit(w *miniature, left int) {
	if w.broken != "" {
		s.violation = w.broken
		for _, step := range s.path {
			s.violation += "\n  " + step
		}
		return
	}
	s.note(w)
	if left == 0 || s.beyond(w) {
		return
	}
	key := w.key()
	if had, ok := s.seen[key]; ok && int(had) >= left {
		return
	}
	s.seen[key] = int8(left)
	for _, mv := range s.possible(w) {
		s.moves++
		next := s.make(w, mv)
		if mv.kind != moveExchange && pointless(w, next, mv.node) {
			continue
		}
		s.path = append(s.path, mv.describe(w))
		s.visit(next, left-1)
		if s.violation != "" {
			return
		}
		s.path = s.path[:len(s.path)-1]
	}
}

// pointless says whether a move of node i has at most taken something away: a message
// without effect, a budget. Whatever could happen then can happen without the move.
func pointless(before, after *miniature, i int) bool {
	was, is := before.nodes[i], after.nodes[i]
	return after.broken == "" && len(is.terms) == len(was.terms) && is.durable == was.durable && is.dir == was.dir &&
		len(after.committed) == len(before.committed) && is.m.Fingerprint() == was.m.Fingerprint() && within(after.net, before.net)
}

// within says whether all messages of net are in the other one too.
func within(net, other []parcel) bool {
	return !slices.ContainsFunc(net, func(p parcel) bool {
		return !slices.ContainsFunc(other, func(o parcel) bool { return o.key == p.key })
	})
}

// beyond says whether the state is outside of the scope.
func (s *search) beyond(w *miniature) bool {
	return slices.ContainsFunc(w.nodes[:], func(n *miniNode) bool {
		return n.m.Term() > s.scope.maxTerm || len(n.terms) > s.scope.entries
	})
}

func (s *search) note(w *miniature) {
	s.most.committed = max(s.most.committed, len(w.committed))
	s.most.groups = max(s.most.groups, len(w.groups))
	founded := 0
	for _, n := range w.nodes {
		if n.ballot.Proven && n.dir == 1 {
			founded++
		}
		s.most.term = max(s.most.term, n.m.Term())
		s.most.proven = s.most.proven || (n.dir > 1 && n.ballot.Proven)
	}
	s.most.founded = max(s.most.founded, founded)
}

// possible lists what can happen next.
func (s *search) possible(w *miniature) []move {
	var all []move
	for k := range w.net {
		to := miniIndex(w.net[k].msg.Route().To)
		all = append(all, move{moveDeliver, to, k}, move{moveExchange, to, k})
		if w.doubles > 0 {
			all = append(all, move{moveDouble, to, k})
		}
	}
	unproven := 0
	for _, n := range w.nodes {
		if !n.ballot.Proven {
			unproven++
		}
	}
	for i, n := range w.nodes {
		leads := n.m.Role() == member.Leader
		if n.durable < len(n.terms) {
			all = append(all, move{movePersist, i, 0})
		}
		all = append(all, move{moveWait, i, 0})
		if leads && w.proposals > 0 {
			all = append(all, move{movePropose, i, 0})
		}
		if w.crashes > 0 {
			all = append(all, move{moveCrash, i, 0})
		}
		if w.wipes > 0 && unproven == 0 {
			all = append(all, move{moveWipe, i, 0})
		}
		for o := range w.nodes {
			if leads && o != i {
				all = append(all, move{moveReconnect, i, o})
			}
			if leads && w.changes > 0 {
				all = append(all, move{moveRemove, i, o}, move{movePromote, i, o})
			}
		}
	}
	return all
}

// make is the state after a move.
func (s *search) make(w *miniature, mv move) *miniature {
	w = w.copy(mv.node)
	switch mv.kind {
	case moveDeliver:
		msg := w.net[mv.arg].msg
		w.net = slices.Delete(w.net, mv.arg, mv.arg+1)
		w.step(mv.node, member.Receive{Message: msg})
	case moveExchange:
		w = w.exchange(mv.arg)
	case moveDouble:
		w.doubles--
		w.step(mv.node, member.Receive{Message: w.net[mv.arg].msg})
	case movePersist:
		w.persist(mv.node)
	case moveWait:
		w.nodes[mv.node].now = w.nodes[mv.node].now.Add(miniWait)
		w.step(mv.node, member.Tick{})
	case movePropose:
		w.proposals--
		w.step(mv.node, member.Propose{Count: 1})
	case moveCrash:
		w.crashes--
		w.crash(mv.node)
	case moveWipe:
		w.wipes--
		w.wipe(mv.node)
	case moveReconnect:
		w.step(mv.node, member.Connected{Peer: miniID(mv.arg)})
	case moveRemove, movePromote:
		w.changes--
		op := map[moveKind]member.ChangeOp{moveRemove: member.Remove, movePromote: member.Promote}[mv.kind]
		w.step(mv.node, member.ChangeMembers{Op: op, ID: miniID(mv.arg)})
	}
	if !s.scope.beats {
		w.net = slices.DeleteFunc(w.net, func(p parcel) bool { return idleBeat(p.msg) })
	}
	return w
}

// idleBeat says whether a message is a heartbeat without news, or the answer to one.
func idleBeat(msg member.Message) bool {
	switch m := msg.(type) {
	case member.HeartBeatRequest:
		return m.Proves == ""
	case member.HeartBeatResponse:
		return true
	}
	return false
}

func (mv move) describe(w *miniature) string {
	id := miniID(mv.node)
	switch mv.kind {
	case moveDeliver:
		return fmt.Sprintf("%s receives %s", id, show(w.net[mv.arg].msg))
	case moveExchange:
		return fmt.Sprintf("%s receives, makes durable and answers %s", id, show(w.net[mv.arg].msg))
	case moveDouble:
		return fmt.Sprintf("%s receives, and may again, %s", id, show(w.net[mv.arg].msg))
	case movePersist:
		return fmt.Sprintf("%s has %d entries on disk", id, len(w.nodes[mv.node].terms))
	case moveWait:
		return fmt.Sprintf("%s waits", id)
	case movePropose:
		return fmt.Sprintf("%s is asked to append", id)
	case moveCrash:
		return fmt.Sprintf("%s crashes", id)
	case moveWipe:
		return fmt.Sprintf("%s loses its disk", id)
	case moveReconnect:
		return fmt.Sprintf("%s connects to %s", id, miniID(mv.arg))
	case moveRemove:
		return fmt.Sprintf("%s removes %s", id, miniID(mv.arg))
	case movePromote:
		return fmt.Sprintf("%s promotes %s", id, miniID(mv.arg))
	}
	return "?"
}

var messageSeed = maphash.MakeSeed()

// messageKey is equal for equal messages.
func messageKey(msg member.Message) uint64 {
	p, ok := msg.(member.PushRequest)
	if !ok {
		return maphash.Comparable(messageSeed, msg)
	}
	var h uint64
	for _, r := range p.Runs {
		h = mix(mix(h, uint64(r.First)), uint64(r.Term))
	}
	p.Runs = nil
	return mix(h, maphash.Comparable(messageSeed, [...]any{p.From, p.To, p.Type, p.Term, p.PrevIndex, p.PrevTerm, p.Commit, p.First, p.Last, p.FirstTerm}))
}
