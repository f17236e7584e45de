package commitlog

import (
	"encoding/binary"
	"fmt"
)

// AppendMaster stamps bodies as the entries from first on, in that term, and
// makes them readable. They are durable when a later Sync says so. The bytes
// are copied, unless they are lent. The caller has verified the CRC of each body; a body that is too
// long, or of no known type, is an ErrInvalidEntry and nothing is appended.
// Other errors: ErrNotMaster, ErrStaleTerm, ErrNotContiguous, ErrFailed, ErrClosed.
func (l *Log) AppendMaster(term Term, first Index, bodies []Body) error {
	for i, b := range bodies {
		if err := b.check(); err != nil {
			return fmt.Errorf("body %d of %d: %w", i, len(bodies), err)
		}
	}
	now := l.cfg.Clock().UnixNano()
	l.mu.Lock()
	err := l.masterMayAppendLocked(term, first)
	if err == nil && len(bodies) > 0 {
		l.waitsLocked()
		for _, b := range bodies {
			l.stampLocked(term, now, b)
		}
	}
	l.mu.Unlock()
	if err == nil {
		signal(l.waiting)
	}
	return err
}

func (b Body) check() error {
	if !b.Type.valid() {
		return fmt.Errorf("%w: type %d", ErrInvalidEntry, b.Type)
	}
	if n := len(b.Bytes); n > MaxBodyBytes || n > 0 && n < bodyCRCBytes {
		return fmt.Errorf("%w: body of %d bytes, allowed are 0 and %d to %d",
			ErrInvalidEntry, n, bodyCRCBytes, MaxBodyBytes)
	}
	return nil
}

func (l *Log) masterMayAppendLocked(term Term, first Index) error {
	if err := l.usableLocked(); err != nil {
		return err
	}
	switch {
	case l.mu.role != master:
		return ErrNotMaster
	case term != l.mu.term || term < l.mu.end.term || term < 1:
		return fmt.Errorf("%w: term %d, the log is MASTER in %d and its last entry has %d",
			ErrStaleTerm, term, l.mu.term, l.mu.end.term)
	case first != l.mu.end.index+1:
		return fmt.Errorf("%w: append at %d, the log ends at %d", ErrNotContiguous, first, l.mu.end.index)
	}
	return nil
}

// stampLocked encodes one entry behind the end.
func (l *Log) stampLocked(term Term, now int64, b Body) {
	end := &l.mu.end
	h := Header{
		Type:       b.Type,
		BodyLen:    uint32(len(b.Bytes)),
		Index:      end.index + 1,
		Term:       term,
		AppendTime: max(now, end.time),
	}
	if len(b.Bytes) > 0 {
		h.BodyCRC = binary.LittleEndian.Uint32(b.Bytes)
	}
	h.ChainCRC = putHeader(l.placeLocked(h.Index, b), h, end.chain)
	end.advance(h)
	l.mu.runs = addRun(l.mu.runs, h.Index, term)
}

// placeLocked returns the place of entry i in the tail, with its body and room for the
// header: a copy, or where it lies.
func (l *Log) placeLocked(i Index, b Body) []byte {
	if entry := b.Lent.entry(b.Bytes); entry != nil {
		c := b.Lent.chunk(i, entry, b.Lent.headFor(b.Bytes, HeaderBytes))
		c.starts = append(c.starts, 0)
		l.mu.tail.addChunk(c)
		return entry
	}
	n := HeaderBytes + len(b.Bytes)
	buf := l.mu.tail.room(i, n).grow(n)
	copy(buf[HeaderBytes:], b.Bytes)
	return buf
}

// StampNotBefore makes the stamps of AppendMaster at least unixNano. The log knows
// those of the entries that it keeps; of what was purged, or came as a seed, its
// caller may know.
func (l *Log) StampNotBefore(unixNano int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.end.time = max(l.mu.end.time, unixNano)
}

// AppendSlave takes encoded entries as a leader sent them. The caller has run
// Verify over them; here they must begin right after the end (ErrNotContiguous)
// and continue this log's history (ErrDivergence). The bytes are copied; if one
// entry is refused, none is appended.
// Other errors: ErrInvalidEntry, ErrNotSlave, ErrFailed, ErrClosed.
func (l *Log) AppendSlave(entries []byte) error { return l.AppendLent(Lent{Bytes: entries}) }

// AppendLent is AppendSlave for entries that the log may keep where they are.
func (l *Log) AppendLent(entries Lent) error {
	l.mu.Lock()
	err := l.usableLocked()
	if err == nil && l.mu.role != slave {
		err = ErrNotSlave
	}
	if err == nil {
		err = l.mu.end.continuedBy(entries.Bytes)
	}
	switch {
	case err != nil || len(entries.Bytes) == 0: // nothing waits
	case entries.holdable(entries.Bytes):
		l.waitsLocked()
		l.holdEntriesLocked(entries)
	default:
		l.waitsLocked()
		l.copyEntriesLocked(entries.Bytes)
	}
	l.mu.Unlock()
	if err == nil {
		signal(l.waiting)
	}
	return err
}

// continuedBy checks that whole entries continue the history that ends at t.
func (t tip) continuedBy(entries []byte) error {
	for len(entries) > 0 {
		h, _, rest, err := NextEntry(entries)
		if err != nil {
			return err
		}
		if err := t.follows(h, entries); err != nil {
			return err
		}
		t.advance(h)
		entries = rest
	}
	return nil
}

// holdEntriesLocked appends entries that continuedBy has accepted as a chunk of their own.
func (l *Log) holdEntriesLocked(entries Lent) {
	c := entries.chunk(l.mu.end.index+1, entries.Bytes, entries.headFor(entries.Bytes, 0))
	n := len(entries.Bytes)
	for rest := entries.Bytes; len(rest) > 0; {
		h, err := ParseHeader(rest)
		assert(err == nil, "entries changed while they were appended: %v", err)
		c.starts = append(c.starts, uint32(n-len(rest)))
		l.mu.end.advance(h)
		l.mu.runs = addRun(l.mu.runs, h.Index, h.Term)
		rest = rest[HeaderBytes+int(h.BodyLen):]
	}
	l.mu.tail.addChunk(c)
}

// copyEntriesLocked appends entries that continuedBy has accepted.
func (l *Log) copyEntriesLocked(entries []byte) {
	for len(entries) > 0 {
		h, err := ParseHeader(entries)
		assert(err == nil, "entries changed while they were appended: %v", err)
		n := HeaderBytes + int(h.BodyLen)
		copy(l.mu.tail.room(h.Index, n).grow(n), entries[:n])
		l.mu.end.advance(h)
		l.mu.runs = addRun(l.mu.runs, h.Index, h.Term)
		entries = entries[n:]
	}
}

// assert ends the process on a bug of ours.
func assert(ok bool, format string, args ...any) {
	if !ok {
		panic("commitlog: " + fmt.Sprintf(format, args...))
	}
}
