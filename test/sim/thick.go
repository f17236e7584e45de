package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// In a share of the runs the nodes are thick: under the member there is the real commit
// log on a file system in memory that loses, tears and reorders what is not synced. The
// model of the disk then only says what must be there, and what the log reads, keeps
// over crashes and calls damaged is compared with it.

const thickDir = "/data/log"

// thick is an open commit log. A crash takes it; its files are the disk's.
type thick struct {
	n      *node
	log    *commitlog.Log
	master bool
	term   member.Term
	early  *commitlog.Persisted // of a sync that a truncation has waited for
	scrub  commitlog.Index      // where the scrub goes on
	ahead  []byte               // what the last look for a push has read
}

func (n *node) logConfig(fs *crashfs.FS) commitlog.Config {
	s := n.sim
	return commitlog.Config{
		Dir: thickDir, FS: fs, ClusterID: "c", Group: "g", MemberID: string(n.id),
		SegmentBytes: s.profile.segment, TailCacheBytes: s.profile.tail, MaxGroupBytes: 64 << 10,
		TolerateDamage: s.size() > 1,
		Clock:          func() time.Time { return time.Unix(0, n.wallNow()) },
		SegmentID:      func() uint64 { s.segmentIDs++; return s.segmentIDs },
		MayGrow: func(int64) error {
			if n.disk.full {
				return syscall.ENOSPC
			}
			return nil
		},
	}
}

// openLog opens the log of a thick node and compares what it has kept with what it had
// said to be durable. False: the process has ended again.
func (n *node) openLog() bool {
	if n.disk.fs == nil {
		return true
	}
	if !n.openBallot() {
		return false
	}
	found, err := n.readLog()
	damaged := (*commitlog.CorruptionError)(nil)
	if (errors.As(err, &damaged) || errors.Is(err, syscall.EIO)) && n.disk.flips != nil {
		if n.replaceDisk(); !n.openBallot() {
			return false
		}
		found, err = n.readLog()
	}
	if errors.Is(err, commitlog.ErrNoSpace) { // of a new one
		n.startLater()
		return false
	}
	if err != nil {
		n.sim.fail("%s: the log does not open: %v", n.id, err)
		return false
	}
	if r := n.thick.log.Recovery(); r.TornBytes > 0 {
		n.sim.count[TornTails]++
	} else if r.Trusted > 0 {
		n.sim.count[TrustedOutlines]++
	}
	d := &n.disk
	if last := d.durable.end(); found.end() < last || last >= 0 && found[last].chain != d.durable[last].chain {
		n.sim.fail("%s: I8: the log ends at %d, %d was durable", n.id, found.end(), last)
		return false
	}
	d.durable, d.begin = found, member.Index(n.thick.log.Begin())
	d.rot, n.chores = marks{}, chores{} // of the life before; all has been read now
	n.thick.findRot()
	return true
}

// readLog opens the log and reads all that it holds. What Open has not read may be damaged
// so that nobody can say what was there; then the log is closed again.
func (n *node) readLog() (entries, error) {
	log, err := commitlog.Open(n.logConfig(n.disk.fs))
	if err != nil {
		return nil, err
	}
	n.thick = &thick{n: n, log: log}
	found, err := n.thick.recovered()
	if err != nil {
		log.Abandon()
		n.thick = nil
	}
	return found, err
}

// startLater tries to start n again in a second: there is no space for its log.
func (n *node) startLater() {
	n.up = false
	life := n.life
	n.sim.after(time.Second, func() {
		if n.life == life {
			n.sim.restart(n)
		}
	})
}

// recovered is all that the log holds. What is damaged in it is what once had that
// index and term.
func (t *thick) recovered() (entries, error) {
	begin, end := member.Index(t.log.Begin()), t.end()
	if begin > t.n.disk.durable.end()+1 {
		return nil, fmt.Errorf("I11: the log begins at %d, it ended at %d", begin, t.n.disk.durable.end())
	}
	found := append(make(entries, 0, end+64), t.n.disk.durable[:begin]...)
	for i := begin; i <= end; i++ {
		raw, err := t.log.Read(commitlog.Index(i), commitlog.Index(end), 64<<10)
		if errors.Is(err, commitlog.ErrFaulty) {
			term, err := t.log.TermAt(commitlog.Index(i))
			if err != nil {
				return nil, err
			}
			was, ok := t.n.sim.god.stamp(i, member.Term(term))
			if !ok {
				return nil, fmt.Errorf("I9: the damaged entry %d is said to be of term %d, in which it never was", i, term)
			}
			found = append(found, was)
			continue
		}
		if err != nil {
			return nil, err
		}
		es, err := t.decode(raw.Bytes, found.at(i-1), i)
		if err != nil {
			return nil, err
		}
		found, i = append(found, es...), member.Index(raw.Last)
	}
	return found, nil
}

// decode is the entries that bytes of the log stand for, the first of them behind prev.
// Each must be what a leader once wrote there.
func (t *thick) decode(raw []byte, prev entry, first member.Index) (entries, error) {
	var es entries
	for i := first; len(raw) > 0; i++ {
		h, body, rest, err := commitlog.NextEntry(raw)
		if err != nil {
			return nil, err
		}
		payload := uint64(0)
		if h.Type != commitlog.TypeNoop {
			payload = binary.LittleEndian.Uint64(body[4:])
		}
		prev = prev.next(member.Term(h.Term), payload, h.AppendTime)
		was, ok := t.n.sim.god.stamp(i, prev.term)
		if !ok || was != prev || member.Index(h.Index) != i {
			return nil, fmt.Errorf("I3: the log has %+v at %d, written was %+v", prev, h.Index, was)
		}
		es, raw = append(es, prev), rest
	}
	return es, nil
}

// stamp is the entry of that index and term, if there ever was one.
func (g *god) stamp(i member.Index, term member.Term) (entry, bool) {
	if int(i) < len(g.stamps) {
		for _, e := range g.stamps[i] {
			if e.term == term {
				return e, true
			}
		}
	}
	return entry{}, false
}

func (t *thick) end() member.Index {
	end, _ := t.log.End()
	return member.Index(end)
}

// body is what the log is given for a payload.
func thickBody(payload uint64) commitlog.Body {
	b := make([]byte, 12+payload*37%180)
	if payload%16 == 0 {
		b = make([]byte, 4000+payload*37%4000)
	}
	binary.LittleEndian.PutUint64(b[4:], payload)
	for i := 12; i < len(b); i++ {
		b[i] = byte(payload) + byte(i)
	}
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	return commitlog.Body{Type: commitlog.TypeBatch, Bytes: b}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// becomeMaster and becomeSlave do as the shell's ledger writer does.
func (t *thick) becomeMaster(term member.Term) {
	if !t.master || t.term != term {
		t.log.BecomeMaster(commitlog.Term(term))
		t.master, t.term = true, term
	}
}

func (t *thick) becomeSlave() {
	if t.master {
		t.log.BecomeSlave(commitlog.Term(t.term))
		t.master = false
	}
}

// lead appends an entry of its own leadership and returns the time that it got.
func (t *thick) lead(i member.Index, term member.Term, payload uint64) int64 {
	t.becomeMaster(term)
	body := thickBody(payload)
	if payload == 0 {
		body = commitlog.Body{Type: commitlog.TypeNoop}
	}
	err := t.log.AppendMaster(commitlog.Term(term), commitlog.Index(i), []commitlog.Body{body})
	at, timeErr := t.log.AppendTime(commitlog.Index(i))
	if err = errors.Join(err, timeErr); err != nil {
		t.n.sim.fail("%s: append of %d: %v", t.n.id, i, err)
	}
	return at.UnixNano()
}

// follow appends an entry as it came.
func (t *thick) follow(raw []byte) {
	t.becomeSlave()
	if err := t.log.AppendSlave(raw); err != nil {
		t.n.sim.fail("%s: append of what a leader sent: %v", t.n.id, err)
	}
}

// truncate is false if the log could not be truncated there, or the power went.
func (t *thick) truncate(i member.Index) bool {
	s := t.n.sim
	t.becomeSlave()
	if t.n.disk.inFlight > 0 && t.early == nil { // it waits for the sync in flight
		p, err := t.log.Sync()
		if err != nil && !errors.Is(err, commitlog.ErrNoSpace) {
			s.fail("%s: sync: %v", t.n.id, err)
		}
		if err == nil {
			t.early = &p
		}
	}
	if !s.calm && s.chance(0.15) {
		t.n.disk.fs.FailFrom(1+s.rng.IntN(4), crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op.Changes() })
	}
	err := t.log.TruncateFrom(commitlog.Index(i))
	corruption := (*commitlog.CorruptionError)(nil)
	switch {
	case err == nil:
		t.n.disk.fs.SetFault(nil)
		return true
	case errors.Is(err, crashfs.ErrPowerLoss):
		s.count[CutTruncations]++
	case errors.Is(err, commitlog.ErrFaulty), errors.As(err, &corruption), errors.Is(err, syscall.EIO):
		s.count[StuckTruncations]++
	default:
		s.fail("%s: truncation from %d: %v", t.n.id, i, err)
	}
	return false
}

// noteDurable brings the model of the disk up to what the log says of itself.
func (t *thick) noteDurable() {
	d, n := &t.n.disk, t.n
	durable, _ := t.log.Durable()
	d.durable = n.log.part(0, min(member.Index(durable), n.log.end()))
	d.unsynced, d.inFlight = nil, 0
	if end := n.log.end(); end > d.durable.end() {
		d.append(d.durable.end()+1, n.log.part(d.durable.end()+1, end))
	}
}

// powerCut is what a cut leaves of the files: any of the unsynced sectors, torn and in
// any order, old content or rubbish in the others.
func (s *Sim) loss() crashfs.Loss {
	loss := crashfs.RandomLoss(s.rng)
	if s.chance(0.2) {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), 0))
		loss.Scramble = func(b []byte) {
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
		}
	}
	return loss
}

// crashLog ends the process under a thick node, or takes its power too.
func (n *node) crashLog(power bool) {
	t, s := n.thick, n.sim
	if t == nil {
		return
	}
	fs := n.disk.fs
	if s.chance(0.7) {
		n.saveHalf(crashfs.Fault{Err: crashfs.ErrPowerLoss})
	}
	if t.early == nil && len(n.disk.unsynced) > 0 && !n.disk.full && s.chance(0.8) { // in the middle of a sync
		fs.FailFrom(1+s.rng.IntN(4), crashfs.ErrPowerLoss, func(c crashfs.Call) bool { return c.Op.Changes() })
		if _, err := t.log.Sync(); err != nil {
			s.count[CutSyncs]++
		}
	}
	t.log.Abandon()
	fs.PowerOff()
	if power {
		n.disk.fs = fs.CrashWith(s.loss())
	} else {
		n.disk.fs = fs.Fork()
	}
	n.thick, n.ballot = nil, nil
}
