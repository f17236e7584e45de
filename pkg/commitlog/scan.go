package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// window reads a file from front to back in large steps. Its memory is bounded
// by the largest single request and 1 MiB.
type window struct {
	file File
	size int64
	base int64 // position of buf
	buf  []byte
	err  error // the first I/O error; it is not damage and ends the scan
}

func (w *window) reset(file File, size int64) {
	w.file, w.size, w.base, w.buf = file, size, 0, w.buf[:0]
}

// bytes returns the n bytes at pos, fewer where the file ends. They are valid
// until the next call.
func (w *window) bytes(pos, n int64) []byte {
	n = max(min(n, w.size-pos), 0)
	if pos < w.base || pos+n > w.base+int64(len(w.buf)) {
		w.fill(pos, min(max(n, maxReadBytes), max(w.size-pos, 0)))
	}
	if w.err != nil {
		return nil
	}
	return w.buf[pos-w.base:][:n]
}

func (w *window) fill(pos, n int64) {
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.base, w.buf = pos, w.buf[:n]
	if got, err := w.file.ReadAt(w.buf, pos); int64(got) < n && w.err == nil {
		w.err = errors.Join(io.ErrUnexpectedEOF, err)
	}
}

// scanner follows the history through the frames of one segment after another.
type scanner struct {
	window
	at      tip // the last entry so far
	runs    []Run
	entries int64
}

// segment reads the frames of seg until the first place that holds none and
// returns what is wrong with that place. I/O errors are in window.err.
func (s *scanner) segment(seg *segment, size int64) (why error) {
	s.reset(seg.file, size)
	seg.w.pos, seg.w.synced = blockBytes, blockBytes
	for why == nil {
		why = s.frame(seg)
	}
	return why
}

// frame reads one frame and goes behind it. On an error nothing has changed.
func (s *scanner) frame(seg *segment) error {
	g, err := parseGroupHeader(s.bytes(seg.w.pos, groupHeaderBytes))
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
	if err := verifyGroup(s.at, g, payload); err != nil {
		return err
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
	at := tip{index: g.last, term: seg.prevTerm, chain: seg.prevChain, time: s.at.time}
	if g.first > seg.base {
		plan := readPlan{path: seg.path, file: seg.file, extents: seg.index.from(g.last)[:1], from: g.last, to: g.last}
		f, err := plan.read()
		if err != nil {
			return err
		}
		h, err := ParseHeader(f.Bytes)
		assert(err == nil, "verified entry: %v", err)
		at.term, at.chain = h.Term, h.ChainCRC
	}
	if g.chain != at.chain {
		return fmt.Errorf("truncation from entry %d with chain %08x, the log has %08x", g.first, g.chain, at.chain)
	}
	s.entries -= int64(s.at.index - g.last)
	s.at = at
	s.runs = runsBefore(s.runs, g.first)
	seg.index.truncate(g.first)
	return nil
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
