package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	// HeaderBytes is the length of an entry's header on disk and on the wire.
	HeaderBytes = 48
	// MaxBodyBytes is the longest body that the format allows: 16 MiB.
	MaxBodyBytes = 16 << 20

	entryMagic   = 0x4C45 // "EL" as a little-endian number
	entryVersion = 1

	chainedBytes = 36 // of the header, covered by the chain CRC
	checkedBytes = 40 // of the header, covered by the header CRC
	bodyCRCBytes = 4  // at the start of every body that is not empty
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the decoded header of an entry; docs/format/commitlog.md draws it.
type Header struct {
	Type       EntryType
	BodyLen    uint32 // bytes
	Index      Index
	Term       Term
	AppendTime int64 // unix nanoseconds, never less than the entry's before
	BodyCRC    uint32
	ChainCRC   uint32 // over the whole history up to this entry
}

// ParseHeader decodes an entry's header and checks magic, version, reserved
// bytes, type, bounds and the header CRC. Its error is an ErrInvalidEntry.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, fmt.Errorf("%w: %d bytes are no header", ErrInvalidEntry, len(b))
	}
	if m := binary.LittleEndian.Uint16(b); m != entryMagic {
		return Header{}, fmt.Errorf("%w: magic %#04x", ErrInvalidEntry, m)
	}
	if got, want := crc32.Checksum(b[:checkedBytes], castagnoli), binary.LittleEndian.Uint32(b[40:]); got != want {
		return Header{}, fmt.Errorf("%w: header CRC %08x, computed %08x", ErrInvalidEntry, want, got)
	}
	h := Header{
		Type:       EntryType(b[3]),
		BodyLen:    binary.LittleEndian.Uint32(b[4:]),
		Index:      Index(binary.LittleEndian.Uint64(b[8:])),
		Term:       Term(binary.LittleEndian.Uint64(b[16:])),
		AppendTime: int64(binary.LittleEndian.Uint64(b[24:])),
		BodyCRC:    binary.LittleEndian.Uint32(b[32:]),
		ChainCRC:   binary.LittleEndian.Uint32(b[36:]),
	}
	if err := h.check(b[2], binary.LittleEndian.Uint32(b[44:])); err != nil {
		return Header{}, err
	}
	return h, nil
}

func (h Header) check(version byte, reserved uint32) error {
	switch {
	case version != entryVersion:
		return fmt.Errorf("%w: version %d, this program knows %d", ErrInvalidEntry, version, entryVersion)
	case reserved != 0:
		return fmt.Errorf("%w: reserved bytes hold %#x", ErrInvalidEntry, reserved)
	case !h.Type.valid():
		return fmt.Errorf("%w: type %d", ErrInvalidEntry, h.Type)
	case h.BodyLen > MaxBodyBytes || h.BodyLen > 0 && h.BodyLen < bodyCRCBytes:
		return fmt.Errorf("%w: body of %d bytes", ErrInvalidEntry, h.BodyLen)
	case h.Index < 0 || h.Term < 1:
		return fmt.Errorf("%w: index %d, term %d", ErrInvalidEntry, h.Index, h.Term)
	}
	return nil
}

// NextEntry splits the first entry off b: its header, its body and what
// follows. The body's CRC is not verified, see Verify.
func NextEntry(b []byte) (h Header, body, rest []byte, err error) {
	h, err = ParseHeader(b)
	if err != nil {
		return Header{}, nil, nil, err
	}
	end := HeaderBytes + int(h.BodyLen)
	if len(b) < end {
		return Header{}, nil, nil, fmt.Errorf("%w: %d is cut off, it needs %d bytes of %d",
			ErrInvalidEntry, h.Index, end, len(b))
	}
	return h, b[HeaderBytes:end:end], b[end:], nil
}

// putHeader encodes h into the first HeaderBytes of b, chains it to the
// history whose CRC is prevChain and returns the new chain CRC.
func putHeader(b []byte, h Header, prevChain uint32) uint32 {
	binary.LittleEndian.PutUint16(b, entryMagic)
	b[2] = entryVersion
	b[3] = byte(h.Type)
	binary.LittleEndian.PutUint32(b[4:], h.BodyLen)
	binary.LittleEndian.PutUint64(b[8:], uint64(h.Index))
	binary.LittleEndian.PutUint64(b[16:], uint64(h.Term))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.AppendTime))
	binary.LittleEndian.PutUint32(b[32:], h.BodyCRC)
	chain := chainCRC(prevChain, b)
	binary.LittleEndian.PutUint32(b[36:], chain)
	binary.LittleEndian.PutUint32(b[40:], crc32.Checksum(b[:checkedBytes], castagnoli))
	binary.LittleEndian.PutUint32(b[44:], 0)
	return chain
}

// chainCRC is the rolling CRC of the history that ends with the entry whose
// header is given: CRC-32C of prev as four little-endian bytes, then the header.
func chainCRC(prev uint32, header []byte) uint32 {
	state := ^prev // the four bytes enter an empty CRC all at once
	for range 4 {
		state = castagnoli[byte(state)] ^ state>>8
	}
	return crc32.Update(^state, castagnoli, header[:chainedBytes])
}

// prevChainOf is the inverse of chainCRC: the chain before an entry, from its
// own chain and header. For a given header, chainCRC is one to one, so a CRC
// run backwards over the header and four zero bytes finds it.
func prevChainOf(chain uint32, header []byte) uint32 {
	state := ^chain
	for i := chainedBytes - 1; i >= 0; i-- {
		state = unstep(state, header[i])
	}
	for range 4 {
		state = unstep(state, 0)
	}
	return ^state
}

// unstep undoes state' = table[byte(state)^b] ^ state>>8.
func unstep(state uint32, b byte) uint32 {
	i := castagnoliByTop[state>>24]
	return (state^castagnoli[i])<<8 | uint32(i^b)
}

// castagnoliByTop maps the top byte of a table entry to the entry's number;
// the top bytes are a permutation, which is what makes a CRC reversible.
var castagnoliByTop = func() (byTop [256]byte) {
	for i, v := range castagnoli {
		byTop[v>>24] = byte(i)
	}
	return byTop
}()

// checkBody verifies the CRC that begins every body that is not empty.
func checkBody(h Header, body []byte) error {
	if len(body) == 0 {
		if h.BodyCRC != 0 {
			return fmt.Errorf("%w: %d is empty but its body CRC is %08x", ErrInvalidEntry, h.Index, h.BodyCRC)
		}
		return nil
	}
	own := binary.LittleEndian.Uint32(body)
	computed := crc32.Checksum(body[bodyCRCBytes:], castagnoli)
	if own != h.BodyCRC || own != computed {
		return fmt.Errorf("%w: %d has body CRC %08x in its header, %08x in its body, computed %08x",
			ErrInvalidEntry, h.Index, h.BodyCRC, own, computed)
	}
	return nil
}
