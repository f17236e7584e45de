package state

import (
	"encoding/binary"
	"errors"
)

// formatVersion is that of the keys and values together.
const formatVersion = 1

// valueVersion is the first byte of every value, so that one kind can change alone.
const valueVersion = 1

var errValue = errors.New("malformed value")

var errUnknownOwner = errors.New("progress of an unknown group or queue")

// applied is the value that every Apply writes.
type applied struct {
	index     Index
	term      Term
	hash      uint32
	nextQueue QueueID
	stamp     int64 // the newest append time of an entry, Unix nanoseconds; 0: not known
}

const (
	appliedVersion = 2 // 1 has no stamp
	appliedBytesV1 = 1 + 8 + 8 + 4 + 4
	appliedBytes   = appliedBytesV1 + 8
)

func (a applied) append(b []byte) []byte {
	b = append(b, appliedVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.index))
	b = binary.LittleEndian.AppendUint64(b, uint64(a.term))
	b = binary.LittleEndian.AppendUint32(b, a.hash)
	b = binary.LittleEndian.AppendUint32(b, uint32(a.nextQueue))
	return binary.LittleEndian.AppendUint64(b, uint64(a.stamp))
}

func parseApplied(b []byte) (applied, error) {
	first := len(b) == appliedBytesV1 && b[0] == valueVersion
	if !first && (len(b) != appliedBytes || b[0] != appliedVersion) {
		return applied{}, errValue
	}
	le := binary.LittleEndian
	a := applied{index: Index(le.Uint64(b[1:])), term: Term(le.Uint64(b[9:])), hash: le.Uint32(b[17:]), nextQueue: QueueID(le.Uint32(b[21:]))}
	if !first {
		a.stamp = int64(le.Uint64(b[25:]))
	}
	if a.index < 0 || a.nextQueue == 0 || a.stamp < 0 {
		return applied{}, errValue
	}
	return a, nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// valueReader reads fields off the front of a value; after a bad one only zeroes.
type valueReader struct {
	b   []byte
	bad bool
}

func (r *valueReader) version() {
	if len(r.b) == 0 || r.b[0] != valueVersion {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[1:]
}

func (r *valueReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *valueReader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *valueReader) uint32() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.bad = true
	}
	return uint32(v)
}

// int64 reads a number that is never negative.
func (r *valueReader) int64() int64 {
	v := r.uvarint()
	if v > 1<<63-1 {
		r.bad = true
	}
	return int64(v)
}

func (r *valueReader) fixed32() uint32 {
	if len(r.b) < 4 {
		r.b, r.bad = nil, true
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

func (r *valueReader) fixed64() uint64 {
	if len(r.b) < 8 {
		r.b, r.bad = nil, true
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *valueReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *valueReader) queues() []QueueID {
	n := r.uvarint()
	if n == 0 || n > uint64(len(r.b)) || n > MaxQueuesPerTopic {
		r.b, r.bad = nil, true
		return nil
	}
	queues := make([]QueueID, n)
	for i := range queues {
		queues[i] = QueueID(r.uint32())
	}
	return queues
}

// end says whether the value was read to its end and nothing was wrong.
func (r *valueReader) end() error {
	if r.bad || len(r.b) != 0 {
		return errValue
	}
	return nil
}
