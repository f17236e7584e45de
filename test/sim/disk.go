package sim

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// disk is what survives a crash, and what waits to do so. The ledger on it is
// append-only, as in pkg/commitlog: a truncation is one more thing written, so
// a crash leaves the durable part and a prefix of what was written after it.
type disk struct {
	dir      int // the node's directories are numbered from 1
	ballot   member.Ballot
	changes  []member.Change
	durable  entries
	unsynced []write
	inFlight int // so many of unsynced are covered by the running sync

	// durable goes on to hold what was purged, for the oracle; nobody reads it.
	begin   member.Index // the first entry that is not purged
	applied member.Index // the last entry that the durable state covers
	rot     marks        // entries whose bytes here are damaged
	met     marks        // those that a read or the scrub has come upon: a start finds them again
	eio     bool         // the next sync or save of the ballot fails
	full    bool         // there is no space for the next segment

	// Of a thick node.
	fs     *crashfs.FS
	saving *member.Ballot // that is being written; nil: none is
	flips  []flip         // bits that were flipped in it
	doomed bool           // its log will refuse to open
}

// write is a truncation or an append that the disk has not yet made durable.
type write struct {
	truncate bool
	first    member.Index
	entries  entries
}

func (d *disk) append(first member.Index, es entries) {
	d.unsynced = append(d.unsynced, write{first: first, entries: es})
}

// truncate waits out the running sync, as the commit log does. A truncation over
// the bounds of segments removes whole segments at once, newest first: cut says
// how many durable entries go that way.
func (d *disk) truncate(i member.Index, cut func(n int) int) {
	d.settle()
	if n := len(d.durable) - int(i); n > 0 && len(d.unsynced) == 0 {
		if gone := cut(n); gone > 0 {
			d.durable = d.durable.truncated(member.Index(len(d.durable) - gone))
		}
	}
	d.unsynced = append(d.unsynced, write{truncate: true, first: i})
}

// settle makes durable what the running sync covers.
func (d *disk) settle() {
	for _, w := range d.unsynced[:d.inFlight] {
		d.apply(w)
	}
	d.unsynced = d.unsynced[:copy(d.unsynced, d.unsynced[d.inFlight:])]
	d.inFlight = 0
}

func (d *disk) apply(w write) {
	if w.truncate {
		if w.first <= d.durable.end() {
			d.durable = d.durable.truncated(w.first)
		}
		return
	}
	if w.first != d.durable.end()+1 {
		panic("sim: a disk was written with a gap")
	}
	d.durable = append(d.durable, w.entries...)
}

// crash keeps the first n of the unsynced writes, and of the last of these keeps
// only part if it is an append; part gets its number of entries.
func (d *disk) crash(n int, part func(n int) int) {
	for k, w := range d.unsynced[:n] {
		if k == n-1 && !w.truncate {
			w.entries = w.entries[:part(len(w.entries))]
		}
		d.apply(w)
	}
	d.unsynced, d.inFlight = nil, 0
}

// startSync begins a sync unless one runs or there is nothing to do.
func (n *node) startSync() {
	d := &n.disk
	if d.inFlight > 0 || len(d.unsynced) == 0 || n.lacksSpace() {
		return
	}
	d.inFlight = len(d.unsynced)
	done := member.Persisted{Index: n.log.end(), Term: n.log.termAt(n.log.end()), Epoch: n.epoch}
	life, took := n.life, n.syncTime()
	n.spring(atAppend, 2*took)
	n.sim.after(took, func() {
		if n.life == life {
			n.finishSync(done)
		}
	})
}

// finishSync reports a sync. Its completion may come to the member late, and
// after truncations that waited for the sync itself.
func (n *node) finishSync(done member.Persisted) {
	if n.thick != nil {
		var ok bool
		if done, ok = n.thick.sync(); !ok {
			return
		}
	} else if n.diskFails() {
		return
	}
	if done.Epoch == n.epoch && n.thick == nil {
		n.disk.settle()
	}
	late := time.Duration(0)
	if n.sim.chance(n.sim.profile.lateCompletions) {
		late = n.sim.upTo(n.sim.profile.lateMax)
	}
	life := n.life
	n.sim.after(late, func() {
		if n.life == life {
			n.post(input{ev: done})
		}
	})
	n.startSync()
}

func (n *node) syncTime() time.Duration {
	p := &n.sim.profile
	t := p.syncMin + n.sim.upTo(p.syncMax-p.syncMin)
	if n.diskSlow > 0 {
		t += n.sim.upTo(n.diskSlow)
	}
	return t
}
