package sim

import (
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// view is what a node has been told, kept beside the member to judge it by.
type view struct {
	leading  time.Time              // since when it leads
	heardAt  [maxNodes]time.Time    // when a message of each peer was last stepped
	preVotes map[member.Term]uint32 // who gave a pre-vote, by the term that was asked for
	termWait member.Term            // term for which a peer answered REJECT_TERM_NOT_READY
	compare  [maxNodes]member.Index
	dirs     [maxNodes]int // LEADER: the newest directory of each peer that has answered in this term
	dirsNow  [maxNodes]int // the same with the batch at hand
}

func (v *view) heard(n *node, in input, msg member.Message) {
	from := in.from
	switch m := msg.(type) {
	case member.HeartBeatResponse:
		v.heardDir(n, in, m.RequestTerm)
		if m.Unproven {
			return // it does not count
		}
	case member.PushResponse:
		v.heardDir(n, in, m.RequestTerm)
		if m.Unproven {
			return
		}
	}
	v.heardAt[from] = n.now()
	switch m := msg.(type) {
	case member.VoteResponse:
		if m.PreVote && m.Result == member.Accept {
			if v.preVotes == nil {
				v.preVotes = map[member.Term]uint32{}
			}
			v.preVotes[m.RequestTerm] |= 1 << from
		}
		if m.Result == member.RejectTermNotReady {
			v.termWait = m.RequestTerm
		}
	case member.PushResponse:
		if m.Code == member.InconsistentState && m.XTerm > 0 && m.XIndex < m.PrevIndex {
			v.compare[from] = m.PrevIndex
		}
	}
}

// heardDir takes note of the directory with which a peer has answered the leader n.
func (v *view) heardDir(n *node, in input, request member.Term) {
	now := &v.dirsNow[in.from]
	if n.m.Role() != member.Leader || request != n.m.Term() {
		return
	}
	switch {
	case in.dir < *now:
		n.sim.count[StaleDirs]++
	case *now != 0 && in.dir > *now:
		n.sim.count[NewDirs]++
	}
	*now = max(*now, in.dir)
}

func (v *view) leads(n *node) {
	v.leading = n.now()
	v.dirs, v.dirsNow = [maxNodes]int{}, [maxNodes]int{}
}

// preQuorum says whether a quorum, the node included, would have voted for it in term, or
// in a later one. A node may have asked for a later one before, of which an answer comes late.
func (v *view) preQuorum(n *node, term member.Term) bool {
	for asked, votes := range v.preVotes {
		if asked >= term && n.sim.majorityOf(n.group(), func(o *node) bool { return o == n || votes&(1<<o.i) != 0 }) {
			return true
		}
	}
	return false
}

// silence is for how long the leader n has not heard from a quorum.
func (v *view) silence(n *node) time.Duration {
	var at []time.Time
	group := n.group()
	needed := group.CountVoters()/2 + 1
	for _, seat := range group {
		switch i := n.sim.index(seat.ID); {
		case seat.Learner:
		case i == n.i:
			needed--
		default:
			at = append(at, v.heardAt[i])
		}
	}
	if needed == 0 {
		return 0
	}
	slices.SortFunc(at, func(a, b time.Time) int { return b.Compare(a) })
	last := at[needed-1]
	if last.Before(v.leading) {
		last = v.leading
	}
	return n.now().Sub(last)
}

// watchSend counts what must sometimes happen.
func (s *Sim) watchSend(n *node, msg member.Message) {
	switch m := msg.(type) {
	case member.VoteRequest:
		if m.PreVote {
			s.count[PreVotes]++
		} else if n.view.termWait == m.Term {
			s.count[RevotesImmediately]++
			n.view.termWait = 0
		}
	case member.VoteResponse:
		if m.PreVote && m.Result != member.Accept {
			s.count[PreVotesRefused]++
		}
		if m.Result == member.RejectNotAVoter && m.RequestTerm > 0 {
			s.count[NotVoters]++
		}
	case member.PushResponse:
		if m.Code == member.ExpiredTerm {
			s.count[StalePushes]++
		}
	case member.PushRequest:
		to := s.index(m.To)
		if m.Type == member.Compare && n.view.compare[to] > m.PrevIndex+1 {
			s.count[TermJumps]++
		}
		n.view.compare[to] = 0
	}
}
