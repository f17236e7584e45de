package sim

import (
	"math/bits"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// view is what a node has been told, kept beside the member to judge it by.
type view struct {
	leading  time.Time           // since when it leads
	heardAt  [maxNodes]time.Time // when a message of each peer was last stepped
	preTerm  member.Term         // newest term for which pre-votes came in
	preVotes uint32              // who gave them
	termWait member.Term         // term for which a peer answered REJECT_TERM_NOT_READY
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
			if m.RequestTerm > v.preTerm {
				v.preTerm, v.preVotes = m.RequestTerm, 0
			}
			if m.RequestTerm == v.preTerm {
				v.preVotes |= 1 << from
			}
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

// preQuorum says whether a quorum, the node included, would have voted for it in term.
func (v *view) preQuorum(n *node, term member.Term) bool {
	return v.preTerm >= term && bits.OnesCount32(v.preVotes)+1 >= n.sim.quorum()
}

// silence is for how long the leader n has not heard from a quorum.
func (v *view) silence(n *node) time.Duration {
	if n.sim.quorum() == 1 {
		return 0
	}
	var at []time.Time
	for i := range n.sim.size() {
		if i != n.i {
			at = append(at, v.heardAt[i])
		}
	}
	slices.SortFunc(at, func(a, b time.Time) int { return b.Compare(a) })
	last := at[n.sim.quorum()-2]
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
