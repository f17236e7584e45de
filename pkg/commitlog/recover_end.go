package commitlog

import (
	"bytes"
	"fmt"
	"slices"
)

// tornRange is bytes after the last frame of a segment that were never durable, or that
// hold nothing which is needed.
type tornRange struct {
	seg *segment
	end int64
}

// wipe zeroes a torn tail. Without that, what is left of it could one day stand
// behind a shorter group and be taken for a frame that had been there.
func (r *recovery) wipe(t tornRange) error {
	torn := t.end - t.seg.w.pos
	r.log.metrics.corruptions.WithLabelValues(corruptTornTail).Inc()
	r.log.cfg.Logger.Warn("commit log has a torn tail: dropped, it was never acknowledged",
		"path", t.seg.path, "position", t.seg.w.pos, "bytes", torn)
	r.report.TornBytes += torn
	r.report.TornPath = t.seg.path
	return t.clear()
}

// clear zeroes the range, durably.
func (t tornRange) clear() error {
	buf := make([]byte, min(t.end-t.seg.w.pos, maxReadBytes))
	for pos := t.seg.w.pos; pos < t.end; pos += int64(len(buf)) {
		if err := t.seg.file.WriteAt(pos, buf[:min(int64(len(buf)), t.end-pos)]); err != nil {
			return err
		}
	}
	return t.seg.file.Sync()
}

// clearEnds zeroes what cannot be read right behind the frames of a sealed segment. All of its
// entries stand before it, so it can be no more than the seal, which is written anew, or a
// truncation that a crash has cut short before anybody was told of it. Whether it was one is
// decided here, for good: if it could be read again one day, it would condemn the
// entries that have come since.
func (r *recovery) clearEnds() error {
	for _, t := range r.unclear {
		r.log.cfg.Logger.Error("the end of a commit log segment cannot be read: it holds no entry and is written anew",
			"path", t.seg.path, "position", t.seg.w.pos, "bytes", t.end-t.seg.w.pos)
		if err := t.clear(); err != nil {
			return fmt.Errorf("write the end of %s anew: %w", t.seg.path, err)
		}
		w := window{file: t.seg.file, size: t.end}
		got := w.bytes(t.seg.w.pos, t.end-t.seg.w.pos)
		if w.err != nil {
			return fmt.Errorf("read the end of %s, which was written anew: %w", t.seg.path, w.err)
		}
		if !bytes.Equal(got, make([]byte, len(got))) {
			return fmt.Errorf("the end of %s was written anew, and other bytes stand there", t.seg.path)
		}
	}
	return nil
}

// isUnclear says whether the end of a segment was written anew.
func (r *recovery) isUnclear(seg *segment) bool {
	return slices.ContainsFunc(r.unclear, func(t tornRange) bool { return t.seg == seg })
}
