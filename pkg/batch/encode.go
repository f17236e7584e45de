package batch

import (
	"encoding/binary"
	"math/bits"
)

// The flags of a record: bits 0-2 are its type.
const (
	flagType = 0b0111
	flagKey  = 0b1000 // there is a key, be it empty

	// minRecordBytes is an empty record: its length, time, flags, five empty
	// fields, no delivery time, no headers.
	minRecordBytes = 10
)

// RecordSize is the number of bytes that r takes in a batch, before compression,
// with at most a few to spare. It does not check r.
func RecordSize(r *Record) int {
	return spareBytes + bodySize(r)
}

// noNames is the encoding of no key, no tag, no message id and no message group.
var noNames [4]byte

const (
	maxLengthBytes = 4 // of a record's length: MaxBatchBytes needs no more
	// spareBytes are what a record's length and time take at most.
	spareBytes = maxLengthBytes + binary.MaxVarintLen64
)

// appendRecord encodes r, which is of that RecordSize, and whose time is relative to
// that of the batch's first record.
func appendRecord(b []byte, r *Record, size int, first int64) []byte {
	delta := r.Timestamp - first
	b = binary.AppendUvarint(b, uint64(size-spareBytes+varintLen(delta)))
	b = binary.AppendVarint(b, delta)
	flags := uint64(r.Type)
	if r.Key != nil {
		flags |= flagKey
	}
	b = binary.AppendUvarint(b, flags)
	if len(r.Key)+len(r.Tag)+len(r.MessageID)+len(r.MessageGroup) == 0 {
		b = append(b, noNames[:]...)
	} else {
		b = appendBytes(b, r.Key)
		b = appendString(b, r.Tag)
		b = appendString(b, r.MessageID)
		b = appendString(b, r.MessageGroup)
	}
	b = appendBytes(b, r.Value)
	b = binary.AppendVarint(b, deliveryDelta(r))
	b = binary.AppendUvarint(b, uint64(len(r.Headers)))
	for i := range r.Headers {
		b = appendString(b, r.Headers[i].Key)
		b = appendBytes(b, r.Headers[i].Value)
	}
	if len(r.Properties) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, uint64(len(r.Properties)))
	for i := range r.Properties {
		b = binary.AppendUvarint(b, r.Properties[i].ID)
		b = appendBytes(b, r.Properties[i].Value)
	}
	return b
}

// bodySize is what appendRecord writes behind the record's time.
func bodySize(r *Record) int {
	n := 1 + fieldSize(len(r.Key)) + fieldSize(len(r.Tag)) + fieldSize(len(r.MessageID)) +
		fieldSize(len(r.MessageGroup)) + fieldSize(len(r.Value)) + varintLen(deliveryDelta(r)) + uvarintLen(uint64(len(r.Headers)))
	for i := range r.Headers {
		n += fieldSize(len(r.Headers[i].Key)) + fieldSize(len(r.Headers[i].Value))
	}
	if len(r.Properties) == 0 {
		return n
	}
	n += uvarintLen(uint64(len(r.Properties)))
	for i := range r.Properties {
		n += uvarintLen(r.Properties[i].ID) + fieldSize(len(r.Properties[i].Value))
	}
	return n
}

// deliveryDelta is the stored form of DeliverAt: 0 for none, else its distance
// from the record's time, moved up by one from zero on so that 0 stays free.
func deliveryDelta(r *Record) int64 {
	if r.DeliverAt == 0 {
		return 0
	}
	delta := r.DeliverAt - r.Timestamp
	if delta >= 0 {
		delta++
	}
	return delta
}

func appendBytes(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

func appendString(b []byte, field string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))), field...)
}

func fieldSize(n int) int { return uvarintLen(uint64(n)) + n }

// uvarintLen is the number of bits by seven, rounded up; shifting does the same as
// dividing, and there is one per field of each record.
func uvarintLen(v uint64) int { return (9*bits.Len64(v|1) + 64) >> 6 }

func varintLen(v int64) int { return uvarintLen(uint64(v<<1) ^ uint64(v>>63)) }
