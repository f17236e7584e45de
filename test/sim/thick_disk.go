package sim

import (
	"errors"
	"syscall"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// sealAfter is how long nothing is written until the log is sealed, as in pkg/dledger.
const sealAfter = 100 * time.Millisecond

// sync makes durable what has gathered. ok is false if there was no space, or the
// process has ended.
func (t *thick) sync() (done member.Persisted, ok bool) {
	n := t.n
	if t.early != nil {
		p := *t.early
		t.early = nil
		return persisted(p), true
	}
	if n.disk.eio {
		n.sim.count[ThickErrors]++
		t.failNext()
	}
	p, err := t.log.Sync()
	switch {
	case errors.Is(err, commitlog.ErrNoSpace):
		t.noteDurable()
		n.awaitSpace()
		return done, false
	case err != nil && n.disk.eio:
		n.disk.eio = false
		n.sim.count[DiskErrors]++
		n.dies()
		return done, false
	case err != nil:
		n.sim.fail("%s: sync: %v", n.id, err)
		return done, false
	}
	t.noteDurable()
	t.prepare()
	t.sealLater()
	return persisted(p), true
}

func persisted(p commitlog.Persisted) member.Persisted {
	return member.Persisted{Index: member.Index(p.Index), Term: member.Term(p.Term), Epoch: p.Epoch}
}

// failNext makes one write or sync fail, once: of the pages of a failed sync some are
// on the disk, and all are clean, so that programs read what the disk does not have.
func (t *thick) failNext() {
	s := t.n.sim
	op, loss, failed := pick(s.rng, crashfs.OpSync, crashfs.OpSync, crashfs.OpWrite), s.loss(), false
	t.n.disk.fs.SetFault(func(c crashfs.Call) crashfs.Fault {
		if failed || c.Op != op {
			return crashfs.Fault{}
		}
		failed = true
		return crashfs.Fault{Err: syscall.EIO, Clean: &loss}
	})
}

// prepare has the next segment ready in time, or not.
func (t *thick) prepare() {
	n, s := t.n, t.n.sim
	select {
	case <-t.log.NeedOutlines():
		s.after(100*time.Millisecond, func() {
			if n.thick == t && n.log != nil {
				_, _ = t.log.WriteOutline() // without it more is read
			}
		})
	default:
	}
	select {
	case <-t.log.NeedSegment():
	default:
		return
	}
	s.after(s.upTo(time.Second), func() {
		if n.thick == t && n.log != nil {
			_ = t.log.PrepareSegment() // the sync that needs it says if there is no space
		}
	})
}

// sealLater seals the log when nothing has been written for a while.
func (t *thick) sealLater() {
	n, end := t.n, t.end()
	n.sim.after(sealAfter, func() {
		if n.thick != t || t.end() != end || n.disk.inFlight > 0 || n.disk.eio {
			return
		}
		if err := t.log.Seal(); err != nil {
			n.sim.fail("%s: seal: %v", n.id, err)
		}
	})
}

// read returns the bytes of entries from first on, last at most. held says that the
// first of them is damaged.
func (t *thick) read(first, last member.Index) (raw []byte, to member.Index, held bool, err error) {
	f, err := t.log.Read(commitlog.Index(first), commitlog.Index(last), 64<<10)
	t.findRot()
	if errors.Is(err, commitlog.ErrFaulty) {
		return nil, first - 1, true, nil
	}
	if err != nil {
		return nil, first - 1, false, err
	}
	if es, err := t.decode(f.Bytes, t.n.log.at(first-1), first); err != nil || es[len(es)-1] != t.n.log[f.Last] {
		t.n.sim.fail("%s: I9: read at %d: %v", t.n.id, first, err)
	}
	return f.Bytes, member.Index(f.Last), false, nil
}

// findRot makes known what the log has found to be damaged.
func (t *thick) findRot() {
	n := t.n
	faulty := marks{}
	for _, r := range t.log.Faulty() {
		for i := r.First; i <= r.Last; i++ {
			faulty[member.Index(i)] = true
		}
	}
	for i := range faulty {
		n.disk.rot[i] = true
	}
	for _, r := range faulty.stretches() {
		for i := r.first; i <= r.last && n.chores.faulty != nil; i++ {
			n.meetRot(i)
		}
	}
}

// scrubAll reads the sealed segments.
func (t *thick) scrubAll() {
	for {
		next, _, done, err := t.log.Scrub(t.scrub, 256<<10)
		t.scrub = next
		if errors.As(err, new(*commitlog.CorruptionError)) {
			t.n.sim.fail("%s: the scrub meets damage that the log does not see: %v", t.n.id, err)
		}
		if err != nil {
			t.n.dies()
			return
		}
		if done {
			t.scrub = 0
			break
		}
	}
	t.findRot()
}

// repair gives the log the copies that have come.
func (t *thick) repair(r stretch, raw []byte) bool {
	err := t.log.Repair(commitlog.Index(r.first), func(from, _ commitlog.Index) ([]byte, error) {
		for rest := raw; len(rest) > 0; {
			h, _, after, err := commitlog.NextEntry(rest)
			if err != nil {
				return nil, err
			}
			if h.Index == from {
				return rest, nil
			}
			rest = after
		}
		return nil, errors.New("not fetched")
	})
	if err != nil {
		t.n.sim.count[Misfits]++
	}
	return err == nil
}

// purge is where the log begins when it has purged what is before an entry.
func (t *thick) purge(before member.Index) member.Index {
	if err := t.log.PurgeBefore(commitlog.Index(before)); err != nil {
		t.n.sim.fail("%s: purge: %v", t.n.id, err)
	}
	return member.Index(t.log.Begin())
}

// plant makes an empty log that begins behind what a seed holds.
func (n *node) plant(state entries, chain uint32) {
	fs := n.disk.fs
	for _, path := range fs.Files() {
		if path != thickBallot {
			_ = fs.Remove(path) // there is no fault
		}
	}
	_ = fs.SyncDir(thickDir)
	n.disk.flips = nil
	at := commitlog.Origin{
		Begin: commitlog.Index(state.end() + 1), PrevTerm: commitlog.Term(state[state.end()].term), PrevChain: chain,
	}
	if err := commitlog.Create(n.logConfig(n.disk.fs), at); err != nil {
		n.sim.fail("%s: create a log: %v", n.id, err)
	}
}

// cutRaw is the bytes of count entries, after the first skip of them. Thin nodes have none.
func cutRaw(raw []byte, skip, count int) []byte {
	if len(raw) == 0 {
		return nil
	}
	ends := []int{0}
	for rest := raw; len(ends) <= skip+count; {
		_, _, after, err := commitlog.NextEntry(rest)
		if err != nil {
			panic(err)
		}
		rest = after
		ends = append(ends, len(raw)-len(rest))
	}
	return raw[ends[skip]:ends[skip+count]]
}

// lend reads entries for a peer that has lost them.
func (t *thick) lend(first, last member.Index) lent {
	raw, last, held, err := t.read(first, last)
	if err != nil || held {
		return lent{damaged: held}
	}
	return lent{entries: t.n.log.part(first, last), raw: raw}
}

// noteWritten brings the model of the disk up to what was appended, leaving alone a
// sync that runs.
func (t *thick) noteWritten() {
	inFlight := t.n.disk.inFlight
	t.noteDurable()
	t.n.disk.inFlight = min(inFlight, len(t.n.disk.unsynced))
}

// truncateLog truncates the log of a thick node. False: the process has ended.
func (n *node) truncateLog(i member.Index) bool {
	ok := n.thick.truncate(i)
	if int(i) <= len(n.disk.durable) {
		n.disk.durable = n.disk.durable.truncated(i) // so much is surely left
	}
	if !ok {
		n.dies()
		return false
	}
	n.epoch++
	n.log = n.log.truncated(i)
	n.forgetDamage(i)
	n.thick.noteWritten()
	return true
}

// stampOwn is the time that an entry of its own leadership gets at n.
func (n *node) stampOwn(i member.Index, term member.Term, payload uint64) int64 {
	if n.thick != nil {
		return n.thick.lead(i, term, payload)
	}
	return n.wallNow()
}

// raw is the bytes of the entry (i, term) among the pushes of this batch.
func (b *batch) raw(i member.Index, term member.Term) []byte {
	for k := len(b.pushes) - 1; k >= 0; k-- {
		p := b.pushes[k]
		if j := i - p.first; j >= 0 && int(j) < len(p.entries) && p.entries[j].term == term {
			return cutRaw(p.raw, int(j), 1)
		}
	}
	return nil
}

// readAll reads all that n has. False: the process has ended over it.
func (n *node) readAll() bool {
	if n.thick == nil {
		n.scrub()
		return true
	}
	for i := n.disk.begin; i <= n.log.end(); i++ {
		_, last, held, err := n.thick.read(i, n.log.end())
		if err != nil {
			n.dies()
			return false
		}
		if !held {
			i = last
		}
	}
	return true
}
