package sim

import "github.com/ledgermq/ledgermq/pkg/dledger/member"

// figure8 is the group of figure 8 of the Raft paper, for three: n1 led term 1 and holds
// an entry that nobody else has; n2 was elected in term 2 and could give nobody its
// no-op; n1 leads term 3, and what it sends n3 is cut in two, so that the entry of term 1
// comes to be on a majority of disks before anything of term 3 is.
func figure8() *miniature {
	w := ledByN1()
	w.step(0, member.Propose{Count: 1})
	w.persist(0)
	w.net = nil
	w.elect(1, 2)
	w.persist(1)
	w.net = nil
	w.elect(0, 2)
	w.persist(0)
	w.giveUp()
	w.giveUp()
	w.talk(0, 2, func(msg member.Message) bool {
		p, push := msg.(member.PushRequest)
		return !push || p.Type != member.Append
	})
	w.cutPushes()
	w.proposals, w.crashes, w.doubles = 0, 1, 0
	return w
}

// giveUp lets n2 notice that nobody answers it, and hear what n3 thinks of it.
func (w *miniature) giveUp() {
	kept := w.net
	w.net = nil
	w.wait(1)
	w.talk(1, 2, func(msg member.Message) bool {
		switch m := msg.(type) {
		case member.VoteRequest:
			return m.PreVote
		case member.VoteResponse:
			return m.PreVote
		}
		return false
	})
	w.net = kept
}

// elect lets time pass for i and o, and lets the two talk about votes, until i leads.
func (w *miniature) elect(i, o int) {
	for range 8 {
		w.wait(o)
		w.wait(i)
		w.talk(i, o, func(msg member.Message) bool {
			switch msg.(type) {
			case member.VoteRequest, member.VoteResponse:
				return true
			}
			return false
		})
		if w.nodes[i].m.Role() == member.Leader {
			return
		}
	}
}

// talk delivers what i and o have to say to each other, as far as it may, and keeps the
// rest of that; what others say is lost.
func (w *miniature) talk(i, o int, may func(member.Message) bool) {
	var kept []parcel
	for len(w.net) > 0 {
		p := w.net[0]
		w.net = w.net[1:]
		r := p.msg.Route()
		if from, to := miniIndex(r.From), miniIndex(r.To); from+to != i+o || from != i && from != o {
			continue
		}
		if may(p.msg) {
			w.step(miniIndex(r.To), member.Receive{Message: p.msg})
		} else {
			kept = append(kept, p)
		}
	}
	w.net = kept
}

// cutPushes cuts each push of several entries behind the first, as dispatchers may.
func (w *miniature) cutPushes() {
	net := w.net
	w.net = nil
	for _, p := range net {
		push, ok := p.msg.(member.PushRequest)
		if !ok || push.Last <= push.First {
			w.net = append(w.net, p)
			continue
		}
		head, tail := push, push
		head.Last, head.Runs = push.First, push.Runs[:1]
		tail.First, tail.PrevIndex, tail.PrevTerm, tail.Runs = push.First+1, push.First, push.Runs[0].Term, push.Runs
		if len(push.Runs) > 1 && push.Runs[1].First == tail.First {
			tail.Runs = push.Runs[1:]
		}
		for _, msg := range []member.Message{head, tail} {
			w.net = append(w.net, parcel{messageKey(msg), msg})
		}
	}
}
