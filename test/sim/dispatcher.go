package sim

import "github.com/ledgermq/ledgermq/pkg/dledger/member"

// The entry dispatcher of a link: pushes wait in a queue for a moment, and their
// bytes are read from the ledger as it is when they leave. Like a real one it may
// cut a range into pieces or send two ranges as one.

// queuePush takes a push from the member.
func (n *node) queuePush(to int8, p member.PushRequest) {
	l := n.sim.net.link(n.i, to)
	l.queue = append(l.queue, p)
	if l.busy {
		return
	}
	l.busy = true
	life := n.life
	n.sim.after(n.sim.upTo(n.sim.profile.dispatch), func() {
		l.busy = false
		if n.life == life {
			n.dispatch(to, l)
		}
	})
}

// dispatch sends what waits in the queue.
func (n *node) dispatch(to int8, l *link) {
	if n.paused {
		l.busy = true
		n.onResume(func() { l.busy = false; n.dispatch(to, l) })
		return
	}
	queue := l.queue
	for len(queue) > 0 {
		p := queue[0]
		queue = queue[1:]
		if n.sim.profile.cutPushes && n.sim.chance(0.5) {
			for len(queue) > 0 && continues(p, queue[0]) {
				p.Last, p.Commit = queue[0].Last, max(p.Commit, queue[0].Commit)
				queue = queue[1:]
				p.Runs = nil // of two pushes: read again from the entries
			}
		}
		cut := p
		if !n.readable(&cut) {
			if n.role == member.Leader && n.term == p.Term {
				n.holdPushes(to, l, p, queue)
				return
			}
			continue
		}
		n.sendPush(to, cut)
		if cut.Last < p.Last {
			p.PrevIndex, p.PrevTerm, p.First, p.Runs = cut.Last, n.log.termAt(cut.Last), cut.Last+1, nil
			queue = append([]member.PushRequest{p}, queue...)
		}
	}
	l.queue = l.queue[:0]
}

// holdPushes waits for the repair of the first entry of a push, and all that is behind
// it waits too.
func (n *node) holdPushes(to int8, l *link, p member.PushRequest, rest []member.PushRequest) {
	n.sim.count[PushesHeld]++
	l.queue = append([]member.PushRequest{p}, rest...)
	l.busy = true
	life := n.life
	n.sim.after(repairFirstRetry, func() {
		if n.life == life {
			l.busy = false
			n.dispatch(to, l)
		}
	})
}

// continues says whether q is the append right after p.
func continues(p, q member.PushRequest) bool {
	return p.Type == member.Append && q.Type == member.Append && p.Term == q.Term &&
		p.First <= p.Last && q.First == p.Last+1 && q.First <= q.Last
}

// sendPush reads the bytes of a push and sends it, maybe in pieces.
func (n *node) sendPush(to int8, p member.PushRequest) {
	if p.Last < p.First {
		n.sim.net.send(n.i, to, bulk, p, nil, nil)
		return
	}
	if p.First < n.disk.begin {
		n.sim.net.link(n.i, to).lagging = n.role == member.Leader && n.term == p.Term
		return // it has to be seeded
	}
	if p.Last > n.log.end() {
		return // truncated since: this node no longer leads
	}
	es := n.log.part(p.First, p.Last)
	if es[len(es)-1].term > p.Term {
		return // written by a later leader since
	}
	n.sim.god.checkPush(n, &p, es)
	var raw []byte
	if n.thick != nil {
		raw = n.thick.ahead
	}
	for n.sim.profile.cutPushes && len(es) > 1 && n.sim.chance(0.3) {
		k := 1 + n.sim.rng.IntN(len(es)-1)
		piece := p
		piece.Last = p.First + member.Index(k) - 1
		piece.Runs = es[:k].runs(p.First)
		n.sim.net.send(n.i, to, bulk, piece, es[:k:k], cutRaw(raw, 0, k))
		raw = cutRaw(raw, k, len(es)-k)
		p.PrevIndex, p.PrevTerm = piece.Last, es[k-1].term
		p.First, es = piece.Last+1, es[k:]
	}
	p.Runs = es.runs(p.First)
	n.sim.net.send(n.i, to, bulk, p, es, raw)
}

// onResume runs do when the node goes on after a pause, unless it died meanwhile.
func (n *node) onResume(do func()) {
	life := n.life
	n.resumed = append(n.resumed, func() {
		if n.life == life {
			do()
		}
	})
}
