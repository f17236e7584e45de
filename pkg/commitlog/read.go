package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
)

// maxReadBytes bounds one read from a file, unless a single entry is larger.
const maxReadBytes = 1 << 20

// Read returns whole entries from `from` on, `to` at the latest, as many as fit
// maxBytes and one at least; it may return fewer than fit. Entries that are not
// durable yet are served too: the caller knows its commit index. The newest
// ones come from memory and share its bytes, older ones are read from the file
// with their CRCs checked. It never waits for a Sync. Errors: ErrPurged,
// ErrBeyondEnd (only if `from` is), ErrClosed, a *FaultyError (only if `from` is
// faulty; the entries before it are read), *CorruptionError, an I/O error.
func (l *Log) Read(from, to Index, maxBytes int) (Frame, error) {
	return l.read(from, to, maxBytes, true)
}

// read is Read. Only without the writer token may it mark what is damaged.
func (l *Log) read(from, to Index, maxBytes int, mark bool) (Frame, error) {
	if to < from {
		return Frame{}, fmt.Errorf("commit log: read from %d to %d", from, to)
	}
	for {
		f, plan, err := l.planRead(from, to, maxBytes)
		if err != nil || plan == nil {
			return f, err
		}
		f, err = plan.read()
		if errors.Is(err, os.ErrClosed) {
			continue // purged, truncated or abandoned meanwhile: ask again
		}
		if corruption := (*CorruptionError)(nil); errors.As(err, &corruption) {
			l.metrics.corruptions.WithLabelValues(corruptRead).Inc()
			l.cfg.Logger.Error("commit log read", "error", err)
			if mark && l.markDamage(plan) {
				mark = false
				continue // the neighbours of what is damaged can still be read
			}
		}
		return f, err
	}
}

// planRead answers from memory, or says what to read from which file.
func (l *Log) planRead(from, to Index, maxBytes int) (Frame, *readPlan, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return Frame{}, nil, ErrClosed
	}
	if err := l.hasLocked(from); err != nil {
		return Frame{}, nil, err
	}
	to = min(to, l.mu.end.index)
	if n, ok := l.mu.tail.find(from); ok {
		c := l.mu.tail.chunks[n]
		last := c.upTo(from, min(to, c.last()), maxBytes)
		return Frame{First: from, Last: last, Bytes: c.slice(from, last)}, nil, nil
	}
	return l.planFileLocked(from, to, maxBytes)
}

// planFileLocked says where the entries from `from` on stand, up to `to` or to
// where another file goes on.
func (l *Log) planFileLocked(from, to Index, maxBytes int) (Frame, *readPlan, error) {
	g := l.mu.gaps.next(from)
	switch {
	case g == nil || g.first > to:
	case g.first > from:
		to = g.first - 1
	case g.patch == nil:
		return Frame{}, nil, &FaultyError{l.faultyLocked(from)}
	default:
		plan := &readPlan{path: g.patch.path, file: g.patch.file, patch: g.patch, from: from, to: min(to, g.last), maxBytes: maxBytes}
		plan.takeExtents(g.patch.index.from(from))
		return Frame{}, plan, nil
	}
	seg := l.mu.segments[segmentOf(l.mu.segments, from)]
	plan := &readPlan{path: seg.path, file: seg.file, segment: seg, from: from, to: to, maxBytes: maxBytes}
	plan.takeExtents(seg.index.from(from))
	return Frame{}, plan, nil
}

// takeExtents takes as many as a read is worth.
func (p *readPlan) takeExtents(extents []extent) {
	budget := int64(min(max(p.maxBytes, extentBytes), maxReadBytes))
	for _, e := range extents {
		if len(p.extents) > 0 && (e.first > p.to || e.end-p.extents[0].pos > budget) {
			break
		}
		p.extents = append(p.extents, e)
	}
	assert(len(p.extents) > 0 && p.extents[0].first <= p.from, "entry %d is nowhere", p.from)
}

// readPlan is one read of one file. It holds no lock and owns its extents.
type readPlan struct {
	path     string
	file     File
	segment  *segment // that it is of, or
	patch    *patch
	extents  []extent // in file order, the first one holds from
	from, to Index
	maxBytes int
}

// readBuffers are for the bytes of a file before the entries are picked out of
// them. What Read returns is never one of them.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, 0, maxReadBytes); return &b }}

func (p *readPlan) read() (Frame, error) {
	begin, end := p.extents[0].pos, p.extents[len(p.extents)-1].end
	pooled := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(pooled)
	buf := *pooled
	if n := int(end - begin); n <= cap(buf) {
		buf = buf[:n]
	} else {
		buf = make([]byte, n)
	}
	if n, err := p.file.ReadAt(buf, begin); n < len(buf) {
		if errors.Is(err, os.ErrClosed) {
			return Frame{}, err
		}
		return Frame{}, fmt.Errorf("read %d bytes of %s at %d: %w", len(buf), p.path, begin, err)
	}
	return p.pick(buf)
}

// span is a range of bytes in a read buffer.
type span struct{ begin, end int }

// pick copies the wanted entries, which frame headers and padding may separate.
func (p *readPlan) pick(buf []byte) (Frame, error) {
	var spans []span
	size, next := 0, p.from
	base := p.extents[0].pos
	for _, e := range p.extents {
		w := walker{buf: buf[:e.end-base], base: base, at: int(e.pos - base)}
		for i := e.first; i <= min(e.last, p.to); i++ {
			s, err := w.next(i, i >= p.from)
			if err != nil {
				return Frame{}, &CorruptionError{Path: p.path, Position: base + int64(w.at), Index: i, Why: err.Error()}
			}
			if i < p.from {
				continue
			}
			if size > 0 && size+s.end-s.begin > p.maxBytes {
				return p.frame(buf, spans, size, next-1), nil
			}
			if n := len(spans); n > 0 && spans[n-1].end == s.begin {
				spans[n-1].end = s.end
			} else {
				spans = append(spans, s)
			}
			size, next = size+s.end-s.begin, i+1
		}
	}
	return p.frame(buf, spans, size, next-1), nil
}

func (p *readPlan) frame(buf []byte, spans []span, size int, last Index) Frame {
	out := make([]byte, 0, size)
	for _, s := range spans {
		out = append(out, buf[s.begin:s.end]...)
	}
	return Frame{First: p.from, Last: last, Bytes: out}
}

// walker goes from entry to entry through a piece of a file that has no
// truncation in it.
type walker struct {
	buf  []byte
	base int64 // position of buf in the file
	at   int   // in buf
}

// next returns where entry i stands and moves behind it.
func (w *walker) next(i Index, verify bool) (span, error) {
	if err := w.skipFraming(); err != nil {
		return span{}, err
	}
	h, body, rest, err := NextEntry(w.buf[w.at:])
	if err != nil {
		return span{}, err
	}
	if h.Index != i {
		return span{}, fmt.Errorf("%w: found entry %d", ErrInvalidEntry, h.Index)
	}
	if verify {
		if err := checkBody(h, body); err != nil {
			return span{}, err
		}
	}
	s := span{begin: w.at, end: len(w.buf) - len(rest)}
	w.at = s.end
	return s, nil
}

// skipFraming moves over padding, frame headers and seals to the next entry.
func (w *walker) skipFraming() error {
	for w.at < len(w.buf) {
		b := w.buf[w.at:]
		pos := w.base + int64(w.at)
		switch {
		case len(b) >= 2 && binary.LittleEndian.Uint16(b) == entryMagic:
			return nil
		case pos%blockBytes != 0:
			w.at += int(alignUp(pos) - pos)
		default:
			g, err := parseGroupHeader(b)
			if err != nil {
				return err
			}
			if g.kind == groupEntries {
				w.at += groupHeaderBytes
			} else {
				w.at += blockBytes
			}
		}
	}
	return fmt.Errorf("%w: the extent ends before it", ErrInvalidEntry)
}

// ChainAt is the chain CRC of entry i, which may be the one before Begin. Two
// members with equal chains at an index have equal histories up to it. Errors
// as Read's.
func (l *Log) ChainAt(i Index) (uint32, error) { return l.chainAt(i, true) }

func (l *Log) chainAt(i Index, mark bool) (uint32, error) {
	if chain, ok := l.chainInMemory(i); ok {
		return chain, nil
	}
	f, err := l.read(i, i, 0, mark)
	if err != nil {
		return 0, err
	}
	h, err := ParseHeader(f.Bytes)
	return h.ChainCRC, err
}

func (l *Log) chainInMemory(i Index) (uint32, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mu.closed:
		return 0, false // Read says so
	case i == l.mu.end.index:
		return l.mu.end.chain, true
	case i == l.mu.durable.index:
		return l.mu.durable.chain, true
	case i == l.mu.begin-1:
		return l.mu.segments[0].prevChain, true
	}
	g := l.mu.gaps.next(i)
	switch {
	case g == nil || i > l.mu.end.index:
	case g.last == i:
		return g.after, true
	case g.first == i+1:
		return g.before, true
	}
	return 0, false
}
