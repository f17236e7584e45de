package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	segmentMagic   = 0x004745532D514D4C // "LMQ-SEG\0"
	segmentVersion = 1

	identitySlot     = 256 // bytes of one identity string with its length
	maxIdentityBytes = identitySlot - 2
	segmentCRCAt     = blockBytes - 4
)

// Identity says whose log a file is. Each part is 1 to 254 bytes long.
type Identity struct {
	ClusterID string
	Group     string
	MemberID  string
}

// String names the member the way an operator would.
func (id Identity) String() string {
	return fmt.Sprintf("member %q of group %q in cluster %q", id.MemberID, id.Group, id.ClusterID)
}

// segmentHeader is the first block of a segment file.
type segmentHeader struct {
	id         uint64 // random, also in every frame: stale bytes of another file never parse
	base       Index  // of the first entry
	prevTerm   Term   // of the entry before base
	prevChain  uint32 // chain CRC before base
	prevID     uint64 // the predecessor segment, 0 for the first one ever
	prevFrames uint32 // frames that the predecessor had when this segment was made
	size       int64  // preallocated bytes: the file is never shorter
	identity   Identity
}

func (h segmentHeader) encode() []byte {
	b := make([]byte, blockBytes)
	binary.LittleEndian.PutUint64(b, segmentMagic)
	binary.LittleEndian.PutUint16(b[8:], segmentVersion)
	binary.LittleEndian.PutUint64(b[16:], h.id)
	binary.LittleEndian.PutUint64(b[24:], uint64(h.base))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.prevTerm))
	binary.LittleEndian.PutUint32(b[40:], h.prevChain)
	binary.LittleEndian.PutUint32(b[44:], h.prevFrames)
	binary.LittleEndian.PutUint64(b[48:], h.prevID)
	binary.LittleEndian.PutUint64(b[56:], uint64(h.size))
	for i, s := range []string{h.identity.ClusterID, h.identity.Group, h.identity.MemberID} {
		slot := b[64+i*identitySlot:]
		binary.LittleEndian.PutUint16(slot, uint16(len(s)))
		copy(slot[2:identitySlot], s)
	}
	binary.LittleEndian.PutUint32(b[segmentCRCAt:], crc32.Checksum(b[:segmentCRCAt], castagnoli))
	return b
}

func parseSegmentHeader(b []byte) (segmentHeader, error) {
	if len(b) < blockBytes {
		return segmentHeader{}, fmt.Errorf("the segment header is cut off after %d bytes", len(b))
	}
	if m := binary.LittleEndian.Uint64(b); m != segmentMagic {
		return segmentHeader{}, fmt.Errorf("this is no segment: magic %#016x", m)
	}
	if got, want := crc32.Checksum(b[:segmentCRCAt], castagnoli), binary.LittleEndian.Uint32(b[segmentCRCAt:]); got != want {
		return segmentHeader{}, fmt.Errorf("the segment header has CRC %08x, computed %08x", want, got)
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != segmentVersion {
		return segmentHeader{}, fmt.Errorf("the segment has format version %d, this program knows %d", v, segmentVersion)
	}
	h := segmentHeader{
		id:         binary.LittleEndian.Uint64(b[16:]),
		base:       Index(binary.LittleEndian.Uint64(b[24:])),
		prevTerm:   Term(binary.LittleEndian.Uint64(b[32:])),
		prevChain:  binary.LittleEndian.Uint32(b[40:]),
		prevFrames: binary.LittleEndian.Uint32(b[44:]),
		prevID:     binary.LittleEndian.Uint64(b[48:]),
		size:       int64(binary.LittleEndian.Uint64(b[56:])),
	}
	for i, s := range []*string{&h.identity.ClusterID, &h.identity.Group, &h.identity.MemberID} {
		slot := b[64+i*identitySlot:]
		n := binary.LittleEndian.Uint16(slot)
		if n > maxIdentityBytes {
			return segmentHeader{}, fmt.Errorf("the segment header has an identity of %d bytes", n)
		}
		*s = string(slot[2 : 2+n])
	}
	if h.base < 0 || h.size < 0 {
		return segmentHeader{}, fmt.Errorf("the segment header has base %d and size %d", h.base, h.size)
	}
	return h, nil
}
