package commitlog

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
)

// trust takes segment n by its outline instead of reading it. False: there is none, or
// it does not fit everything that is known around it, and the segment is to be read.
// The last segment is always read.
//
// What stands in the entries is not looked at: every read of them and the scrub verify
// it. That they exist, with which terms, and that the history is one, is what the
// outline proves, together with the headers of this segment and the next one and with the
// last frame of this one.
func (r *recovery) trust(n int) (bool, error) {
	seg := r.segments[n]
	path, there := r.outlines[seg.base]
	if !there || seg.w.scarred || n == len(r.segments)-1 || r.log.cfg.ReadAll {
		return false, nil
	}
	o, err := r.loadOutline(path)
	if err == nil {
		err = r.fits(o, seg, r.segments[n+1])
	}
	if err == nil {
		err = r.matches(o, seg)
	}
	var no *distrustError
	if errors.As(err, &no) {
		r.log.cfg.Logger.Warn("a commit log segment is read, because its outline is not to be trusted", "path", path, "why", no.why)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	delete(r.outlines, seg.base) // those that are left are of no use
	r.scanner.take(o, seg)
	r.report.Trusted++
	return true, nil
}

// distrustError says why an outline is not taken.
type distrustError struct{ why string }

func (e *distrustError) Error() string { return e.why }

func distrusted(format string, args ...any) error {
	return &distrustError{why: fmt.Sprintf(format, args...)}
}

func (r *recovery) loadOutline(path string) (*outline, error) {
	file, err := r.log.cfg.FS.Open(path)
	if err != nil {
		return nil, distrusted("it cannot be opened: %v", err) // nothing depends on it
	}
	o, err := readOutline(file)
	return o, errors.Join(err, file.Close())
}

func readOutline(file File) (*outline, error) {
	size, err := file.Size()
	if err != nil || size > maxOutlineBytes {
		return nil, distrusted("it has %d bytes: %v", size, err)
	}
	b := make([]byte, size)
	if n, err := file.ReadAt(b, 0); n < len(b) {
		return nil, distrusted("it cannot be read: %v", err)
	}
	o, err := parseOutline(b)
	if err != nil {
		return nil, distrusted("%v", err)
	}
	return o, nil
}

// fits compares an outline with what was read before it and what the next segment says.
func (r *recovery) fits(o *outline, seg, next *segment) error {
	s := &r.scanner
	end := tip{index: next.base - 1, term: next.prevTerm, chain: next.prevChain, time: o.end.time}
	before := tip{index: seg.base - 1, term: seg.prevTerm, chain: seg.prevChain}
	at := tip{index: s.at.index, term: s.at.term, chain: s.at.chain}
	switch {
	case o.segmentID != seg.id || o.before != before:
		return distrusted("it is of another segment")
	case s.doubt || at != before:
		return distrusted("what stands before the segment does not lead to it")
	case next.broken != nil || next.prevID != seg.id:
		return distrusted("the next segment does not confirm it")
	case o.end != end || o.frames != uint64(next.prevFrames)+1:
		return distrusted("the next segment says that it ends with entry %d after %d frames, the outline says %d after %d",
			end.index, next.prevFrames, o.end.index, o.frames)
	}
	for _, p := range s.patches {
		if p.first <= o.end.index && seg.base <= p.last {
			return distrusted("%s repairs entries of the segment", p.path)
		}
	}
	return nil
}

// matches looks at the place where the segment's frames end: there must be the seal that
// says "rolled", and no frame behind it.
func (r *recovery) matches(o *outline, seg *segment) error {
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	if size < max(seg.size, o.pos) {
		return distrusted("the segment has %d bytes: it was cut off", size)
	}
	b := alignedMemory(2 * blockBytes)[:min(2*blockBytes, size-o.pos+blockBytes)]
	n, healed, err := readSure(seg.file, b, o.pos-blockBytes, true)
	if healed {
		r.log.reportHealed(seg.path, 1)
	}
	if n < len(b) {
		if isUnreadable(err) {
			return distrusted("its end cannot be read: %v", err)
		}
		return unreadableSegment(seg, shortRead(o.pos-blockBytes+int64(n), err))
	}
	g, err := parseGroupHeader(b)
	if err != nil {
		return distrusted("the segment does not end with a seal: %v", err)
	}
	if g.kind != groupSeal || g.flags != flagRolled || g.segmentID != seg.id || g.sequence != o.frames-1 || g.last != o.end.index || g.chain != o.end.chain {
		return distrusted("the segment ends with another frame: number %d at entry %d", g.sequence, g.last)
	}
	if g, err := parseGroupHeader(b[blockBytes:]); err == nil && g.segmentID == seg.id {
		return distrusted("something was written to the segment later: frame %d", g.sequence)
	}
	return nil
}

// take goes on behind a segment that was not read.
func (s *scanner) take(o *outline, seg *segment) {
	seg.w.pos, seg.w.frames, seg.w.last, seg.w.rolled = o.pos, o.frames, groupSeal, true
	seg.w.synced, seg.w.outlined = o.pos, true
	seg.index = extents{list: o.extents, closed: true}
	for _, run := range o.runs {
		s.runs = addRun(s.runs, run.First, run.Term)
	}
	s.entries += int64(o.end.index - o.before.index)
	o.end.time = max(o.end.time, s.at.time)
	s.at, seg.w.end = o.end, o.end
}

// removeOutlines deletes the outlines that no segment was taken by. Settle syncs that,
// before anything can be written to their segments.
func (r *recovery) removeOutlines() error {
	for _, base := range slices.Sorted(maps.Keys(r.outlines)) {
		path := r.outlines[base]
		if err := r.log.cfg.FS.Remove(path); err != nil {
			return fmt.Errorf("remove an outline of no use: %w", err)
		}
	}
	return nil
}

// noteOutline takes the name of an outline file.
func (r *recovery) noteOutline(name string) bool {
	base, ok := parseOutlineName(name)
	if !ok {
		return false
	}
	if r.outlines == nil {
		r.outlines = map[Index]string{}
	}
	r.outlines[base] = filepath.Join(r.log.cfg.Dir, name)
	return true
}
