package commitlog

import (
	"bytes"
	"errors"
	"fmt"
)

// scanner follows the history through the frames of one segment after another.
type scanner struct {
	window
	at      tip // the last entry so far
	runs    []Run
	entries int64

	// What damage needs; bridge.go.
	tolerant bool             // damage becomes gaps
	patches  []*patch         // to fill them
	known    func(Index) Term // terms, where memory knows them; else nil
	gaps     gaps
	doubt    bool  // the term of `at` is a guess that the next entry must confirm
	refused  error // why what was found cannot be right
}

// segment reads the frames of seg until the first place that holds none and
// returns what is wrong with that place. Damage before it is gone around, where
// that may be; end is what is known of the segment's end, if anything is.
// I/O errors are in window.err, refusals in refused.
func (s *scanner) segment(seg *segment, size int64, end *anchor) (why error) {
	s.reset(seg.file, size)
	seg.w.pos, seg.w.synced = blockBytes, blockBytes
	for {
		for why = nil; why == nil; {
			why = s.frame(seg)
		}
		if s.err != nil || s.refused != nil || !s.bridges() {
			return why
		}
		if end.reached(seg, s.at) {
			s.doubt = false
			return why
		}
		if seg.w.last == groupTruncate && end.older(seg) {
			return why // a crash cut a truncation short: what follows is condemned
		}
		a := s.anchor(seg, end)
		if a == nil {
			return why
		}
		if err := s.bridge(seg, *a, why); err != nil {
			s.refused = err
			return err
		}
		if a.end {
			return why
		}
	}
}

// frame reads one frame and goes behind it. On an error nothing has changed.
func (s *scanner) frame(seg *segment) error {
	g, err := parseGroupHeader(s.bytes(seg.w.pos, groupHeaderBytes))
	if unread := s.unreadIn(seg.w.pos, groupHeaderBytes); unread != nil {
		return unread
	}
	if err != nil {
		return err
	}
	switch {
	case g.segmentID != seg.id:
		return fmt.Errorf("group frame is of segment %016x, not of %016x", g.segmentID, seg.id)
	case g.sequence != seg.w.frames:
		return fmt.Errorf("group frame has number %d, expected %d", g.sequence, seg.w.frames)
	}
	switch g.kind {
	case groupEntries:
		err = s.group(seg, g)
	case groupTruncate:
		err = s.truncate(seg, g)
	case groupSeal:
		if g.last != s.at.index || g.chain != s.at.chain {
			err = fmt.Errorf("seal of entry %d with chain %08x", g.last, g.chain)
		}
	}
	if err != nil {
		return err
	}
	// What the frame proves stands before it. It was proven whether or not the
	// frame itself has reached the disk.
	seg.w.synced = max(seg.w.synced, min(int64(g.durableBlocks)*blockBytes, seg.w.pos))
	seg.wrote(g)
	return nil
}

// group verifies the entries of a frame; it counts as a whole or not at all.
func (s *scanner) group(seg *segment, g groupHeader) error {
	if g.first != s.at.index+1 || g.chain != s.at.chain {
		return fmt.Errorf("group frame begins at entry %d with chain %08x", g.first, g.chain)
	}
	pos := seg.w.pos + groupHeaderBytes
	payload := s.bytes(pos, int64(g.payloadBytes))
	if len(payload) < int(g.payloadBytes) {
		return fmt.Errorf("group frame of %d bytes is cut off after %d", g.payloadBytes, len(payload))
	}
	if err := s.unreadIn(pos, int64(g.payloadBytes)); err != nil {
		return err
	}
	if err := verifyGroup(s.at, g, payload); err != nil {
		return err
	}
	if h, err := ParseHeader(payload); err == nil && s.settleTerm(h.Term) != nil {
		return s.refused
	}
	for rest := payload; len(rest) > 0; {
		h, _, after, err := NextEntry(rest)
		assert(err == nil, "verified entry: %v", err)
		n := int64(len(rest) - len(after))
		seg.index.add(extent{first: h.Index, last: h.Index, pos: pos, end: pos + n})
		s.runs = addRun(s.runs, h.Index, h.Term)
		s.at.advance(h)
		s.entries++
		pos, rest = pos+n, after
	}
	return nil
}

func verifyGroup(at tip, g groupHeader, payload []byte) error {
	var err error
	for rest := payload; len(rest) > 0; {
		if _, rest, err = at.next(rest); err != nil {
			return err
		}
	}
	if at.index != g.last {
		return fmt.Errorf("group frame ends with entry %d, not with %d", at.index, g.last)
	}
	return nil
}

func (s *scanner) truncate(seg *segment, g groupHeader) error {
	if g.first < seg.base || g.first > s.at.index {
		return fmt.Errorf("truncation from entry %d", g.first)
	}
	at, err := s.tipAt(seg, g.last)
	if errors.Is(err, errWithinGap) { // the frame says what was there, and it is whole
		at, err = tip{index: g.last, term: termAt(s.runs, g.last), chain: g.chain, time: s.at.time}, nil
	}
	if err != nil {
		return err
	}
	if g.chain != at.chain {
		return fmt.Errorf("truncation from entry %d with chain %08x, the log has %08x", g.first, g.chain, at.chain)
	}
	s.dropBehind(seg, at)
	return nil
}

// tipAt is what the history's end was at entry i, which is in seg or the one
// before it.
func (s *scanner) tipAt(seg *segment, i Index) (tip, error) {
	if i < seg.base {
		return tip{index: i, term: seg.prevTerm, chain: seg.prevChain, time: s.at.time}, nil
	}
	if g := s.gaps.at(i); g != nil {
		return s.tipInGap(g, i)
	}
	plan := readPlan{path: seg.path, file: seg.file, extents: seg.index.from(i)[:1], from: i, to: i}
	f, err := plan.read()
	if isUnreadable(err) && s.err == nil {
		s.err = err // it has been read a moment ago: nothing follows from that
	}
	if err != nil {
		return tip{}, err
	}
	h, err := ParseHeader(f.Bytes)
	assert(err == nil, "verified entry: %v", err)
	return tip{index: i, term: h.Term, chain: h.ChainCRC, time: s.at.time}, nil
}

// tipInGap is tipAt for an entry that the segments have lost.
func (s *scanner) tipInGap(g *gap, i Index) (tip, error) {
	at := tip{index: i, term: termAt(s.runs, i), chain: g.after, time: s.at.time}
	switch {
	case g.patch != nil:
		at.chain = g.patch.chains[i-g.patch.first+1]
	case i < g.last:
		return tip{}, fmt.Errorf("truncation from entry %d: %w", i+1, errWithinGap)
	}
	return at, nil
}

// errWithinGap means that the chain at an entry is not known here: it is lost.
var errWithinGap = errors.New("within what is damaged")

// dropBehind forgets the entries behind `at`.
func (s *scanner) dropBehind(seg *segment, at tip) {
	s.entries -= int64(s.at.index - at.index)
	s.at, s.doubt = at, s.doubts(at.index)
	s.runs = runsBefore(s.runs, at.index+1)
	s.gaps = s.gaps.truncate(at)
	seg.index.truncate(at.index + 1)
}

// doubts says whether the term of entry i is a guess as that of the last one is.
func (s *scanner) doubts(i Index) bool {
	for _, g := range s.gaps.faulty() {
		if g.first <= i && i <= g.last && g.last == s.at.index {
			return s.doubt
		}
	}
	return false
}

// rest looks at what follows the frames of a segment: how far it holds anything
// but zeros, and the position of a later frame which proves that what stands at
// the end of the frames had been durable (0: none does).
func (s *scanner) rest(seg *segment) (end, proof int64) {
	end = seg.w.pos
	for pos := seg.w.pos; pos < s.size && s.err == nil; pos += blockBytes {
		block := s.bytes(pos, blockBytes)
		if bytes.Equal(block, zeros[:len(block)]) {
			continue
		}
		end = pos + int64(len(block))
		g, err := parseGroupHeader(block)
		if err == nil && proof == 0 && g.segmentID == seg.id && g.sequence > seg.w.frames &&
			int64(g.durableBlocks)*blockBytes > seg.w.pos {
			proof = pos
		}
	}
	return end, proof
}
