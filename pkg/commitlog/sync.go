package commitlog

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// group is what one Sync writes: a frame or several, in order.
type group struct {
	parts  []part
	before tip       // the entry before the first
	end    tip       // the last entry
	since  time.Time // when the first was appended, or was left by the group before; zero: not known
}

func (g *group) first() Index { return g.before.index + 1 }

// Sync writes everything that was appended (at most MaxGroupBytes, then Waiting
// is signalled again) as one group, with one write, and makes it durable with one fdatasync.
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
	g, err := l.gather(l.cfg.MaxGroupBytes, false)
	if err != nil {
		return Persisted{}, err
	}
	if len(g.parts) == 0 {
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

// gather takes what the next group is made of, one entry or up to maxBytes; together
// makes it one frame.
func (l *Log) gather(maxBytes int64, together bool) (group, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usableLocked(); err != nil {
		return group{}, err
	}
	g := group{before: l.mu.durable}
	g.parts, _ = l.mu.tail.gather(g.before, maxBytes, together)
	if n := len(g.parts); n > 0 {
		g.end = l.mu.tail.tipAt(g.parts[n-1].last())
		g.since, l.mu.waitingSince = l.mu.waitingSince, time.Time{}
		if g.end.index < l.mu.end.index {
			l.waitsLocked()
		}
	}
	return g, nil
}

// sealRoom is what a group leaves free in its segment: a block for the seal when nothing comes
// for a while, and one for that which says that there is a successor. On a full disk there
// is none behind what was reserved.
const sealRoom = 2 * blockBytes

// isFull says that a group must go to the next segment: with its seals behind it, it does
// not fit. One that has no entry of its own takes any group: its successor would have
// the same name.
func (s *segment) isFull(g *group) bool {
	end := s.w.pos + sealRoom
	for _, p := range g.parts {
		end += alignUp(groupHeaderBytes + p.bytes)
	}
	return end > s.size && g.first() > s.base
}

// room is the largest payload of a frame that the segment still takes.
func (s *segment) room() int64 { return s.size - s.w.pos - sealRoom - groupHeaderBytes }

// writeGroup writes and syncs one group of entries at the segment's end.
func (l *Log) writeGroup(seg *segment, g *group) error {
	headers := make([]groupHeader, len(g.parts))
	buffers := make([][]byte, 0, 4*len(g.parts))
	for n, p := range g.parts {
		h := l.frameHeader(seg, groupEntries)
		h.sequence += uint64(n)
		h.first, h.last, h.chain = p.before.index+1, p.last(), p.before.chain
		h.payloadBytes = uint32(p.bytes)
		headers[n], buffers = h, p.appendFrame(buffers, h)
	}
	began := time.Now()
	if err := l.writeAt(seg, seg.w.pos, buffers...); err != nil {
		return err
	}
	l.metrics.write.Observe(time.Since(began).Seconds())
	l.metrics.entries.Observe(float64(g.end.index - g.before.index))
	for _, h := range headers {
		seg.wrote(h)
		l.metrics.wroteFrame(h)
	}
	if l.cfg.PageCache {
		return nil
	}
	return l.sync(seg, g.end.index)
}

// appendFrame appends the bytes of a frame to the buffers of a write. In place these are
// whole blocks of memory, which a file may take without a copy, and what is left over.
func (p *part) appendFrame(buffers [][]byte, h groupHeader) [][]byte {
	padding := zeros[:h.frameBytes()-groupHeaderBytes-p.bytes]
	if p.place != nil {
		h.encode(p.place)
		whole := len(p.place) &^ (blockBytes - 1)
		return append(buffers, p.place[:whole], p.place[whole:], padding)
	}
	header := make([]byte, groupHeaderBytes)
	h.encode(header)
	buffers = append(buffers, header)
	for _, piece := range p.pieces {
		buffers = append(buffers, piece.bytes)
	}
	return append(buffers, padding)
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
	var written int64
	l.mu.Lock()
	for _, part := range g.parts {
		written += part.bytes
		at := pos + groupHeaderBytes
		for _, p := range part.pieces {
			end := at + int64(len(p.bytes))
			seg.index.add(extent{first: p.first, last: p.last, pos: at, end: end})
			at = end
		}
		pos = alignUp(at)
	}
	l.mu.durable = g.end
	l.mu.tail.evict(g.end.index)
	l.wroteLocked(g, written)
	p := l.persistedLocked()
	more := l.mu.end.index > g.end.index
	need := seg.w.pos > seg.size/2 && l.mu.prepared == nil && !l.mu.preparing
	prepared := l.mu.prepared
	l.mu.Unlock()
	if more {
		signal(l.waiting)
	}
	if !l.w.zeroing && l.lacksZeros(prepared) {
		l.w.zeroing = true
		signal(l.needZeros)
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
