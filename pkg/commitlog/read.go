package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
)

const (
	// maxReadBytes bounds one read from a file by Open, by Scrub and of a single entry,
	// unless that is larger.
	maxReadBytes = 1 << 20
	// coldReadBytes bounds one read of several old entries. Larger ones gain nothing, and
	// what the log writes meanwhile waits behind them.
	coldReadBytes = 256 << 10
)

// directReader is a file that can be read past the page cache, into memory that is whole
// blocks at a multiple of their size, from a multiple of it on. Where it cannot it reads
// as ever.
type directReader interface {
	ReadDirect(b []byte, off int64) (int, error)
}

// readFresh reads what the disk has, where the file can be read past the page cache: what
// the cache remembers of a sector that has rotted is good. Every look at what may be damaged reads so,
// or one would deny what another has seen. The memory is as for a directReader.
func readFresh(file File, b []byte, off int64) (int, error) {
	if f, ok := file.(directReader); ok {
		return f.ReadDirect(b, off)
	}
	return file.ReadAt(b, off)
}

// Read returns whole entries from `from` on, `to` at the latest, as many as fit
// maxBytes and one at least; it may return fewer than fit. Entries that are not
// durable yet are served too: the caller knows its commit index. The newest
// ones come from memory and share its bytes (see Frame.Release), older ones are read from the file
// with their CRCs checked, after a tenth of a second at most while the log is being
// written (see pace). It never waits for a Sync. Errors: ErrPurged,
// ErrBeyondEnd (only if `from` is), ErrClosed, a *FaultyError (only if `from` is
// faulty; the entries before it are read), *CorruptionError, an I/O error.
func (l *Log) Read(from, to Index, maxBytes int) (Frame, error) {
	return l.read(from, to, maxBytes, forClients, true)
}

// ReadForGroup is Read for what the group depends on, peers that are behind and the state.
// It does not wait for those who Read, however many they are.
func (l *Log) ReadForGroup(from, to Index, maxBytes int) (Frame, error) {
	return l.read(from, to, maxBytes, forGroup, true)
}

// read is Read. Only without the writer token may it mark what is damaged.
func (l *Log) read(from, to Index, maxBytes int, who reader, mark bool) (Frame, error) {
	if to < from {
		return Frame{}, fmt.Errorf("commit log: read from %d to %d", from, to)
	}
	for {
		f, plan, err := l.planRead(from, to, maxBytes)
		if err != nil || plan == nil {
			return f, err
		}
		l.yield(plan, who)
		f, err = plan.read()
		if errors.Is(err, os.ErrClosed) {
			continue // purged, truncated or abandoned meanwhile: ask again
		}
		l.reportHealed(plan.path, plan.healed)
		l.metrics.read[who].Add(float64(plan.bytes()))
		if l.metDamage("read", plan, err) && mark && l.markDamage(plan, err) {
			mark = false
			continue // the neighbours of what is damaged can still be read
		}
		if mark {
			err = l.distrustUnread(plan, err)
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
		c.holds++
		return Frame{First: from, Last: last, Bytes: c.slice(from, last), log: l, chunk: c}, nil, nil
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
		plan := &readPlan{path: g.patch.path, file: g.patch.file, patch: g.patch, sealed: true, from: from, to: min(to, g.last), maxBytes: maxBytes}
		plan.takeExtents(g.patch.index.from(from))
		return Frame{}, plan, nil
	}
	seg := l.mu.segments[segmentOf(l.mu.segments, from)]
	plan := &readPlan{path: seg.path, file: seg.file, segment: seg, sealed: seg != l.mu.segments[len(l.mu.segments)-1], from: from, to: to, maxBytes: maxBytes}
	plan.takeExtents(seg.index.from(from))
	return Frame{}, plan, nil
}

// takeExtents takes as many as a read is worth.
func (p *readPlan) takeExtents(extents []extent) {
	budget := int64(min(max(p.maxBytes, extentBytes), coldReadBytes))
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
	sealed   bool     // nothing is written to it any more, as a rule
	healed   int      // reads that went well at the second attempt
	extents  []extent // in file order, the first one holds from
	from, to Index
	maxBytes int
}

// readBufferSizes are those of the buffers into which files are read, of which the entries
// are picked out: for one extent, for several, and for one that is a large entry. A read
// is whole blocks, and an entry carries a little more than a batch of a round size.
var readBufferSizes = [...]int{extentBytes + 2*blockBytes, coldReadBytes + 2*blockBytes, maxReadBytes + 2*blockBytes}

var readBuffers = [...]*sync.Pool{bufferPool(readBufferSizes[0]), bufferPool(readBufferSizes[1]), bufferPool(readBufferSizes[2])}

func bufferPool(size int) *sync.Pool {
	return &sync.Pool{New: func() any { b := alignedMemory(size); return &b }}
}

// readBuffersFor is the pool of the buffers for a read of n bytes; nil: there is none.
func readBuffersFor(n int) *sync.Pool {
	for i, size := range readBufferSizes {
		if n <= size {
			return readBuffers[i]
		}
	}
	return nil
}

// bytes is how many of the file's it is for.
func (p *readPlan) bytes() int64 { return p.extents[len(p.extents)-1].end - p.extents[0].pos }

func (p *readPlan) read() (Frame, error) {
	begin := p.extents[0].pos &^ (blockBytes - 1)
	n := int(alignUp(p.extents[len(p.extents)-1].end) - begin)
	pool := readBuffersFor(n)
	if pool == nil {
		b := alignedMemory(n)
		return p.readInto(&b, begin, n)
	}
	pooled := pool.Get().(*[]byte)
	f, err := p.readInto(pooled, begin, n)
	switch {
	case err != nil || len(f.Bytes) < n/2:
		// Few entries of what had to be read must not keep all of it.
		f.Bytes = append([]byte(nil), f.Bytes...)
		pool.Put(pooled)
	default:
		f.pooled = pooled
	}
	return f, err
}

// readInto reads n bytes from begin on. The last block may lack what follows the entries.
func (p *readPlan) readInto(memory *[]byte, begin int64, n int) (Frame, error) {
	buf := (*memory)[:n]
	got, healed, err := readSure(p.file, buf, begin, p.sealed)
	if healed {
		p.healed++
	}
	if need := int(p.extents[len(p.extents)-1].end - begin); got < need {
		if errors.Is(err, os.ErrClosed) {
			return Frame{}, err
		}
		return Frame{}, &unreadableError{fmt.Errorf("read %d bytes of %s at %d: %w", need, p.path, begin, err)}
	}
	return p.pick(buf[:got], begin)
}

// span is a range of bytes in a read buffer.
type span struct{ begin, end int }

// pick moves the wanted entries, which frame headers and padding may separate, to the
// front of buf, which was read at base.
func (p *readPlan) pick(buf []byte, base int64) (Frame, error) {
	var spans []span
	size, next := 0, p.from
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
	if len(spans) == 1 { // they stand together
		return Frame{First: p.from, Last: last, Bytes: buf[spans[0].begin:spans[0].end:spans[0].end]}
	}
	out := buf[:0]
	for _, s := range spans {
		out = append(out, buf[s.begin:s.end]...)
	}
	return Frame{First: p.from, Last: last, Bytes: out[:size:size]}
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
	f, err := l.read(i, i, 0, forGroup, mark)
	if err != nil {
		return 0, err
	}
	defer f.Release()
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
