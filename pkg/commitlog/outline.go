package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// An outline file says what a sealed segment holds, so that Open need not read it.
// docs/format/commitlog.md draws it; this file is the only one that knows its bytes.

const (
	outlineMagic       = 0x0054554F2D514D4C // "LMQ-OUT\0"
	outlineVersion     = 1
	outlineHeaderBytes = 96
	outlineRunBytes    = 16
	outlineExtentBytes = 32

	// maxOutlineBytes is more than any segment needs. A longer file is none of ours.
	maxOutlineBytes = 256 << 20

	outlinePrefix = "outline-"
	outlineSuffix = ".log"
)

// outline is what is known of a segment that another one follows.
type outline struct {
	segmentID uint64
	before    tip // the entry before the segment's base; its time is not known
	end       tip // its last entry
	pos       int64
	frames    uint64 // the last one is the seal that says "rolled"
	runs      []Run  // of its entries
	extents   []extent
}

func outlineName(base Index) string {
	return fmt.Sprintf("%s%020d%s", outlinePrefix, base, outlineSuffix)
}

// parseOutlineName returns the base index in the name of an outline file.
func parseOutlineName(name string) (Index, bool) {
	digits, ours := strings.CutPrefix(name, outlinePrefix)
	digits, whole := strings.CutSuffix(digits, outlineSuffix)
	if !ours || !whole || len(digits) != 20 {
		return 0, false
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return Index(base), err == nil && base >= 0
}

func (o *outline) encode() []byte {
	b := make([]byte, 0, outlineHeaderBytes+len(o.runs)*outlineRunBytes+len(o.extents)*outlineExtentBytes+4)
	le := binary.LittleEndian
	b = le.AppendUint64(b, outlineMagic)
	b = le.AppendUint64(b, outlineVersion) // u16, and what is reserved
	b = le.AppendUint64(b, o.segmentID)
	b = le.AppendUint64(b, uint64(o.before.index+1))
	b = le.AppendUint64(b, uint64(o.before.term))
	b = le.AppendUint64(b, uint64(o.end.index))
	b = le.AppendUint64(b, uint64(o.end.term))
	b = le.AppendUint64(b, uint64(o.end.time))
	b = le.AppendUint32(b, o.before.chain)
	b = le.AppendUint32(b, o.end.chain)
	b = le.AppendUint64(b, uint64(o.pos))
	b = le.AppendUint64(b, o.frames)
	b = le.AppendUint32(b, uint32(len(o.runs)))
	b = le.AppendUint32(b, uint32(len(o.extents)))
	for _, r := range o.runs {
		b = le.AppendUint64(b, uint64(r.First))
		b = le.AppendUint64(b, uint64(r.Term))
	}
	for _, e := range o.extents {
		b = le.AppendUint64(b, uint64(e.first))
		b = le.AppendUint64(b, uint64(e.last))
		b = le.AppendUint64(b, uint64(e.pos))
		b = le.AppendUint64(b, uint64(e.end))
	}
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseOutline takes nothing that is not exactly what encode has made of an outline
// that holds together.
func parseOutline(b []byte) (*outline, error) {
	le := binary.LittleEndian
	if len(b) < outlineHeaderBytes+4 || le.Uint64(b) != outlineMagic {
		return nil, errors.New("this is no outline file")
	}
	sum := len(b) - 4
	if got, want := crc32.Checksum(b[:sum], castagnoli), le.Uint32(b[sum:]); got != want {
		return nil, fmt.Errorf("the outline file has CRC %08x, computed %08x", want, got)
	}
	if v := le.Uint64(b[8:]); v != outlineVersion {
		return nil, fmt.Errorf("the outline file has format version %d, this program knows %d", v, outlineVersion)
	}
	runs, extents := int64(le.Uint32(b[88:])), int64(le.Uint32(b[92:]))
	if want := outlineHeaderBytes + runs*outlineRunBytes + extents*outlineExtentBytes + 4; want != int64(len(b)) {
		return nil, fmt.Errorf("the outline file has %d bytes, %d terms and %d extents need %d", len(b), runs, extents, want)
	}
	o := &outline{
		segmentID: le.Uint64(b[16:]),
		before:    tip{index: Index(le.Uint64(b[24:])) - 1, term: Term(le.Uint64(b[32:])), chain: le.Uint32(b[64:])},
		end:       tip{index: Index(le.Uint64(b[40:])), term: Term(le.Uint64(b[48:])), time: int64(le.Uint64(b[56:])), chain: le.Uint32(b[68:])},
		pos:       int64(le.Uint64(b[72:])),
		frames:    le.Uint64(b[80:]),
		runs:      make([]Run, runs),
		extents:   make([]extent, extents),
	}
	b = b[outlineHeaderBytes:]
	for n := range o.runs {
		o.runs[n] = Run{First: Index(le.Uint64(b)), Term: Term(le.Uint64(b[8:]))}
		b = b[outlineRunBytes:]
	}
	for n := range o.extents {
		o.extents[n] = extent{
			first: Index(le.Uint64(b)), last: Index(le.Uint64(b[8:])),
			pos: int64(le.Uint64(b[16:])), end: int64(le.Uint64(b[24:])),
		}
		b = b[outlineExtentBytes:]
	}
	return o, o.check()
}

// check says what does not hold together: only a fault of this program, or a CRC that
// fits by chance, can be the cause.
func (o *outline) check() error {
	base := o.before.index + 1
	if base < 0 || o.end.index < base || o.pos < 3*blockBytes || o.pos%blockBytes != 0 || o.frames < 2 {
		return fmt.Errorf("the outline file says entries %d to %d in %d frames up to position %d", base, o.end.index, o.frames, o.pos)
	}
	at := Run{First: base - 1, Term: max(o.before.term, 1)}
	for n, r := range o.runs {
		if n == 0 && r.First != base || r.First <= at.First || r.First > o.end.index || r.Term < at.Term || n > 0 && r.Term == at.Term {
			return fmt.Errorf("the outline file says that entries from %d on have term %d", r.First, r.Term)
		}
		at = r
	}
	if len(o.runs) == 0 || at.Term != o.end.term {
		return fmt.Errorf("the outline file says that entry %d has term %d, and that it has term %d", o.end.index, o.end.term, at.Term)
	}
	last, pos := base-1, int64(blockBytes)
	for _, e := range o.extents {
		if e.first != last+1 || e.last < e.first || e.pos < pos || e.end < e.pos+HeaderBytes || e.end > o.pos-blockBytes {
			return fmt.Errorf("the outline file says that entries %d to %d stand at %d to %d", e.first, e.last, e.pos, e.end)
		}
		last, pos = e.last, e.end
	}
	if last != o.end.index {
		return fmt.Errorf("the outline file knows where entries up to %d stand, the last one is %d", last, o.end.index)
	}
	return nil
}
