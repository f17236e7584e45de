package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
)

// preparedSegment is a file with its space reserved that has no place in the
// log yet. Open deletes those that a crash left.
type preparedSegment struct {
	id   uint64 // also in the file's name, so that no two logs ever share one
	path string
	file File

	zeroed int64 // how far ZeroAhead has come; owned by the holder of the token
}

// PrepareSegment makes the next segment's file ahead of need, so that no Sync
// waits for it. A background goroutine calls it after NeedSegment. Its error is
// not final: the next Sync that needs the file tries again, and there it is.
func (l *Log) PrepareSegment() error {
	l.mu.Lock()
	err := l.usableLocked()
	idle := l.mu.prepared == nil && !l.mu.preparing
	if err == nil && idle {
		l.mu.preparing = true
	}
	l.mu.Unlock()
	if err != nil || !idle {
		return err
	}
	p, err := l.prepare()
	l.mu.Lock()
	l.mu.preparing = false
	closed, surplus := l.mu.closed, l.mu.prepared != nil // a Sync that could not wait made one
	if err == nil && !closed && !surplus {
		l.mu.prepared = p
	}
	l.mu.Unlock()
	switch {
	case err == nil && closed:
		return errors.Join(ErrClosed, p.file.Close())
	case err == nil && surplus:
		return l.discard(p)
	}
	return err
}

// discard deletes a prepared file that is not needed.
func (l *Log) discard(p *preparedSegment) error {
	return errors.Join(p.file.Close(), l.cfg.FS.Remove(p.path))
}

func (l *Log) prepare() (*preparedSegment, error) {
	id := l.cfg.SegmentID()
	name := fmt.Sprintf("%s%016x%s", preparedPrefix, id, preparedSuffix)
	p := &preparedSegment{id: id, path: filepath.Join(l.cfg.Dir, name)}
	err := l.mayGrow(l.cfg.SegmentBytes)
	if err == nil {
		p.file, err = l.cfg.FS.Create(p.path)
	}
	if err != nil {
		return nil, fmt.Errorf("create a segment: %w", ofSpace(err))
	}
	if err = p.file.Preallocate(l.cfg.SegmentBytes); err == nil {
		err = p.file.Sync()
	}
	if err != nil {
		// The file may have taken the last space: give it back, as far as that works.
		return nil, errors.Join(fmt.Errorf("reserve %d bytes for a segment: %w", l.cfg.SegmentBytes, ofSpace(err)),
			p.file.Close(), l.cfg.FS.Remove(p.path))
	}
	return p, nil
}

// takePrepared returns the prepared file, or makes one now.
func (l *Log) takePrepared() (*preparedSegment, error) {
	l.mu.Lock()
	p := l.mu.prepared
	l.mu.prepared = nil
	l.mu.Unlock()
	if p != nil {
		return p, nil
	}
	return l.prepare()
}

// addSegment makes the segment that begins behind `at` and makes it durable,
// header first, then name: a segment that has its name has its header.
func (l *Log) addSegment(at tip, prev *segment) (*segment, error) {
	p, err := l.takePrepared()
	if err != nil {
		return nil, err
	}
	seg := &segment{path: l.segmentPath(at.index + 1), file: p.file}
	seg.segmentHeader = segmentHeader{
		id:        p.id,
		base:      at.index + 1,
		prevTerm:  at.term,
		prevChain: at.chain,
		size:      l.cfg.SegmentBytes,
		identity:  l.cfg.identity(),
	}
	if prev != nil {
		if prev.id == seg.id {
			return nil, fmt.Errorf("SegmentID returned %016x twice", seg.id)
		}
		seg.prevID, seg.prevFrames = prev.id, uint32(prev.w.frames)
	}
	if err := l.writeAt(seg, 0, seg.encode()); err != nil {
		return nil, err
	}
	if err := seg.file.Sync(); err != nil {
		return nil, err
	}
	if err := l.cfg.FS.Rename(p.path, seg.path); err != nil {
		return nil, err
	}
	seg.w.pos, seg.w.synced, seg.w.zeroed = blockBytes, blockBytes, p.zeroed
	return seg, l.cfg.FS.SyncDir(l.cfg.Dir)
}

// roll goes on to the next segment; `at` is the last entry of the old one. The
// old one gets its seal only when the new one is durable, so that a seal which
// says "rolled" proves that there was a successor.
func (l *Log) roll(at tip) error {
	old := l.w.active
	if old.w.synced < old.w.pos { // in page-cache mode
		if err := l.sync(old, at.index); err != nil {
			return err
		}
	}
	seg, err := l.addSegment(at, old)
	if err != nil {
		return fmt.Errorf("begin the segment at entry %d: %w", at.index+1, err)
	}
	if err := l.writeMark(old, groupSeal, flagRolled, at); err != nil {
		return fmt.Errorf("seal %s: %w", old.path, err)
	}
	old.w.end, l.w.active = at, seg
	l.mu.Lock()
	l.mu.segments = append(l.mu.segments, seg)
	segments := l.mu.segments
	l.mu.Unlock()
	l.metrics.measure(segments)
	signal(l.needOutlines)
	l.cfg.Logger.Info("commit log segment begun", "path", seg.path, "index", seg.base)
	return nil
}
