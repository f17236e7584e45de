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
	patchVersion     = 1
	patchHeaderBytes = 64

	patchPrefix = "repair-"
	patchSuffix = ".log"
)

// patchHeader is the decoded header of a repair file.
type patchHeader struct {
	first, last   Index
	payloadBytes  int64  // of the entries that follow
	before, after uint32 // chain CRC of the entry before first, and of last
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
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

func parsePatchHeader(b []byte) (patchHeader, error) {
	if len(b) < patchHeaderBytes || binary.LittleEndian.Uint64(b) != patchMagic {
		return patchHeader{}, errors.New("this is no repair file")
	}
	if got, want := crc32.Checksum(b[:60], castagnoli), binary.LittleEndian.Uint32(b[60:]); got != want {
		return patchHeader{}, fmt.Errorf("the repair file's header has CRC %08x, computed %08x", want, got)
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != patchVersion {
		return patchHeader{}, fmt.Errorf("the repair file has format version %d, this program knows %d", v, patchVersion)
	}
	h := patchHeader{
		first:        Index(binary.LittleEndian.Uint64(b[16:])),
		last:         Index(binary.LittleEndian.Uint64(b[24:])),
		payloadBytes: int64(binary.LittleEndian.Uint64(b[32:])),
		before:       binary.LittleEndian.Uint32(b[40:]),
		after:        binary.LittleEndian.Uint32(b[44:]),
	}
	if h.first < 0 || h.last < h.first || h.payloadBytes < HeaderBytes {
		return patchHeader{}, fmt.Errorf("the repair file says entries %d to %d in %d bytes", h.first, h.last, h.payloadBytes)
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
	runs        []Run
	time        int64 // append time of last
	index       extents
}

// covers says whether the patch holds the entries of a gap, and no others: the
// chains on both sides decide.
func (p *patch) covers(first, last Index, before, after uint32) bool {
	return p.first <= first && last <= p.last && p.chains[first-p.first] == before && p.chains[last-p.first+1] == after
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
	if err := p.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("repair file %s: %w", path, err), file.Close())
	}
	return p, nil
}

func (p *patch) load() error {
	size, err := p.file.Size()
	if err != nil {
		return err
	}
	w := window{file: p.file, size: size}
	head, err := parsePatchHeader(w.bytes(0, patchHeaderBytes))
	if err != nil {
		return errors.Join(w.err, err)
	}
	if head.payloadBytes > size-patchHeaderBytes {
		return fmt.Errorf("it is cut off: %d bytes of entries in a file of %d", head.payloadBytes, size)
	}
	p.first, p.chains = head.first, []uint32{head.before}
	at := tip{index: head.first - 1, term: NoTerm, chain: head.before}
	end := patchHeaderBytes + head.payloadBytes
	for pos := int64(patchHeaderBytes); pos < end; {
		h, err := ParseHeader(w.bytes(pos, min(HeaderBytes, end-pos)))
		if err != nil {
			return errors.Join(w.err, err)
		}
		n := HeaderBytes + int64(h.BodyLen)
		if _, _, err := at.next(w.bytes(pos, min(n, end-pos))); err != nil {
			return errors.Join(w.err, err)
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
// no use, and no loss: what it stood for is faulty again.
func (r *recovery) loadPatches(names []string) {
	cfg := r.log.cfg
	for _, name := range names {
		if !isPatchName(name) {
			continue
		}
		p, err := loadPatch(cfg.FS, filepath.Join(cfg.Dir, name))
		if err != nil {
			r.log.metrics.corruptions.WithLabelValues(corruptRecovery).Inc()
			cfg.Logger.Error("a repair file of the commit log cannot be used", "error", err)
			continue
		}
		r.scanner.patches = append(r.scanner.patches, p)
	}
}
