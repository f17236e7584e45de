package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// carryOut does what an Update asks, in the order of its fields. While the
// ballot or the group is being saved everything else waits, and so does the node.
func (n *node) carryOut(u member.Update) {
	if u.Ballot == nil && u.Changes == nil {
		n.carryOutRest(u)
		return
	}
	s := n.sim
	if u.Truncate != nil && u.Changes != nil {
		if !n.truncateForGood(*u.Truncate) {
			return
		}
		u.Truncate = nil
	}
	if u.Ballot != nil {
		s.god.checkBallot(n, *u.Ballot)
		s.note(n, "ballot", int64(u.Ballot.Term), int64(len(u.Ballot.VotedFor)))
	}
	wait := s.upTo(s.profile.ballotMax)
	if wait < time.Microsecond {
		if n.save(u) {
			n.carryOutRest(u)
		}
		return
	}
	if n.disk.eio && s.chance(0.5) {
		n.saveFails(u)
		return
	}
	n.saving = true
	n.tickAt = never
	n.spring(atBallot, 2*wait)
	life, saved := n.life, s.chance(0.5)
	n.disk.saving = u.Ballot
	if saved && n.ballot == nil { // on the disk at once, though the node learns it only later
		n.disk.save(u)
	}
	s.after(wait, func() {
		if n.life != life {
			return
		}
		if !n.save(u) {
			return
		}
		n.saving = false
		n.afterPause(func() {
			n.carryOutRest(u)
			n.goOn()
		})
	})
}

// afterPause runs do now, or when the pause ends.
func (n *node) afterPause(do func()) {
	if !n.paused {
		do()
		return
	}
	n.saving = true
	n.onResume(func() { n.saving = false; do() })
}

func (n *node) carryOutRest(u member.Update) {
	if u.Truncate != nil && !n.truncate(*u.Truncate) {
		return
	}
	n.accept(u.Answers)
	n.keepChanges(u.Changed)
	for _, span := range u.Append {
		n.append(span)
	}
	n.startSync()
	n.send(u.Send)
	was := n.role
	n.applyTo(u.Commit, was == member.Leader || u.Role != nil && u.Role.Role == member.Leader)
	if u.Role != nil {
		n.changeRole(*u.Role, u.Append)
	}
	for _, t := range u.Transfers {
		n.endTransfer(t)
	}
	if n.batch.ticked {
		n.sim.god.checkQuorum(n)
	}
	n.view.dirs = n.view.dirsNow
	n.batch.reset()
	n.schedule()
}

// truncate drops the entries from i on. False: the process has ended.
func (n *node) truncate(i member.Index) bool {
	s := n.sim
	s.god.checkTruncate(n, i)
	s.note(n, "truncate", int64(i), int64(n.log.end()))
	s.count[Truncations]++
	if i < 0 || i > n.log.end() {
		return true
	}
	if n.stuckAt(i) {
		return false
	}
	if n.thick != nil {
		return n.truncateLog(i)
	}
	n.epoch++
	for _, e := range n.log[i:] {
		if _, ok := s.groups.bodies[e.payload]; ok {
			s.count[ChangesUndone]++
		}
	}
	n.log = n.log.truncated(i)
	n.forgetDamage(i)
	n.disk.truncate(i, func(k int) int {
		if s.chance(0.7) {
			return 0
		}
		return s.rng.IntN(k + 1)
	})
	n.spring(atTruncate, 2*n.syncTime())
	return true
}

// truncateForGood is a truncation that is durable before the group is saved without
// the changes that it takes away, as the commit log's is.
func (n *node) truncateForGood(i member.Index) bool {
	if !n.truncate(i) {
		return false
	}
	if n.thick == nil {
		n.disk.inFlight = len(n.disk.unsynced)
		n.disk.settle()
	}
	return true
}

// accept takes the answers to the proposals of this batch, so that their bodies
// are found when their spans are appended.
func (n *node) accept(answers []member.ProposeAnswer) {
	s := n.sim
	if len(answers) != len(n.batch.proposals) {
		s.fail("%s: %d answers to %d proposals", n.id, len(answers), len(n.batch.proposals))
		return
	}
	for i, a := range answers {
		p := n.batch.proposals[i]
		if a.Code != member.Success {
			p.refused = true
			s.count[Refused]++
			continue
		}
		if int(a.Last-a.First)+1 != p.count {
			s.fail("%s: proposal of %d entries accepted as %d..%d", n.id, p.count, a.First, a.Last)
		}
		p.accepted, p.first, p.term = true, a.First, a.Term
		s.count[Accepted]++
		n.pending = append(n.pending, p)
	}
}

// append writes a span: a NOOP, own proposals, or entries that a peer sent.
func (n *node) append(span member.Span) {
	s := n.sim
	if span.First != n.log.end()+1 || span.Last < span.First {
		s.fail("%s: append of %d..%d after %d", n.id, span.First, span.Last, n.log.end())
		return
	}
	from := len(n.log)
	own := span.Noop || span.Change || len(n.batch.proposals) > 0 && n.ownPayload(span.First, span.Term) != 0
	for i := span.First; i <= span.Last; i++ {
		switch {
		case span.Noop:
			n.log = n.log.add(span.Term, 0, n.stampOwn(i, span.Term, 0))
		case span.Change:
			payload := n.batch.change(i)
			n.log = n.log.add(span.Term, payload, n.stampOwn(i, span.Term, payload))
		case own:
			payload := n.ownPayload(i, span.Term)
			n.log = n.log.add(span.Term, payload, n.stampOwn(i, span.Term, payload))
		default:
			e, ok := n.batch.entry(i, span.Term)
			if !ok {
				s.fail("%s: append of (%d, term %d) without a body", n.id, i, span.Term)
				return
			}
			n.log = n.log.add(span.Term, e.payload, e.stamp)
			if n.thick != nil {
				n.thick.follow(n.batch.raw(i, span.Term))
			}
		}
		s.god.checkAppend(n, i, own)
	}
	s.note(n, "append", int64(span.First), int64(span.Last))
	if n.thick != nil {
		n.thick.noteWritten()
		return
	}
	n.disk.append(span.First, n.log.part(member.Index(from), n.log.end()))
}

// ownPayload is the payload accepted for (i, term) in this batch, or 0.
func (n *node) ownPayload(i member.Index, term member.Term) uint64 {
	for _, p := range n.batch.proposals {
		if p.accepted && p.term == term && p.first <= i && i < p.first+member.Index(p.count) {
			return p.payload + uint64(i-p.first)
		}
	}
	return 0
}

// entry is (i, term) among the pushes of this batch.
func (b *batch) entry(i member.Index, term member.Term) (entry, bool) {
	for k := len(b.pushes) - 1; k >= 0; k-- {
		p := b.pushes[k]
		if j := i - p.first; j >= 0 && int(j) < len(p.entries) && p.entries[j].term == term {
			return p.entries[j], true
		}
	}
	return entry{}, false
}

func (n *node) send(msgs []member.Message) {
	s := n.sim
	for _, msg := range msgs {
		msg = n.vouched(msg)
		route := msg.Route()
		to := s.index(route.To)
		if to < 0 || to == n.i || route.From != n.id {
			s.fail("%s: a message from %q to %q", n.id, route.From, route.To)
			return
		}
		s.god.checkSend(n, msg)
		s.watchSend(n, msg)
		if s.tracing {
			s.traceSend(n, msg)
		}
		switch p := msg.(type) {
		case member.PushRequest:
			n.queuePush(to, p)
		case member.PushResponse:
			s.net.send(n.i, to, bulk, msg, nil, nil)
		default:
			s.net.send(n.i, to, control, msg, nil, nil)
		}
	}
}

// applyTo applies what is committed and answers the clients whose entries are
// among it.
func (n *node) applyTo(commit member.Index, leads bool) {
	s := n.sim
	if commit == n.commit {
		return
	}
	s.god.checkCommit(n, commit, leads)
	s.note(n, "commit", int64(n.commit), int64(commit))
	n.commit = commit
	for len(n.pending) > 0 {
		p := n.pending[0]
		last := p.first + member.Index(p.count) - 1
		if last > commit {
			break
		}
		n.pending = n.pending[1:]
		if n.log.termAt(last) == p.term && n.log[last].payload == p.payload+uint64(p.count)-1 {
			s.god.acknowledged(n, p)
			n.spring(atAck, time.Millisecond)
		} else {
			p.unknown = true
		}
	}
}

func (n *node) changeRole(r member.RoleChange, spans []member.Span) {
	s := n.sim
	s.note(n, "role "+r.Role.String()+" "+string(r.Reason), int64(r.Term), int64(s.index(r.Leader)))
	if r.Role == member.Leader && (n.role != member.Leader || n.term != r.Term) {
		s.god.checkElected(n, r.Term, spans)
		n.view.leads(n)
		s.count[Elections]++
	}
	if n.role == member.Leader && r.Role != member.Leader && r.Reason == member.ReasonNoQuorum {
		s.count[QuorumStepDowns]++
	}
	if n.role == member.Leader && r.Role != member.Leader && n.chores.noSpace {
		s.count[FullHandOvers]++
	}
	if r.Role != member.Leader || r.Term != n.term {
		kept := n.pending[:0]
		for _, p := range n.pending {
			if r.Role == member.Leader && p.term == r.Term {
				kept = append(kept, p)
			} else {
				p.unknown = true
			}
		}
		n.pending = kept
	}
	if r.Term < n.term {
		s.fail("%s: term went from %d back to %d", n.id, n.term, r.Term)
	}
	n.role, n.term, n.leader = r.Role, r.Term, r.Leader
}

func (n *node) endTransfer(t member.TransferAnswer) {
	n.transfers--
	if t.Code == member.Success {
		n.sim.count[TransfersDone]++
	} else {
		n.sim.count[TransfersFailed]++
	}
}
