package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
)

// Open opens the log in cfg.Dir, or makes an empty one. It reads everything
// once and verifies it, but for sealed segments that have an outline: what stands in those
// is verified when it is read, and by the scrub. What follows the last group that can have been
// confirmed is a torn tail: it is dropped and reported by Recovery. Damage
// before that is a *CorruptionError (with TolerateDamage only where its extent
// cannot be told, else those entries are Faulty), a file of somebody else an
// *IdentityError; then nothing has been changed on disk. The log begins as SLAVE.
func Open(cfg Config) (*Log, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := newLog(cfg)
	if err := l.load(); err != nil {
		if corruption := (*CorruptionError)(nil); errors.As(err, &corruption) {
			l.metrics.corruptions.WithLabelValues(corruptRecovery).Inc()
		}
		return nil, fmt.Errorf("open the commit log in %s: %w", cfg.Dir, err)
	}
	l.metrics.measure(l.mu.segments)
	l.cfg.Logger.Info("commit log opened", "dir", cfg.Dir, "begin", l.mu.begin, "end", l.mu.end.index,
		"term", l.mu.end.term, "segments", l.recovered.Segments, "trusted", l.recovered.Trusted, "clean", l.recovered.Clean)
	return l, nil
}

func (l *Log) load() error {
	if err := l.cfg.FS.MkdirAll(l.cfg.Dir); err != nil {
		return err
	}
	if err := l.cfg.FS.SyncDir(filepath.Dir(l.cfg.Dir)); err != nil {
		return err
	}
	r := recovery{log: l}
	r.scanner.tolerant = l.cfg.TolerateDamage
	err := r.openSegments()
	if err == nil {
		err = r.scan()
	}
	if err == nil {
		err = r.repair()
	}
	if err != nil {
		return errors.Join(err, r.closeFiles())
	}
	r.adopt()
	return nil
}

// recovery is the work of Open. Up to repair it changes nothing on disk.
type recovery struct {
	log      *Log
	segments []*segment
	doomed   []*segment // later ones that a truncation did not get to remove
	prepared []string
	outlines map[Index]string // paths of outline files, by their names; those of no use, in the end
	// badPatches are the paths of repair files that are damaged themselves.
	badPatches []string
	torn       []tornRange
	// unclear is what stands behind the frames of sealed segments and cannot be read.
	unclear []tornRange
	scanner scanner
	report  Recovery
}

func (r *recovery) openSegments() error {
	cfg := r.log.cfg
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return err
	}
	r.loadPatches(names)
	var newest Index
	for _, name := range names {
		if base, ok := parseSegmentName(name); ok {
			newest = base // they are sorted
		}
	}
	for _, name := range names {
		path := filepath.Join(cfg.Dir, name)
		base, ok := parseSegmentName(name)
		if !ok {
			if isPreparedName(name) {
				r.prepared = append(r.prepared, path)
			} else if !isPatchName(name) && !r.noteOutline(name) {
				cfg.Logger.Warn("commit log directory holds a file that is not the log's", "path", path)
			}
			continue
		}
		if err := r.openSegment(path, base, base == newest); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) openSegment(path string, base Index, newest bool) error {
	file, err := r.log.cfg.FS.Open(path)
	if err != nil {
		return err
	}
	seg := &segment{path: path, file: file}
	r.segments = append(r.segments, seg)
	size, err := file.Size()
	if err != nil {
		return err
	}
	block := alignedMemory(blockBytes)[:min(size, blockBytes)]
	n, healed, err := readSure(file, block, 0, !newest)
	if healed {
		r.log.reportHealed(path, 1)
	}
	if n < len(block) {
		if !r.scanner.tolerant || newest || !isUnreadable(err) {
			return fmt.Errorf("read %s: %w", path, err)
		}
		seg.base, seg.broken = base, fmt.Errorf("the segment header: %w: %w", errUnread, err)
		return nil
	}
	seg.segmentHeader, err = parseSegmentHeader(block)
	if err != nil && r.scanner.tolerant {
		seg.base, seg.broken = base, err
		return nil
	}
	if err != nil {
		return &CorruptionError{Path: path, Index: base, Why: err.Error()}
	}
	if id := r.log.cfg.identity(); seg.identity != id {
		return &IdentityError{Path: path, Found: seg.identity, Configured: id}
	}
	if seg.base != base {
		return &CorruptionError{Path: path, Index: base, Why: fmt.Sprintf(
			"the segment header says that the file begins at entry %d: it was renamed", seg.base)}
	}
	if r.scanner.tolerant {
		return nil // whether it may be short depends on what follows it
	}
	return seg.cutOff(size)
}

func (s *segment) cutOff(size int64) error {
	if size < s.size {
		return &CorruptionError{Path: s.path, Position: size, Index: s.base, Why: fmt.Sprintf(
			"the file has %d bytes, it was made with %d: it was cut off", size, s.size)}
	}
	return nil
}

// scan goes through all segments in order, reads those that no outline stands for, and
// decides what their ends mean.
func (r *recovery) scan() error {
	for n := 0; n < len(r.segments); n++ {
		if err := r.rebuildHeader(n); err != nil {
			return err
		}
		seg := r.segments[n]
		if n == 0 {
			r.scanner.at = tip{index: seg.base - 1, term: seg.prevTerm, chain: seg.prevChain}
		}
		trusted, err := r.trust(n)
		if err == nil && !trusted {
			err = r.scanSegment(n, seg)
		}
		if err != nil {
			return err
		}
	}
	last := r.segments[max(len(r.segments)-1, 0):]
	if r.scanner.doubt {
		return r.corrupt(last[0], fmt.Errorf("%w: nothing follows it", errDoubt))
	}
	if len(last) > 0 && last[0].w.unread != nil {
		// A truncation has made it the newest again. It is written to next.
		return unreadableSegment(last[0], last[0].w.unread)
	}
	return nil
}

// unreadableSegment is why the log is not opened: the segment is written to next, or its
// disk has lost too much of it to go around.
func unreadableSegment(seg *segment, why error) error {
	return fmt.Errorf("read %s: %w. Mend that and start again; if the disk cannot be read any more, and "+
		"the group has other members, give this one an empty data directory (docs/runbooks/damaged-disk.md)", seg.path, why)
}

func (r *recovery) scanSegment(n int, seg *segment) error {
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	var next *anchor
	if n < len(r.segments)-1 {
		next = r.endBefore(n+1, size)
	} else if err := seg.cutOff(size); err != nil {
		return err
	}
	// Blocks of the newest segment that cannot be read are no damage: it is written to.
	r.scanner.goAround = n < len(r.segments)-1 && r.scanner.bridges()
	defer func() { r.scanner.goAround = false }()
	why := r.scanner.segment(seg, size, next)
	var end, proof int64
	if r.scanner.refused == nil {
		end, proof = r.scanner.rest(seg)
	}
	r.log.reportUnread(seg.path, &r.scanner.window)
	if err := r.scanner.unreadIn(0, size); err != nil {
		seg.w.unread = err
	}
	unclear := r.scanner.unreadFrom(seg.w.pos)
	switch {
	case r.scanner.err != nil:
		return unreadableSegment(seg, r.scanner.err)
	case r.scanner.refused != nil:
		return r.corrupt(seg, r.scanner.refused)
	case proof > 0:
		return r.corrupt(seg, fmt.Errorf("%w; the frame at position %d proves that it had been durable", why, proof))
	case unclear > seg.w.pos && (end > seg.w.pos || next == nil):
		return r.corrupt(seg, fmt.Errorf("%w, and what stands around it does not say what it was", r.scanner.unreadIn(seg.w.pos, 1)))
	case unclear > seg.w.pos:
		r.unclear = append(r.unclear, tornRange{seg: seg, end: unclear})
	case end > seg.w.pos:
		r.torn = append(r.torn, tornRange{seg: seg, end: end})
	}
	seg.w.end = r.scanner.at
	return r.checkSuccessor(n, why)
}

// checkSuccessor decides whether the frames of segment n are all that it had,
// by what the next segment says about it or by there being none.
func (r *recovery) checkSuccessor(n int, why error) error {
	seg := r.segments[n]
	if n == len(r.segments)-1 {
		if seg.w.last == groupSeal && seg.w.rolled {
			return r.corrupt(seg, errors.New("the seal says that another segment follows, but there is none"))
		}
		return nil
	}
	next := r.segments[n+1]
	if next.broken == nil && next.prevID != seg.id && r.bridgeHole(seg, next) {
		return nil
	}
	if next.broken != nil {
		return nil // made from what stands here, or refused
	}
	if next.prevID != seg.id {
		return r.corrupt(seg, fmt.Errorf("the next file %s does not follow this one: a segment is missing", next.path))
	}
	if seg.w.last == groupTruncate && uint64(next.prevFrames) < seg.w.frames {
		r.doomed = append(r.doomed, r.segments[n+1:]...)
		r.segments = r.segments[:n+1]
		return nil
	}
	at := r.scanner.at
	if next.base == at.index+1 && next.prevChain == at.chain && next.prevTerm == at.term &&
		uint64(next.prevFrames) <= seg.w.frames {
		return nil
	}
	return r.corrupt(seg, fmt.Errorf("%w; the next segment proves that entries up to %d had been durable", why, next.base-1))
}

func (r *recovery) corrupt(seg *segment, why error) error {
	if corruption := (*CorruptionError)(nil); errors.As(why, &corruption) {
		return corruption
	}
	return &CorruptionError{Path: seg.path, Position: seg.w.pos, Index: r.scanner.at.index + 1, Why: why.Error()}
}

// repair makes the disk hold what was found, durably, before anything of it is
// reported durable. A crash in the middle of it leaves it to be done again.
func (r *recovery) repair() error {
	l := r.log
	if err := r.removePrepared(); err != nil {
		return err
	}
	if len(r.segments) == 0 {
		r.report.Created = true
		seg, err := l.addSegment(tip{index: NoIndex, term: NoTerm}, nil)
		if err != nil {
			return err
		}
		r.segments = []*segment{seg}
		r.scanner.at = tip{index: NoIndex, term: NoTerm}
	}
	for _, t := range r.torn {
		if err := r.wipe(t); err != nil {
			return fmt.Errorf("drop the torn tail of %s: %w", t.seg.path, err)
		}
	}
	if err := r.clearEnds(); err != nil {
		return err
	}
	// Before anything is removed: the frame that condemns it may be in the page cache only.
	if err := r.harden(); err != nil {
		return err
	}
	// Segments go newest first, and one that an earlier process has removed may be gone in
	// memory only: a power cut could bring it back behind the hole that the next removal makes.
	if len(r.doomed) > 0 {
		if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
			return fmt.Errorf("sync %s: %w", l.cfg.Dir, err)
		}
	}
	for n := len(r.doomed) - 1; n >= 0; n-- {
		if err := l.removeSegment(r.doomed[n]); err != nil {
			return fmt.Errorf("finish a truncation: %w", err)
		}
		r.report.Truncated++
		r.doomed = r.doomed[:n]
	}
	if err := l.removePatches(r.oldPatches()); err != nil {
		return err
	}
	for _, path := range r.badPatches {
		if err := l.cfg.FS.Remove(path); err != nil {
			return fmt.Errorf("remove a damaged repair file: %w", err)
		}
	}
	if err := r.removeOutlines(); err != nil {
		return err
	}
	return r.settle()
}

func (r *recovery) removePrepared() error {
	for _, path := range r.prepared {
		if err := r.log.cfg.FS.Remove(path); err != nil {
			return fmt.Errorf("remove an unused segment: %w", err)
		}
	}
	return nil
}

// settle syncs the names, and finishes a roll that a crash cut short.
func (r *recovery) settle() error {
	l := r.log
	if err := l.cfg.FS.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	for _, s := range r.segments {
		s.w.synced = s.w.pos
	}
	for n, s := range r.segments[:len(r.segments)-1] {
		if s.w.rolled || n < len(r.segments)-2 && !r.isUnclear(s) {
			continue
		}
		next := r.segments[n+1]
		at := tip{index: next.base - 1, term: next.prevTerm, chain: next.prevChain}
		l.w.synced = at.index
		if err := l.writeMark(s, groupSeal, flagRolled, at); err != nil {
			return err
		}
	}
	return nil
}

// adopt hands what was found over to the log.
func (r *recovery) adopt() {
	l, first, active := r.log, r.segments[0], r.segments[len(r.segments)-1]
	r.report.Segments = len(r.segments)
	r.report.Entries = r.scanner.entries
	r.report.Clean = active.w.last == groupSeal && r.report.TornBytes == 0
	l.recovered = r.report
	l.w.active, l.w.synced = active, r.scanner.at.index
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.begin, l.mu.prevTerm = first.base, first.prevTerm
	l.mu.runs = r.scanner.runs
	l.mu.end, l.mu.durable = r.scanner.at, r.scanner.at
	l.mu.segments = r.segments
	l.mu.gaps, l.mu.patches = r.scanner.gaps, r.scanner.patches
	l.reportFaultyLocked()
	signal(l.needOutlines)
}

func (r *recovery) closeFiles() error {
	var errs []error
	for _, s := range append(r.segments, r.doomed...) {
		errs = append(errs, s.file.Close())
	}
	for _, p := range r.scanner.patches {
		errs = append(errs, p.file.Close())
	}
	return errors.Join(errs...)
}
