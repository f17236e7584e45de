package commitlog

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// group is what one Sync writes.
type group struct {
	pieces []piece
	bytes  int64 // of the entries
	before tip   // the entry before the first
	end    tip   // the last entry
}

func (g *group) first() Index { return g.before.index + 1 }

// Sync writes everything that was appended (at most MaxGroupBytes, then Waiting
// is signalled again) as one group and makes it durable with one fdatasync.
// What is appended meanwhile is the next group. It returns how far the log is
// durable now, also if there was nothing to do. One goroutine calls it.
//
// A write or sync error is final: it is an ErrFailed, and so is the answer of
// every later call. Nothing is retried, because after a failed fsync the page
// cache no longer tells what the disk has. ErrNoSpace is not of that kind: the
// group needs the next segment, there is no room for one, and nothing was begun.
func (l *Log) Sync() (Persisted, error) {
	l.acquire()
	defer l.release()
	return l.syncGroup()
}

// syncGroup is Sync for the holder of the token.
func (l *Log) syncGroup() (Persisted, error) {
	g, err := l.gather(l.cfg.MaxGroupBytes)
	if err != nil {
		return Persisted{}, err
	}
	if len(g.pieces) == 0 {
		return l.persisted(), nil
	}
	if l.w.active.isFull(&g) {
		err = l.reserveNext()
		if errors.Is(err, ErrNoSpace) { // what still fits need not wait for space
			var part group
			if part, err = l.gatherFitting(err); err == nil {
				g = part
			}
		}
		if err != nil {
			return Persisted{}, err
		}
	}
	if l.w.active.isFull(&g) {
		if err := l.roll(g.before); err != nil {
			return Persisted{}, l.fail(err)
		}
	}
	seg, pos := l.w.active, l.w.active.w.pos
	if err := l.writeGroup(seg, &g); err != nil {
		return Persisted{}, l.fail(err)
	}
	return l.publish(seg, pos, &g), nil
}

// gather takes what the next group is made of, one entry or up to maxBytes.
func (l *Log) gather(maxBytes int64) (group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return group{}, err
	}
	g := group{before: l.mu.durable}
	g.pieces, g.bytes = l.mu.tail.gather(g.first(), maxBytes)
	if n := len(g.pieces); n > 0 {
		g.end = l.mu.tail.tipAt(g.pieces[n-1].last)
	}
	return g, nil
}

// frameEnd is where the segment would end with a frame of that payload and a seal.
func (s *segment) frameEnd(payload int64) int64 {
	return s.w.pos + alignUp(groupHeaderBytes+payload) + blockBytes
}

// isFull says that a group must go to the next segment. One that has no entry
// of its own takes any group: its successor would have the same name.
func (s *segment) isFull(g *group) bool {
	return s.frameEnd(g.bytes) > s.size && g.first() > s.base
}

// room is the largest payload of a frame that the segment still takes.
func (s *segment) room() int64 { return s.size - s.w.pos - blockBytes - groupHeaderBytes }

// writeGroup writes and syncs one group of entries at the segment's end.
func (l *Log) writeGroup(seg *segment, g *group) error {
	var header [groupHeaderBytes]byte
	h := l.frameHeader(seg, groupEntries)
	h.first, h.last, h.chain = g.first(), g.end.index, g.before.chain
	h.payloadBytes = uint32(g.bytes)
	h.encode(header[:])

	buffers := make([][]byte, 0, len(g.pieces)+2)
	buffers = append(buffers, header[:])
	for _, p := range g.pieces {
		buffers = append(buffers, p.bytes)
	}
	padding := h.frameBytes() - groupHeaderBytes - g.bytes
	buffers = append(buffers, zeros[:padding])

	began := time.Now()
	if err := l.writeAt(seg, seg.w.pos, buffers...); err != nil {
		return err
	}
	l.metrics.write.Observe(time.Since(began).Seconds())
	seg.wrote(h)
	l.metrics.wroteGroup(h, int(g.end.index-g.before.index), padding)
	if l.cfg.PageCache {
		return nil
	}
	return l.sync(seg, g.end.index)
}

// frameHeader begins the header of the next frame of a segment.
func (l *Log) frameHeader(seg *segment, kind groupKind) groupHeader {
	blocks := seg.w.synced / blockBytes
	assert(blocks <= math.MaxUint32, "segment %s has %d blocks", seg.path, blocks)
	return groupHeader{
		kind:          kind,
		segmentID:     seg.id,
		sequence:      seg.w.frames,
		durableEnd:    l.w.synced,
		durableBlocks: uint32(blocks),
	}
}

// wrote moves the segment's end behind a frame.
func (s *segment) wrote(h groupHeader) {
	s.w.pos += h.frameBytes()
	s.w.frames++
	s.w.last = h.kind
	s.w.rolled = h.flags&flagRolled != 0
}

// writeMark writes and syncs a frame without entries: the log then ends at `at`.
func (l *Log) writeMark(seg *segment, kind groupKind, flags uint16, at tip) error {
	block := make([]byte, blockBytes)
	h := l.frameHeader(seg, kind)
	h.flags = flags
	h.first, h.last, h.chain = at.index+1, at.index, at.chain
	h.durableEnd = min(h.durableEnd, at.index)
	h.encode(block)
	if err := l.writeAt(seg, seg.w.pos, block); err != nil {
		return err
	}
	seg.wrote(h)
	l.metrics.written.Add(blockBytes)
	l.metrics.size.Add(blockBytes)
	return l.sync(seg, at.index)
}

func (l *Log) writeAt(seg *segment, pos int64, buffers ...[]byte) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	if err := seg.file.WriteAt(pos, buffers...); err != nil {
		return fmt.Errorf("write %s at %d: %w", seg.path, pos, err)
	}
	return nil
}

// sync makes all of a segment durable, with it the entries up to end.
func (l *Log) sync(seg *segment, end Index) error {
	if l.stopped.Load() {
		return ErrClosed
	}
	began := time.Now()
	if err := seg.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", seg.path, err)
	}
	l.metrics.fsync.Observe(time.Since(began).Seconds())
	seg.w.synced = seg.w.pos
	l.w.synced = end
	return nil
}

// publish makes a written group known: to the index, to readers of Durable.
func (l *Log) publish(seg *segment, pos int64, g *group) Persisted {
	l.mu.Lock()
	at := pos + groupHeaderBytes
	for _, p := range g.pieces {
		end := at + int64(len(p.bytes))
		seg.index.add(extent{first: p.first, last: p.last, pos: at, end: end})
		at = end
	}
	l.mu.durable = g.end
	l.mu.tail.evict(g.end.index)
	p := l.persistedLocked()
	more := l.mu.end.index > g.end.index
	need := seg.w.pos > seg.size/2 && l.mu.prepared == nil && !l.mu.preparing
	l.mu.Unlock()
	if more {
		signal(l.waiting)
	}
	if need {
		signal(l.need)
	}
	return p
}

func (l *Log) persisted() Persisted {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.persistedLocked()
}

func (l *Log) persistedLocked() Persisted {
	return Persisted{Index: l.mu.durable.index, Term: l.mu.durable.term, Epoch: l.mu.epoch}
}

var zeros [blockBytes]byte
