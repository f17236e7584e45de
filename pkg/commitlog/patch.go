package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
)

// A repair file holds the entries of a gap. docs/format/commitlog.md draws it;
// this file is the only one that knows its bytes.

const (
	patchMagic       = 0x005250522D514D4C // "LMQ-RPR\0"
	patchVersion     = 2
	patchWhole       = 1 // the version whose files hold whole gaps only
	patchHeaderBytes = 64

	patchPrefix = "repair-"
	patchSuffix = ".log"
)

// patchHeader is the decoded header of a repair file.
type patchHeader struct {
	first, last   Index
	payloadBytes  int64  // of the entries that follow
	before, after uint32 // chain CRC of the entry before first, and of last
	anchor        anchorEntry
}

// anchorEntry is the last entry of the gap for which a repair file was made. Its
// chain CRC names the history, of which the file may hold a piece only.
type anchorEntry struct {
	index Index
	chain uint32
}

func (h patchHeader) encode() []byte {
	b := make([]byte, patchHeaderBytes)
	binary.LittleEndian.PutUint64(b, patchMagic)
	binary.LittleEndian.PutUint16(b[8:], patchVersion)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.first))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.last))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.payloadBytes))
	binary.LittleEndian.PutUint32(b[40:], h.before)
	binary.LittleEndian.PutUint32(b[44:], h.after)
	binary.LittleEndian.PutUint64(b[48:], uint64(h.anchor.index))
	binary.LittleEndian.PutUint32(b[56:], h.anchor.chain)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// errPatchVersion is a repair file of another version of this program. It is not
// this one's to delete.
var errPatchVersion = errors.New("the repair file has an unknown format version")

func parsePatchHeader(b []byte) (patchHeader, error) {
	if len(b) < patchHeaderBytes || binary.LittleEndian.Uint64(b) != patchMagic {
		return patchHeader{}, errors.New("this is no repair file")
	}
	if got, want := crc32.Checksum(b[:60], castagnoli), binary.LittleEndian.Uint32(b[60:]); got != want {
		return patchHeader{}, fmt.Errorf("the repair file's header has CRC %08x, computed %08x", want, got)
	}
	version := binary.LittleEndian.Uint16(b[8:])
	if version < patchWhole || version > patchVersion {
		return patchHeader{}, fmt.Errorf("%w: %d, this program knows %d to %d", errPatchVersion, version, patchWhole, patchVersion)
	}
	h := patchHeader{
		first:        Index(binary.LittleEndian.Uint64(b[16:])),
		last:         Index(binary.LittleEndian.Uint64(b[24:])),
		payloadBytes: int64(binary.LittleEndian.Uint64(b[32:])),
		before:       binary.LittleEndian.Uint32(b[40:]),
		after:        binary.LittleEndian.Uint32(b[44:]),
		anchor:       anchorEntry{index: Index(binary.LittleEndian.Uint64(b[48:])), chain: binary.LittleEndian.Uint32(b[56:])},
	}
	if version == patchWhole {
		h.anchor = anchorEntry{index: h.last, chain: h.after}
	}
	if h.first < 0 || h.last < h.first || h.anchor.index < h.last || h.payloadBytes < HeaderBytes {
		return patchHeader{}, fmt.Errorf("the repair file says entries %d to %d of a gap up to %d in %d bytes", h.first, h.last, h.anchor.index, h.payloadBytes)
	}
	return h, nil
}

func patchName(first, last Index) string {
	return fmt.Sprintf("%s%020d-%020d%s", patchPrefix, first, last, patchSuffix)
}

func isPatchName(name string) bool {
	return strings.HasPrefix(name, patchPrefix) && strings.HasSuffix(name, patchSuffix)
}

// patch is an open repair file, verified.
type patch struct {
	path        string
	file        File
	first, last Index
	chains      []uint32 // of the entries from first - 1 to last
	anchor      anchorEntry
	runs        []Run
	time        int64 // append time of last
	index       extents
}

// chainAt is the chain CRC of entry i, first - 1 to last.
func (p *patch) chainAt(i Index) uint32 { return p.chains[i-p.first+1] }

// fits says whether the patch holds entries of a gap. Where it reaches the gap's
// ends, the chains there decide. To join in front is not enough: a patch that was
// left by a history which parted within the gap does. That it is of this history
// is told by the chain at the gap's end, its own or that of its anchor.
func (p *patch) fits(g *gap) bool {
	switch {
	case p.last < g.first || g.last < p.first:
		return false
	case p.first <= g.first && p.chainAt(g.first-1) != g.before:
		return false
	case p.last >= g.last:
		return p.chainAt(g.last) == g.after
	}
	return p.anchor == anchorEntry{index: g.last, chain: g.after}
}

// take adds the entry at pos to what the patch holds.
func (p *patch) take(h Header, pos int64) {
	p.last = h.Index
	p.chains = append(p.chains, h.ChainCRC)
	p.runs = addRun(p.runs, h.Index, h.Term)
	p.time = max(p.time, h.AppendTime)
	p.index.add(extent{first: h.Index, last: h.Index, pos: pos, end: pos + HeaderBytes + int64(h.BodyLen)})
}

// loadPatch opens a repair file and verifies everything in it.
func loadPatch(fs FS, path string) (*patch, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	p := &patch{path: path, file: file}
	size, err := file.Size()
	if err == nil {
		w := window{file: file, size: size}
		err = p.load(&w)
		if err = errors.Join(w.err, err); w.err == nil && err != nil && !errors.Is(err, errPatchVersion) {
			err = fmt.Errorf("%w: %w", errPatchDamaged, err)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("repair file %s: %w", path, err), file.Close())
	}
	return p, nil
}

// errPatchDamaged is a repair file that was read and is not what was written.
var errPatchDamaged = errors.New("it is damaged")

func (p *patch) load(w *window) error {
	head, err := parsePatchHeader(w.bytes(0, patchHeaderBytes))
	if err != nil {
		return err
	}
	if head.payloadBytes > w.size-patchHeaderBytes {
		return fmt.Errorf("it is cut off: %d bytes of entries in a file of %d", head.payloadBytes, w.size)
	}
	p.first, p.chains, p.anchor = head.first, []uint32{head.before}, head.anchor
	at := tip{index: head.first - 1, term: NoTerm, chain: head.before}
	end := patchHeaderBytes + head.payloadBytes
	for pos := int64(patchHeaderBytes); pos < end; {
		h, err := ParseHeader(w.bytes(pos, min(HeaderBytes, end-pos)))
		if err != nil {
			return err
		}
		n := HeaderBytes + int64(h.BodyLen)
		if _, _, err := at.next(w.bytes(pos, min(n, end-pos))); err != nil {
			return err
		}
		p.take(h, pos)
		pos += n
	}
	if at.index != head.last || at.chain != head.after {
		return fmt.Errorf("it ends with entry %d and chain %08x, its header says %d and %08x", at.index, at.chain, head.last, head.after)
	}
	return nil
}

// loadPatches opens the repair files in the directory. One that is damaged is of
// no use, and no loss: what it stood for is faulty again, and repair deletes it.
func (r *recovery) loadPatches(names []string) {
	cfg := r.log.cfg
	for _, name := range names {
		if !isPatchName(name) {
			continue
		}
		path := filepath.Join(cfg.Dir, name)
		p, err := loadPatch(cfg.FS, path)
		if isUnreadable(err) {
			if p, err = loadPatch(cfg.FS, path); err == nil {
				r.log.reportHealed(path, 1)
			}
		}
		if err != nil {
			if errors.Is(err, errPatchDamaged) {
				r.badPatches = append(r.badPatches, path)
			}
			r.log.metrics.corruptions.WithLabelValues(corruptRecovery).Inc()
			cfg.Logger.Error("a repair file of the commit log cannot be used", "error", err)
			continue
		}
		r.scanner.patches = append(r.scanner.patches, p)
	}
}
