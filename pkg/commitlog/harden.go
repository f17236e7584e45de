package commitlog

import (
	"errors"
	"fmt"
)

// harden makes what was read the disk's. Syncing is not enough: after an
// fdatasync that failed in an earlier process, Linux keeps the pages, readable
// and marked clean, so that the next fdatasync succeeds without writing them.
// All frames that no later one proves durable are therefore written once more,
// with the same bytes. That is the last frame; in page-cache mode it can be
// all since the segment began.
func (r *recovery) harden() error {
	last := len(r.segments) - 1
	// A roll syncs its seal before the first frame of the successor.
	if last > 0 && r.segments[last].w.frames == 0 {
		if err := r.rewrite(r.segments[last-1]); err != nil {
			return err
		}
	}
	return r.rewrite(r.segments[last])
}

// rewrite puts the unproven frames of a segment down again and syncs it.
func (r *recovery) rewrite(seg *segment) error {
	size, err := seg.file.Size()
	if err != nil {
		return err
	}
	r.scanner.reset(seg.file, size)
	for pos := seg.w.synced; pos < seg.w.pos; {
		frame, err := r.scanner.sameFrame(seg, pos)
		if err != nil {
			return fmt.Errorf("read %s at %d for the second time: %w", seg.path, pos, err)
		}
		end := alignUp(pos + int64(len(frame)))
		padding := zeros[:end-pos-int64(len(frame))] // the file may end in it
		if err := r.log.writeAt(seg, pos, frame, padding); err != nil {
			return err
		}
		pos = end
	}
	if err := seg.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", seg.path, err)
	}
	seg.w.synced = seg.w.pos
	return nil
}

// sameFrame returns the frame at pos, without its padding, which the scan has
// verified. The second reading need not give what the first one gave: a page
// that was never written may have been dropped meanwhile.
func (s *scanner) sameFrame(seg *segment, pos int64) ([]byte, error) {
	g, err := parseGroupHeader(s.bytes(pos, groupHeaderBytes))
	if err != nil {
		return nil, errors.Join(s.err, err)
	}
	frame := s.bytes(pos, groupHeaderBytes+int64(g.payloadBytes))
	switch {
	case s.err != nil:
		return nil, s.err
	case g.segmentID != seg.id || pos+g.frameBytes() > seg.w.pos || len(frame) < groupHeaderBytes+int(g.payloadBytes):
		return nil, fmt.Errorf("group frame of segment %016x with %d bytes", g.segmentID, g.frameBytes())
	case g.kind != groupEntries:
		return frame, nil
	}
	sum, err := Verify(frame[groupHeaderBytes:])
	if err != nil {
		return nil, err
	}
	if sum.First != g.first || sum.Last != g.last || sum.PrevChain != g.chain {
		return nil, fmt.Errorf("group frame of entries %d to %d holds %d to %d", g.first, g.last, sum.First, sum.Last)
	}
	return frame, nil
}
