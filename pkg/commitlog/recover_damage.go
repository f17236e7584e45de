package commitlog

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// endBefore is what segment n says about the end of the one before it; nil if
// it is another one that it follows, or its header is gone too.
func (r *recovery) endBefore(n int, size int64) *anchor {
	seg, next := r.segments[n-1], r.segments[n]
	if next.broken != nil || next.prevID != seg.id {
		return nil
	}
	return &anchor{
		pos: size, frames: uint64(next.prevFrames), end: true,
		at: tip{index: next.base - 1, term: next.prevTerm, chain: next.prevChain},
	}
}

// rebuildHeader makes the header of segment n, which cannot be read, from what
// stands around it. The file is left as it is.
func (r *recovery) rebuildHeader(n int) error {
	seg := r.segments[n]
	if seg.broken == nil {
		return nil
	}
	var refuse error = &CorruptionError{Path: seg.path, Index: seg.base, Why: seg.broken.Error()}
	if isUnreadable(seg.broken) {
		seg.w.unread = seg.broken
		refuse = fmt.Errorf("read %s: %w", seg.path, seg.broken)
	}
	at := tip{index: NoIndex, term: NoTerm}
	h := segmentHeader{base: seg.base, identity: r.log.cfg.identity()}
	if n == 0 && seg.base > 0 {
		o := r.witness(seg)
		if o == nil {
			return refuse
		}
		at = o.before
	}
	if n > 0 {
		prev := r.segments[n-1]
		at, h.prevID, h.prevFrames = r.scanner.at, prev.id, uint32(prev.w.frames)
		if !prev.w.rolled || r.scanner.doubt {
			return refuse
		}
	}
	if seg.base != at.index+1 {
		return refuse
	}
	h.prevTerm, h.prevChain = at.term, at.chain
	var known bool
	var err error
	if h.id, known, err = r.segmentID(n, at); err == nil {
		h.size, err = seg.file.Size()
	}
	switch {
	case err != nil:
		return err
	case !known:
		return refuse
	}
	r.log.cfg.Logger.Error("commit log segment has a damaged header: its neighbours say what it held",
		"path", seg.path, "error", seg.broken)
	seg.segmentHeader, seg.broken, seg.w.scarred = h, nil, true
	seg.w.headless = n > 0
	if n == 0 && seg.base > 0 { // the next start needs it, too
		delete(r.outlines, seg.base)
		seg.w.outlined = true
	}
	return nil
}

// witness is the outline of the oldest segment, which alone says what stood before it. It
// must be that of the segment which the next one follows; nil: it is not, or there is none.
func (r *recovery) witness(seg *segment) *outline {
	path, there := r.outlines[seg.base]
	if !there || len(r.segments) < 2 || r.segments[1].broken != nil {
		return nil
	}
	next := r.segments[1]
	o, err := r.loadOutline(path)
	if err != nil {
		r.log.cfg.Logger.Error("the outline of a commit log segment with a damaged header is of no use", "path", path, "error", err)
		return nil
	}
	end := tip{index: next.base - 1, term: next.prevTerm, chain: next.prevChain, time: o.end.time}
	if o.segmentID != next.prevID || o.before.index != seg.base-1 || o.end != end || o.frames != uint64(next.prevFrames)+1 {
		return nil
	}
	return o
}

// segmentID finds the id of a segment whose header is gone. The next one names it.
// In the last one the first frame does, if it is what has to follow: the segment
// before it ended with a seal which says that there is another one, and the chain
// says that it goes on here.
func (r *recovery) segmentID(n int, at tip) (id uint64, known bool, err error) {
	if n < len(r.segments)-1 {
		next := r.segments[n+1]
		return next.prevID, next.broken == nil, nil
	}
	if n == 0 {
		return 0, false, nil // it might be anybody's
	}
	block := alignedMemory(blockBytes)
	if got, err := readFresh(r.segments[n].file, block, blockBytes); got < len(block) && !errors.Is(err, io.EOF) {
		return 0, false, fmt.Errorf("read %s: %w", r.segments[n].path, err)
	}
	g, err := parseGroupHeader(block)
	if err != nil {
		return 0, false, nil
	}
	fits := g.kind == groupEntries && g.sequence == 0 && g.first == at.index+1 && g.chain == at.chain
	return g.segmentID, fits, nil
}

// bridgeHole takes a segment that is missing between seg and next for a gap. A
// rolled seal says that there was one.
func (r *recovery) bridgeHole(seg, next *segment) bool {
	s := &r.scanner
	if !s.bridges() || !seg.w.rolled || next.base <= s.at.index+1 {
		return false
	}
	g := gap{
		first: s.at.index + 1, last: next.base - 1, before: s.at.chain, after: next.prevChain, hole: true,
		damage: damage{path: r.log.segmentPath(s.at.index + 1), why: fmt.Sprintf(
			"the file is missing: %s says that another one follows, and %s does not follow it", seg.path, next.path)},
	}
	if err := s.lose(g, s.at.term, false); err != nil {
		s.refused = err
		return false
	}
	return s.settleTerm(next.prevTerm) == nil
}

// reportFaultyLocked tells of what Open found damaged.
func (l *Log) reportFaultyLocked() {
	l.countFaultyLocked()
	for _, g := range l.mu.gaps.faulty() {
		l.metrics.corruptions.WithLabelValues(corruptRecovery).Inc()
		l.cfg.Logger.Error("commit log is damaged: these entries are faulty until a peer's copy replaces them; "+
			"what stands around them is good, and nothing was changed", "first", g.first, "last", g.last,
			"path", g.path, "position", g.pos, "why", g.why)
	}
}

// oldPatches takes out the repair files of segments that were purged.
func (r *recovery) oldPatches() (old []*patch) {
	s := &r.scanner
	s.patches = slices.DeleteFunc(s.patches, func(p *patch) bool {
		if p.last >= r.segments[0].base {
			return false
		}
		old = append(old, p)
		return true
	})
	return old
}
