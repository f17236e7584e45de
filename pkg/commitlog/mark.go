package commitlog

import (
	"errors"
	"os"
	"slices"
)

// metDamage says whether a read has met damage: bytes that are not what was written, or a
// place that the disk cannot read, in a segment that is not written to any more or in a repair
// file. (A place of the active segment that the disk cannot read is no damage to live with: the
// process ends.) It counts and reports it.
func (l *Log) metDamage(what string, plan *readPlan, err error) bool {
	corruption := (*CorruptionError)(nil)
	if !errors.As(err, &corruption) && (!isUnreadable(err) || !plan.sealed) {
		return false
	}
	l.metrics.corruptions.WithLabelValues(corruptRead).Inc()
	l.cfg.Logger.Error("commit log "+what, "error", err)
	return true
}

// damageIndex is the first entry that damage was met in. With an I/O error that is not
// known: it is one from `from` on.
func damageIndex(err error, from Index) Index {
	if corruption := (*CorruptionError)(nil); errors.As(err, &corruption) {
		return corruption.Index
	}
	return from
}

// markDamage finds out what exactly is damaged where a read met damage, and
// makes it faulty, so that everything around it can be read. It reads the whole
// segment. False: it changed nothing, and the read's error stands.
func (l *Log) markDamage(plan *readPlan, why error) bool {
	if plan.patch != nil {
		return l.cfg.TolerateDamage && l.markPatch(plan, why)
	}
	// A crash may come at any time from now on: what was found must be found again.
	if err := l.distrust(plan.segment); err != nil || !l.cfg.TolerateDamage {
		return false
	}
	look, ok := l.beginLook(plan.segment)
	if !ok {
		return true // it is gone: ask again
	}
	err := l.diskAnswers(why)
	if err == nil {
		look.scanner.segment(&look.seg, look.end.pos, &look.end)
		l.reportUnread(plan.path, &look.scanner.window)
		err = errors.Join(look.scanner.err, look.scanner.refused)
	}
	if err != nil {
		return l.cannotTell(plan, err)
	}
	return l.endLook(plan.segment, look)
}

// cannotTell is markDamage where what is damaged cannot be told. True: the files were closed
// meanwhile, ask again.
func (l *Log) cannotTell(plan *readPlan, why error) bool {
	if errors.Is(why, os.ErrClosed) {
		return true
	}
	l.cfg.Logger.Error("commit log: what is damaged cannot be told", "path", plan.path, "error", why)
	return false
}

// markPatch is markDamage for a repair file.
func (l *Log) markPatch(plan *readPlan, why error) bool {
	if err := l.diskAnswers(why); err != nil {
		return l.cannotTell(plan, err)
	}
	return l.dropPatch(plan.patch, !isUnreadable(why))
}

// dropPatch gives up a repair file that is damaged itself, and deletes it: what it
// held is faulty. One that cannot be read is kept: it may have been the cable, and nobody else may
// have the entries any more.
func (l *Log) dropPatch(p *patch, remove bool) bool {
	l.acquire()
	defer l.release()
	l.mu.Lock()
	for n := range l.mu.gaps {
		if l.mu.gaps[n].patch == p {
			l.mu.gaps[n].patch = nil
		}
	}
	n := slices.Index(l.mu.patches, p)
	if n >= 0 {
		l.mu.patches = slices.Concat(l.mu.patches[:n], l.mu.patches[n+1:])
	}
	l.countFaultyLocked()
	l.mu.Unlock()
	signal(l.damaged)
	if n < 0 || l.usable() != nil {
		return true
	}
	if !remove {
		_ = p.file.Close() // nothing was written to it
		return true
	}
	if err := l.removePatches([]*patch{p}); err != nil {
		l.cfg.Logger.Error("a damaged repair file of the commit log is not deleted; the next start tries again", "path", p.path, "error", err)
	}
	return true
}

// look is a second reading of one segment while the log is in use.
type look struct {
	scanner scanner
	seg     segment // a copy, with an index of its own
	end     anchor  // where the segment's frames ended when it began
	epoch   uint64
	runs    []Run
}

// beginLook notes how far the segment goes. What stands before that is not
// written again, so it can be read while appends go on. False: it is gone.
func (l *Log) beginLook(seg *segment) (*look, bool) {
	l.acquire()
	defer l.release()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := slices.Index(l.mu.segments, seg)
	if n < 0 {
		return nil, false
	}
	k := &look{epoch: l.mu.epoch, runs: slices.Clone(l.mu.runs)}
	k.scanner = scanner{tolerant: true, patches: slices.Clone(l.mu.patches)}
	k.seg = segment{segmentHeader: seg.segmentHeader, path: seg.path, file: seg.file}
	k.end = anchor{pos: seg.w.pos, frames: seg.w.frames, at: l.mu.durable, end: true}
	if n+1 < len(l.mu.segments) {
		k.scanner.goAround = true
		next := l.mu.segments[n+1]
		if next.prevID == seg.id {
			k.end.frames = uint64(next.prevFrames) // as Open does
		}
		k.end.at = tip{index: next.base - 1, term: next.prevTerm, chain: next.prevChain}
		if g := l.mu.gaps.at(next.base - 1); g != nil && g.hole {
			k.end.at = tip{index: g.first - 1, term: l.termBeforeLocked(g.first), chain: g.before}
		}
	}
	k.scanner.at = tip{index: seg.base - 1, term: seg.prevTerm, chain: seg.prevChain}
	k.scanner.known = func(i Index) Term { return termAt(k.runs, i) }
	return k, true
}

// termBeforeLocked is the term of the entry before i, which may be Begin.
func (l *Log) termBeforeLocked(i Index) Term {
	if i == l.mu.begin {
		return l.mu.prevTerm
	}
	return l.termLocked(i - 1)
}

// endLook takes over what the look found, if the segment is still what it was.
func (l *Log) endLook(seg *segment, k *look) bool {
	l.acquire()
	defer l.release()
	if !l.takeLook(seg, k) {
		return false
	}
	signal(l.damaged)
	// What was found must not pass for a torn tail after a crash.
	return l.usable() != nil || l.seal() == nil
}

func (l *Log) takeLook(seg *segment, k *look) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.epoch != k.epoch || !slices.Contains(l.mu.segments, seg) {
		return true // other entries stand there now, or none: ask again
	}
	first, last := seg.base, k.end.at.index
	was, found := runsFrom(runsBefore(k.runs, last+1), first, last), k.scanner.runs
	if !slices.Equal(was, found) {
		l.cfg.Logger.Error("commit log: what is damaged cannot be told: other terms stand there", "path", seg.path)
		return false
	}
	k.seg.index.closed = true
	for _, e := range seg.index.list {
		if e.first > last {
			k.seg.index.list = append(k.seg.index.list, e)
		}
	}
	for n := range k.scanner.gaps {
		k.scanner.gaps[n].patch = nil // it may have been given up meanwhile, or come
	}
	k.scanner.gaps = k.scanner.gaps.patched(l.mu.patches)
	before, after := l.mu.gaps.outside(first, last)
	l.mu.gaps = slices.Concat(before, k.scanner.gaps, after)
	seg.index = k.seg.index
	l.countFaultyLocked()
	for _, g := range k.scanner.gaps.faulty() {
		l.cfg.Logger.Error("commit log is damaged: these entries are faulty until a peer's copy replaces them",
			"first", g.first, "last", g.last, "path", g.path, "position", g.pos, "why", g.why)
	}
	return true
}
