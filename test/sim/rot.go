package sim

import "github.com/ledgermq/ledgermq/pkg/dledger/member"

// rotOne flips bits in durable entries of n. Nobody notices until they are read.
func (s *Sim) rotOne(n *node) {
	d := &n.disk
	if s.size() == 1 || d.durable.end() < d.begin || d.truncating() {
		return // a single member refuses to start on a damaged ledger
	}
	if d.fs != nil {
		s.rotThick(n)
		return
	}
	first := d.begin + member.Index(s.rng.IntN(int(d.durable.end()-d.begin)+1))
	switch known := member.Index(len(s.god.committed)) - 1; {
	case known >= d.begin && known < d.durable.end(): // where a truncation may begin
		first = known
	case s.chance(0.5): // most that can go wrong goes wrong near the end
		first = max(d.begin, d.durable.end()-member.Index(s.rng.IntN(30)))
	}
	last := min(d.durable.end(), first+member.Index(pick(s.rng, 0, 0, 2, 20)))
	if !s.dispensable(n, first, last) || s.alone(n, last) && !s.everyMajority(func(o *node) bool { return o != n && o.canVote() }) {
		return
	}
	s.note(n, "rot", int64(first), int64(last))
	s.count[Rots]++
	for i := first; i <= last; i++ {
		d.rot[i] = true
	}
	if !n.up || s.chance(0.3) { // found when the process starts
		s.crash(n, false)
	}
}

// alone says whether entry i of n may be on no other disk.
func (s *Sim) alone(n *node, i member.Index) bool {
	return int(i) >= len(s.god.committed) || i > n.disk.durable.end() || s.god.committed[i].chain != n.disk.durable[i].chain
}

// truncating says whether a truncation is written that is not durable.
func (d *disk) truncating() bool {
	for _, w := range d.unsynced {
		if w.truncate {
			return true
		}
	}
	return false
}

// readable cuts a push down to what can be read of it now, as Log.Read does. False: its
// first entry is damaged here and waits for its repair. What is in memory is not read.
func (n *node) readable(p *member.PushRequest) bool {
	if p.Last < p.First || p.Last > n.log.end() || p.First < n.disk.begin {
		return true
	}
	if n.thick != nil {
		return n.thick.readable(p)
	}
	if len(n.disk.rot) == 0 {
		return true
	}
	rot, ok := n.disk.rot.after(p.First - 1)
	if !ok || rot > p.Last || !n.chores.faulty[rot] && n.sim.chance(0.3) {
		return true
	}
	n.meetRot(rot)
	p.Last, p.Runs = rot-1, nil
	return rot > p.First
}

// readable reads what a push is to carry from the log.
func (t *thick) readable(p *member.PushRequest) bool {
	t.ahead = nil
	for next := p.First; next <= p.Last; { // as much as a frame takes: all
		raw, last, held, err := t.read(next, p.Last)
		if err != nil {
			t.n.dies() // what is damaged cannot be told while the log is open
			return false
		}
		if held {
			p.Last, p.Runs = next-1, nil
			break
		}
		t.ahead, next = append(t.ahead, raw...), last+1
	}
	return p.Last >= p.First
}
