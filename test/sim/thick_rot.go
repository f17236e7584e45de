package sim

import (
	"slices"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/commitlog/crashfs"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// flip is one bit of a file, or, without a mask, the block there, which cannot be read.
type flip struct {
	path string
	off  int64
	mask byte
}

func (f flip) do(fs *crashfs.FS) bool {
	if f.mask == 0 {
		return fs.Spoil(f.path, f.off, true)
	}
	return fs.Flip(f.path, f.off, f.mask)
}

func (f flip) undo(fs *crashfs.FS) {
	if f.mask == 0 {
		fs.Spoil(f.path, f.off, false)
		return
	}
	fs.Flip(f.path, f.off, f.mask)
}

// rotThick flips a bit in a file of n, or spoils a sector, or makes a block unreadable. What comes of it is first tried
// on a copy: the atlas does not allow everything. A log that had proven all of its entries
// durable never loses one of them unnoticed, wherever the damage is.
func (s *Sim) rotThick(n *node) {
	d := &n.disk
	proven := len(d.flips) == 0 && n.thick != nil && len(d.unsynced) == 0 && !d.eio && n.thick.log.Seal() == nil
	flips := s.aim(d.fs)
	trial := d.fs.Clone()
	if len(flips) == 0 || !flips[0].do(trial) {
		return
	}
	for _, f := range flips[1:] {
		f.do(trial)
	}
	log, err := commitlog.Open(n.logConfig(trial))
	if err == nil {
		err = scrubWhole(log) // what Open has not read
	}
	if err != nil {
		s.doom(n, flips)
		return
	}
	end, _ := log.End()
	faulty := log.Faulty()
	log.Abandon()
	switch {
	case member.Index(end) < d.durable.end() && proven:
		s.fail("%s: I9: damage in %s at %d ends the log at %d, %d was proven durable", n.id, flips[0].path, flips[0].off, end, d.durable.end())
	case member.Index(end) < d.durable.end():
		s.count[Undecidable]++ // nothing had been written or sealed after the last group yet
	case s.spares(n, faulty):
		s.flip(n, flips, len(faulty))
		for _, r := range faulty {
			s.count[Rots]++
			for i := r.First; i <= r.Last; i++ {
				d.rot[member.Index(i)] = true
			}
		}
		if s.chance(0.3) {
			s.crash(n, false)
		}
	}
}

func scrubWhole(log *commitlog.Log) error {
	for next, done := commitlog.Index(0), false; !done; {
		var err error
		if next, _, done, err = log.Scrub(next, 1<<20); err != nil {
			log.Abandon()
			return err
		}
	}
	return nil
}

// spares says whether the atlas allows such damage to n.
func (s *Sim) spares(n *node, faulty []commitlog.FaultyRange) bool {
	for _, r := range faulty {
		first, last := member.Index(r.First), member.Index(r.Last)
		if !s.dispensable(n, first, last) || s.alone(n, last) && !s.everyMajority(func(o *node) bool { return o != n && o.canVote() }) {
			return false
		}
	}
	return true
}

// doom damages n so that its log will refuse to open, if its disk may be replaced then.
func (s *Sim) doom(n *node, flips []flip) {
	d := &n.disk
	if !s.replaceable(n) {
		return
	}
	s.flip(n, flips, -1)
	d.doomed = true
	s.crash(n, false)
}

// aim chooses what to damage: one bit, or the 512 bytes of a sector, or a block that the
// disk cannot read any more.
func (s *Sim) aim(fs *crashfs.FS) (flips []flip) {
	files := slices.DeleteFunc(fs.Files(), func(path string) bool { return path == thickBallot })
	if len(files) == 0 {
		return nil
	}
	path := files[s.rng.IntN(len(files))]
	if s.chance(0.5) {
		segments := slices.DeleteFunc(slices.Clone(files), func(path string) bool { return !strings.HasSuffix(path, ".seg") })
		path = segments[len(segments)-1]
	}
	text, err := fs.ReadFile(path)
	if err != nil {
		return nil
	}
	written := len(text)
	for written > 0 && text[written-1] == 0 {
		written--
	}
	off := s.rng.Int64N(int64(written) + 1)
	switch { // most of a file is padding
	case s.chance(0.1):
		off = s.rng.Int64N(100) // the header of a segment
	case s.chance(0.5):
		off = off&^4095 | s.rng.Int64N(400) // that of a frame, or its first entries
	}
	if s.chance(0.7) {
		return []flip{{path, off, byte(1) << s.rng.IntN(8)}}
	}
	for at := off &^ 511; at < off&^511+512; at++ {
		flips = append(flips, flip{path, at, byte(1 + s.rng.IntN(255))})
	}
	if flips[0].mask%2 == 0 {
		return []flip{{path, off, 0}}
	}
	return flips
}

func (s *Sim) flip(n *node, flips []flip, faulty int) {
	s.note(n, "damage", flips[0].off, int64(faulty))
	s.count[Flips]++
	n.disk.flips = append(n.disk.flips, flips...)
	if flips[0].mask == 0 {
		s.count[Unreadable]++
	}
	for _, f := range flips {
		f.do(n.disk.fs)
	}
}

// replaceable says whether the group can do without the disk of n.
func (s *Sim) replaceable(n *node) bool {
	return !s.profile.disaster && n.disk.ballot.Proven && s.everyMajority(func(o *node) bool { return o != n && o.canVote() }) && s.dispensable(n, 0, n.disk.durable.end())
}

// replaceDisk does what an operator does about a log that refuses to open: an empty
// directory, if the group can do without this one, or else the disk is mended. (Damage
// that could be repaired when it was done may not be when what stood around it is gone.)
func (n *node) replaceDisk() {
	n.sim.count[Refusals]++
	if n.sim.replaceable(n) {
		n.sim.wipe(n)
		return
	}
	for _, f := range n.disk.flips {
		f.undo(n.disk.fs)
	}
	n.disk.flips, n.disk.doomed, n.disk.rot = nil, false, marks{}
}
