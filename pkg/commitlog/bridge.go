package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// anchor is a place behind damage where the history is known again.
type anchor struct {
	pos    int64  // where the frames go on
	frames uint64 // how many stood before it
	at     tip    // index and chain of the last entry before it; its term, if end
	end    bool   // nothing goes on: another segment does, or memory says so
}

// reached says whether the frames read so far are all there were.
func (a *anchor) reached(seg *segment, at tip) bool {
	return a != nil && at.index == a.at.index && at.chain == a.at.chain && at.term == a.at.term && seg.w.frames >= a.frames
}

// older says whether the place was known before all the frames read so far were
// written: the segment that says so was begun before them.
func (a *anchor) older(seg *segment) bool { return a != nil && a.end && a.frames < seg.w.frames }

// bridges says whether damage may be gone around: it becomes a gap, which a
// patch fills or which stays faulty.
func (s *scanner) bridges() bool { return s.tolerant || len(s.patches) > 0 }

// anchor finds where the history goes on behind the place where the frames of
// seg end. end is what is known about the end of the segment; without it only
// a frame which a later one proves durable, with all before it, is an anchor.
func (s *scanner) anchor(seg *segment, end *anchor) *anchor {
	var found *anchor
	proven := int64(0)
	for pos := seg.w.pos + blockBytes; pos+groupHeaderBytes <= s.size && s.err == nil; pos += blockBytes {
		g, err := parseGroupHeader(s.bytes(pos, groupHeaderBytes))
		if err != nil || g.segmentID != seg.id || g.sequence <= seg.w.frames {
			continue
		}
		if found == nil {
			found = &anchor{pos: pos, frames: g.sequence, at: tip{index: g.first - 1, chain: g.chain}}
		}
		proven = max(proven, int64(g.durableBlocks)*blockBytes)
		if end != nil || proven >= found.pos {
			return found
		}
	}
	if s.err != nil {
		return nil
	}
	return end
}

// bridge goes from the place where the frames of seg end to the anchor, and
// records as gaps what is missing in between.
//
// One lost frame is what the indexes on both sides make it: entries, or a
// truncation, or a seal. Of several that are lost, one may have been a truncation
// of entries that are kept here, and others written in their place. That is told
// by the terms: an entry of term T stands behind everything that was in the log
// of T's leader, so if what follows the gap has the term of what stands before
// it, what stands before it is not stale (Raft's log matching). Where the terms
// differ, neither that nor the terms within are known, and the log is refused.
func (s *scanner) bridge(seg *segment, a anchor, why error) error {
	d := damage{path: seg.path, pos: seg.w.pos, why: why.Error()}
	seg.w.scarred = true
	seg.index.closed = true // no read may run over the damage
	err := s.mayEnd(seg, a)
	switch {
	case err != nil:
	case a.frames <= seg.w.frames && s.doubt && s.at.index == a.at.index:
		return s.settleTerm(a.at.term)
	case a.frames <= seg.w.frames:
		err = fmt.Errorf("it had %d frames, %d are there", a.frames, seg.w.frames)
	case a.at.index < s.at.index:
		err = s.cutTo(seg, a.at)
	case a.at.index == s.at.index:
		err = s.joins(a.at)
	case a.frames-seg.w.frames == 1:
		err = s.salvage(seg, a, d)
	default:
		err = s.lose(gap{first: s.at.index + 1, last: a.at.index, before: s.at.chain, after: a.at.chain, damage: d}, s.at.term, false)
	}
	if err != nil {
		return fmt.Errorf("%w; what follows at position %d cannot be joined to what stands before: %w", why, a.pos, err)
	}
	seg.index.closed = true
	seg.w.pos, seg.w.frames = a.pos, a.frames
	s.at.index, s.at.chain = a.at.index, a.at.chain
	if a.end {
		seg.w.pos, seg.w.frames = alignUp(a.pos), a.frames+1 // it may have been sealed
		seg.w.synced, seg.w.last, seg.w.rolled = seg.w.pos, groupSeal, true
		return s.settleTerm(a.at.term)
	}
	return nil
}

// mayEnd refuses to go around the end of a segment, while the log is opened, if some of it
// cannot be read: a truncation may stand there that a crash has cut short. Nothing is missing if it is not
// finished now; but if it can be read again one day, it would condemn what was
// written in the meantime.
func (s *scanner) mayEnd(seg *segment, a anchor) error {
	if !a.end || s.known != nil {
		return nil
	}
	if err := s.unreadIn(seg.w.pos, s.size-seg.w.pos); err != nil {
		return fmt.Errorf("no frame that can be read stands behind it, so a truncation may: %w", err)
	}
	return nil
}

func (s *scanner) joins(at tip) error {
	if s.at.chain != at.chain {
		return fmt.Errorf("entry %d has chain %08x, what follows says %08x", at.index, s.at.chain, at.chain)
	}
	return nil
}

// cutTo drops the entries behind `at`: the frame that said so is lost.
func (s *scanner) cutTo(seg *segment, at tip) error {
	if at.index < seg.base-1 {
		return fmt.Errorf("a truncation from entry %d", at.index+1)
	}
	was, err := s.tipAt(seg, at.index)
	if err != nil {
		return err
	}
	if was.chain != at.chain {
		return fmt.Errorf("entry %d has chain %08x, what follows says %08x", at.index, was.chain, at.chain)
	}
	s.dropBehind(seg, was)
	return nil
}

// lose records a gap, cut into what repair files hold of it and what nobody does.
// term is that of its entries, if sure; else the least that they can have, which
// the entry behind the gap has to confirm.
func (s *scanner) lose(g gap, term Term, sure bool) error {
	s.entries += int64(g.last-g.first) + 1
	for _, piece := range g.pieces(s.patches) {
		var err error
		if piece.patch != nil {
			err = s.fill(piece)
		} else {
			err = s.leave(piece, max(term, s.at.term), sure)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leave records a faulty piece of a gap.
func (s *scanner) leave(g gap, term Term, sure bool) error {
	if !s.tolerant {
		return &CorruptionError{Path: g.path, Position: g.pos, Index: g.first, Why: g.why}
	}
	term = max(term, 1)
	if s.known != nil {
		for i := g.first; i <= g.last; i++ {
			term = s.known(i)
			s.runs = addRun(s.runs, i, term)
		}
		sure = true
	}
	s.runs = addRun(s.runs, g.first, term)
	s.gaps = append(s.gaps, g)
	s.at.index, s.at.chain, s.at.term = g.last, g.after, term
	s.doubt = s.doubt || !sure
	return nil
}

// fill records a piece of a gap that a repair file holds.
func (s *scanner) fill(g gap) error {
	p := g.patch
	runs := runsFrom(runsBefore(p.runs, g.last+1), g.first, g.last)
	if err := s.settleTerm(runs[0].Term); err != nil {
		return err
	}
	s.gaps = append(s.gaps, g)
	for _, run := range runs {
		s.runs = addRun(s.runs, run.First, run.Term)
		s.at.term = run.Term
	}
	s.at.index, s.at.chain, s.at.time = g.last, g.after, max(s.at.time, p.time)
	return nil
}

// errDoubt means that the terms of damaged entries cannot be known.
var errDoubt = errors.New("the term changes within the damage, so that nobody can say here which entry has which")

// settleTerm takes the term of a known entry behind a gap. The error is final.
func (s *scanner) settleTerm(term Term) error {
	if s.doubt && term != s.at.term {
		s.refused = fmt.Errorf("%w: %d before it, %d behind it", errDoubt, s.at.term, term)
		return s.refused
	}
	s.doubt = false
	return nil
}

// salvage takes from one damaged frame the entries that are good: they stand
// from behind the frame's header to the anchor. A damaged body leaves its header
// to say what it was; where a header is damaged, the next one that is good, and
// leads to the anchor, is looked for.
func (s *scanner) salvage(seg *segment, a anchor, d damage) error {
	begin := seg.w.pos + groupHeaderBytes
	buf := s.bytes(begin, a.pos-begin)
	if s.err != nil {
		return s.err
	}
	for at := 0; s.at.index < a.at.index; {
		d.pos = begin + int64(at)
		h, body, rest, err := NextEntry(buf[at:])
		if err == nil {
			err = s.at.follows(h, buf[at:])
		}
		if err != nil {
			next, ok := findEntry(buf[at:], s.at.index, a.at)
			if !ok {
				return s.lose(gap{first: s.at.index + 1, last: a.at.index, before: s.at.chain, after: a.at.chain, damage: d}, s.at.term, false)
			}
			at += next
			h, err = ParseHeader(buf[at:])
			assert(err == nil, "entry header found: %v", err)
			g := gap{first: s.at.index + 1, last: h.Index - 1, before: s.at.chain, after: prevChainOf(h.ChainCRC, buf[at:]), damage: d}
			if err := s.lose(g, s.at.term, false); err != nil {
				return err
			}
			seg.index.closed = true
			continue
		}
		if err := s.keep(seg, h, body, d); err != nil {
			return err
		}
		at = len(buf) - len(rest)
	}
	return s.joins(a.at)
}

// keep takes an entry whose header is good. Its body is, or it is a gap.
func (s *scanner) keep(seg *segment, h Header, body []byte, d damage) error {
	if err := s.settleTerm(h.Term); err != nil {
		return err
	}
	err := s.unreadIn(d.pos, HeaderBytes+int64(h.BodyLen))
	if err == nil {
		err = checkBody(h, body)
	}
	if err != nil {
		d.why = err.Error()
		g := gap{first: h.Index, last: h.Index, before: s.at.chain, after: h.ChainCRC, damage: d}
		if err := s.lose(g, h.Term, true); err != nil {
			return err
		}
		seg.index.closed = true
	} else {
		seg.index.add(extent{first: h.Index, last: h.Index, pos: d.pos, end: d.pos + HeaderBytes + int64(h.BodyLen)})
		s.entries++
	}
	s.runs = addRun(s.runs, h.Index, h.Term)
	s.at.advance(h)
	return nil
}

// findEntry looks for the first entry header in b behind entry `before` from
// which the headers lead to the anchor. A body may hold what looks like one: it
// does not lead there, because nobody can know the chain beforehand.
func findEntry(b []byte, before Index, a tip) (int, bool) {
	for at := 0; at+HeaderBytes <= len(b); at++ {
		if binary.LittleEndian.Uint16(b[at:]) != entryMagic {
			continue
		}
		h, err := ParseHeader(b[at:])
		if err == nil && h.Index > before+1 && h.Index <= a.index && leadsTo(b[at:], a) {
			return at, true
		}
	}
	return 0, false
}

func leadsTo(b []byte, a tip) bool {
	var at tip
	for first := true; first || at.index < a.index; first = false {
		h, _, rest, err := NextEntry(b)
		if err != nil || !first && at.follows(h, b) != nil {
			return false
		}
		at.advance(h)
		b = rest
	}
	return at.index == a.index && at.chain == a.chain
}
