package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A group frame is what one write put down together. docs/format/commitlog.md
// draws it; this file is the only one that knows its bytes.

const (
	blockBytes = 4096 // writes begin and end at multiples of it

	groupMagic       = 0x46474D4C // "LMGF"
	groupVersion     = 1
	groupHeaderBytes = 64
)

// groupKind says what a frame records. Zero is invalid: unwritten space is no frame.
type groupKind uint8

const (
	groupEntries  groupKind = iota + 1 // entries follow
	groupTruncate                      // entries from first on are dropped
	groupSeal                          // all that stands before is durable
)

// flagRolled on a SEAL says that a successor segment was durable before it was written.
const flagRolled uint16 = 1

// groupHeader is the decoded header of a frame.
type groupHeader struct {
	kind          groupKind
	flags         uint16
	segmentID     uint64
	sequence      uint64
	first, last   Index
	durableEnd    Index  // last index known to be fdatasynced when this was written
	payloadBytes  uint32 // of the entries that follow the header
	chain         uint32 // chain CRC before first
	durableBlocks uint32 // blocks of this segment known to be fdatasynced when this was written
}

// frameBytes is the frame's length on disk, padding included.
func (g groupHeader) frameBytes() int64 {
	return alignUp(groupHeaderBytes + int64(g.payloadBytes))
}

func (g groupHeader) encode(b []byte) {
	clear(b[:groupHeaderBytes])
	binary.LittleEndian.PutUint32(b, groupMagic)
	b[4] = groupVersion
	b[5] = byte(g.kind)
	binary.LittleEndian.PutUint16(b[6:], g.flags)
	binary.LittleEndian.PutUint64(b[8:], g.segmentID)
	binary.LittleEndian.PutUint64(b[16:], g.sequence)
	binary.LittleEndian.PutUint64(b[24:], uint64(g.first))
	binary.LittleEndian.PutUint64(b[32:], uint64(g.last))
	binary.LittleEndian.PutUint64(b[40:], uint64(g.durableEnd))
	binary.LittleEndian.PutUint32(b[48:], g.payloadBytes)
	binary.LittleEndian.PutUint32(b[52:], g.chain)
	binary.LittleEndian.PutUint32(b[56:], g.durableBlocks)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
}

// isGroup tells a frame's first bytes from an entry's and from padding.
func isGroup(b []byte) bool {
	return len(b) >= groupHeaderBytes && binary.LittleEndian.Uint32(b) == groupMagic
}

func parseGroupHeader(b []byte) (groupHeader, error) {
	if !isGroup(b) {
		return groupHeader{}, fmt.Errorf("no group frame here")
	}
	if got, want := crc32.Checksum(b[:60], castagnoli), binary.LittleEndian.Uint32(b[60:]); got != want {
		return groupHeader{}, fmt.Errorf("group frame has header CRC %08x, computed %08x", want, got)
	}
	g := groupHeader{
		kind:          groupKind(b[5]),
		flags:         binary.LittleEndian.Uint16(b[6:]),
		segmentID:     binary.LittleEndian.Uint64(b[8:]),
		sequence:      binary.LittleEndian.Uint64(b[16:]),
		first:         Index(binary.LittleEndian.Uint64(b[24:])),
		last:          Index(binary.LittleEndian.Uint64(b[32:])),
		durableEnd:    Index(binary.LittleEndian.Uint64(b[40:])),
		payloadBytes:  binary.LittleEndian.Uint32(b[48:]),
		chain:         binary.LittleEndian.Uint32(b[52:]),
		durableBlocks: binary.LittleEndian.Uint32(b[56:]),
	}
	return g, g.check(b[4])
}

func (g groupHeader) check(version byte) error {
	switch {
	case version != groupVersion:
		return fmt.Errorf("group frame has version %d, this program knows %d", version, groupVersion)
	case g.kind == groupEntries && (g.flags != 0 || g.first < 0 || g.last < g.first || g.payloadBytes == 0):
		return fmt.Errorf("group frame holds entries %d to %d in %d bytes", g.first, g.last, g.payloadBytes)
	case g.kind == groupTruncate && (g.flags != 0 || g.first < 0 || g.last != g.first-1 || g.payloadBytes != 0):
		return fmt.Errorf("truncation frame from %d to %d with %d bytes", g.first, g.last, g.payloadBytes)
	case g.kind == groupSeal && (g.flags&^flagRolled != 0 || g.first < 0 || g.last != g.first-1 || g.payloadBytes != 0):
		return fmt.Errorf("seal frame from %d to %d with %d bytes", g.first, g.last, g.payloadBytes)
	case g.kind < groupEntries || g.kind > groupSeal:
		return fmt.Errorf("group frame of kind %d", g.kind)
	}
	return nil
}

func alignUp(n int64) int64 { return (n + blockBytes - 1) &^ (blockBytes - 1) }
