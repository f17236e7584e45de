package batch

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

const (
	// HeaderBytes is the length of a batch's header.
	HeaderBytes = 80
	// MaxBatchBytes bounds a whole batch, header included, both as it travels and
	// with its records uncompressed. Brokers are configured to less.
	MaxBatchBytes = 16 << 20
	// MaxPublishedBytes bounds what producers publish, likewise. It is less, so that a
	// broker has room for headers of its own in a message that it moves: a dead letter.
	MaxPublishedBytes = MaxBatchBytes - 4<<10
	// MaxRecords bounds the records of one batch.
	MaxRecords = 1 << 17
	// MaxTimestamp bounds timestamps and delivery times, in Unix milliseconds: the
	// integers that every JSON reader keeps exactly.
	MaxTimestamp = 1 << 53
	// MaxSequence bounds the sequence number of the last record of a batch.
	MaxSequence = math.MaxInt64 >> 1

	magic   = 0x424D // "MB" read as little endian
	version = 1
	// versionHeld is that of batches which get their queue offsets later than they
	// are applied. All others stay version 1, which every build reads.
	versionHeld = 2
	// versionGrouped is that of batches of which every record has a message group.
	// Only topics with a type are sent it, and those only builds know that know it too.
	versionGrouped = 3

	offCRC        = 0
	offMagic      = 4
	offVersion    = 6
	offReserved7  = 7
	offLength     = 8
	offAttributes = 12
	offReserved14 = 14
	offQueue      = 16
	offCount      = 20
	offProducer   = 24
	offEpoch      = 32
	offReserved36 = 36
	offSequence   = 40
	offFirstTime  = 48
	offMaxTime    = 56
	offRecords    = 64
	offDeliverAt  = 68 // version 1: reserved
	offGroup      = 76 // version 1: reserved

	attrCompression = 0b0111
	attrAppendTime  = 0b1000
	attrDelayed     = 0b1_0000 // version 2
	attrHalf        = 0b10_0000
	attrHeld        = attrDelayed | attrHalf
	attrGrouped     = 0b100_0000 // version 3
)

// Compression says how the records of a batch are packed.
type Compression uint8

// The ways to pack records. 3 is reserved for lz4 and refused in version 1.
const (
	None Compression = 0
	S2   Compression = 1
	Zstd Compression = 2
)

// String returns the name used in configuration: none, s2 or zstd.
func (c Compression) String() string {
	switch c {
	case None:
		return "none"
	case S2:
		return "s2"
	case Zstd:
		return "zstd"
	}
	return "reserved"
}

// ParseCompression is the inverse of String; the empty name is none.
func ParseCompression(name string) (Compression, error) {
	switch name {
	case "", "none":
		return None, nil
	case "s2":
		return S2, nil
	case "zstd":
		return Zstd, nil
	}
	return None, invalid("compression %q is not one of none, s2, zstd", name)
}

// Header is what stands in front of the records of a batch.
type Header struct {
	// CRC is the CRC-32C of everything that follows it, Length-4 bytes.
	CRC uint32
	// Length is that of the whole batch in bytes, this header included.
	Length      uint32
	Compression Compression
	// AppendTime is set when consumers shall take the time at which the leader
	// appended the batch for that of each record.
	AppendTime bool
	// Queue is the broker's number of the queue; never 0.
	Queue uint32
	// Count of records, 1 to MaxRecords.
	Count uint32
	// ProducerID is 0 for a producer that is not idempotent; its epoch and
	// sequence are 0 then.
	ProducerID    uint64
	ProducerEpoch uint32
	FirstSequence int64
	// FirstTimestamp is that of the first record, MaxTimestamp the highest of all, Unix ms.
	FirstTimestamp int64
	MaxTimestamp   int64
	// RecordsBytes is the length of the records before compression.
	RecordsBytes uint32
	// DeliverAt is when the records may be delivered, all of them, Unix ms; 0: at once.
	DeliverAt int64
	// TransactionGroup is set on a half message, which is not delivered before its
	// transaction is committed: the broker's number of the group of producers that can
	// say whether it is. 0: no transaction. Never together with DeliverAt.
	TransactionGroup uint32
	// Grouped says that every record has a message group. Never together with DeliverAt
	// or TransactionGroup.
	Grouped bool
}

// version is the lowest version of the format that can say what h says.
func (h Header) version() uint8 {
	if h.DeliverAt != 0 || h.TransactionGroup != 0 {
		return versionHeld
	}
	if h.Grouped {
		return versionGrouped
	}
	return version
}

// LastSequence is the sequence number of the last record.
func (h Header) LastSequence() int64 { return h.FirstSequence + int64(h.Count) - 1 }

// ParseHeader reads and checks the first HeaderBytes of b. It looks at nothing
// behind them: whether b holds the whole batch, undamaged, is for Verify to say.
// Errors are ErrInvalid or ErrTooLarge.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, invalid("%d bytes are less than a header of %d", len(b), HeaderBytes)
	}
	if err := checkFixed(b); err != nil {
		return Header{}, err
	}
	le := binary.LittleEndian
	attributes := le.Uint16(b[offAttributes:])
	h := Header{
		CRC:            le.Uint32(b[offCRC:]),
		Length:         le.Uint32(b[offLength:]),
		Compression:    Compression(attributes & attrCompression),
		AppendTime:     attributes&attrAppendTime != 0,
		Queue:          le.Uint32(b[offQueue:]),
		Count:          le.Uint32(b[offCount:]),
		ProducerID:     le.Uint64(b[offProducer:]),
		ProducerEpoch:  le.Uint32(b[offEpoch:]),
		FirstSequence:  int64(le.Uint64(b[offSequence:])),
		FirstTimestamp: int64(le.Uint64(b[offFirstTime:])),
		MaxTimestamp:   int64(le.Uint64(b[offMaxTime:])),
		RecordsBytes:   le.Uint32(b[offRecords:]),
		DeliverAt:      int64(le.Uint64(b[offDeliverAt:])),

		TransactionGroup: le.Uint32(b[offGroup:]),
		Grouped:          attributes&attrGrouped != 0,
	}
	if (h.DeliverAt != 0) != (attributes&attrDelayed != 0) || (h.TransactionGroup != 0) != (attributes&attrHalf != 0) {
		return Header{}, invalid("delivery time %d and transaction group %d do not go with attributes %#04x", h.DeliverAt, h.TransactionGroup, attributes)
	}
	if err := h.check(); err != nil {
		return Header{}, err
	}
	return h, nil
}

// checkFixed checks what can have only one value.
func checkFixed(b []byte) error {
	le := binary.LittleEndian
	if m := le.Uint16(b[offMagic:]); m != magic {
		return invalid("magic is %#04x, not %#04x", m, magic)
	}
	attributes := uint16(attrCompression | attrAppendTime)
	reserved := uint64(b[offReserved7]) | uint64(le.Uint16(b[offReserved14:])) | uint64(le.Uint32(b[offReserved36:]))
	a := le.Uint16(b[offAttributes:])
	switch v := b[offVersion]; {
	case v == version:
		reserved |= le.Uint64(b[offDeliverAt:]) | uint64(le.Uint32(b[offGroup:]))
	case v == versionHeld && a&attrHeld != 0: // else version 1 says the same
		attributes |= attrHeld
	case v == versionGrouped && a&attrGrouped != 0: // likewise
		attributes |= attrGrouped
		reserved |= le.Uint64(b[offDeliverAt:]) | uint64(le.Uint32(b[offGroup:]))
	default:
		return invalid("version is %d, this build knows %d, %d for batches that wait, and %d for those with message groups", v, version, versionHeld, versionGrouped)
	}
	if a&^attributes != 0 {
		return invalid("attributes %#04x hold reserved bits", a)
	}
	if reserved != 0 {
		return invalid("reserved bytes are not zero")
	}
	return nil
}

// check is what any header must satisfy, read or about to be written.
func (h Header) check() error {
	if h.Length > MaxBatchBytes {
		return &LimitError{What: "batch bytes", Size: int(h.Length), Max: MaxBatchBytes}
	}
	if h.RecordsBytes > MaxBatchBytes-HeaderBytes {
		return &LimitError{What: "uncompressed record bytes", Size: int(h.RecordsBytes), Max: MaxBatchBytes - HeaderBytes}
	}
	if h.Count > MaxRecords {
		return &LimitError{What: "record count", Size: int(h.Count), Max: MaxRecords}
	}
	switch {
	case h.Length <= HeaderBytes:
		return invalid("length of %d leaves no room for records", h.Length)
	case h.Compression > Zstd:
		return invalid("compression %d is reserved", uint8(h.Compression))
	case h.Compression == None && h.Length != HeaderBytes+h.RecordsBytes:
		return invalid("length is %d, header and uncompressed records are %d", h.Length, HeaderBytes+h.RecordsBytes)
	case h.Queue == 0:
		return invalid("queue id is 0")
	case h.Count == 0:
		return invalid("record count is 0")
	case uint64(h.Count)*minRecordBytes > uint64(h.RecordsBytes):
		return invalid("%d records do not fit into %d bytes", h.Count, h.RecordsBytes)
	case h.FirstTimestamp < 0 || h.FirstTimestamp > h.MaxTimestamp || h.MaxTimestamp > MaxTimestamp:
		return invalid("timestamps %d to %d are not between 0 and %d", h.FirstTimestamp, h.MaxTimestamp, int64(MaxTimestamp))
	}
	if h.DeliverAt < 0 || h.DeliverAt > MaxTimestamp {
		return invalid("delivery time %d is not between 0 and %d ms", h.DeliverAt, int64(MaxTimestamp))
	}
	if h.DeliverAt != 0 && h.TransactionGroup != 0 {
		return invalid("it is delayed and a half message at once")
	}
	if h.Grouped && (h.DeliverAt != 0 || h.TransactionGroup != 0) {
		return invalid("it has message groups and waits")
	}
	return h.checkProducer()
}

func (h Header) checkProducer() error {
	switch {
	case h.ProducerID == 0 && (h.ProducerEpoch != 0 || h.FirstSequence != 0):
		return invalid("epoch %d or sequence %d without a producer id", h.ProducerEpoch, h.FirstSequence)
	case h.FirstSequence < 0 || h.FirstSequence > MaxSequence-int64(h.Count):
		return invalid("first sequence %d is out of range", h.FirstSequence)
	}
	return nil
}

// put writes h over the first HeaderBytes of b, which is the whole batch, and
// then its CRC.
func (h Header) put(b []byte) {
	le := binary.LittleEndian
	clear(b[:HeaderBytes])
	attributes := uint16(h.Compression)
	if h.AppendTime {
		attributes |= attrAppendTime
	}
	if h.DeliverAt != 0 {
		attributes |= attrDelayed
	}
	if h.TransactionGroup != 0 {
		attributes |= attrHalf
	}
	if h.Grouped {
		attributes |= attrGrouped
	}
	le.PutUint16(b[offMagic:], magic)
	b[offVersion] = h.version()
	le.PutUint32(b[offLength:], uint32(len(b)))
	le.PutUint16(b[offAttributes:], attributes)
	le.PutUint32(b[offQueue:], h.Queue)
	le.PutUint32(b[offCount:], h.Count)
	le.PutUint64(b[offProducer:], h.ProducerID)
	le.PutUint32(b[offEpoch:], h.ProducerEpoch)
	le.PutUint64(b[offSequence:], uint64(h.FirstSequence))
	le.PutUint64(b[offFirstTime:], uint64(h.FirstTimestamp))
	le.PutUint64(b[offMaxTime:], uint64(h.MaxTimestamp))
	le.PutUint32(b[offRecords:], h.RecordsBytes)
	le.PutUint64(b[offDeliverAt:], uint64(h.DeliverAt))
	le.PutUint32(b[offGroup:], h.TransactionGroup)
	le.PutUint32(b[offCRC:], checksum(b))
}

// checksum is the CRC-32C of a whole batch but for the four bytes that hold it.
func checksum(b []byte) uint32 {
	return crc32.Checksum(b[offCRC+4:], castagnoli)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)
