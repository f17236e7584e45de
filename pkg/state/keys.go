package state

import (
	"encoding/binary"
	"errors"
	"math"
)

// Every key begins with one byte that says what it is. Numbers in keys are big
// endian, so that keys sort as their numbers do.
const (
	prefixApplied = 'a' // a                                → applied index and what rolls along with it
	prefixBlock   = 'b' // b queue u32, first offset u64    → posting block
	prefixDelayed = 'd' // d ledger index u64               → batch that waits for its delivery time
	prefixFormat  = 'f' // f                                → format of the store
	// prefixGroup, g, stands in group_keys.go; prefixWork, q, in work_keys.go;
	// prefixPosting, k, and prefixKeyIndex, i, in key_index_keys.go.
	prefixProducer         = 'p' // p producer id u64                → epoch, name
	prefixRequest          = 'r' // r ledger index u64               → request, outcome
	prefixTopic            = 't' // t name                           → topic
	prefixMore             = 'x' // of which the second byte says what it is:
	prefixLate             = 'l' // x l bucket u64                   → oldest entry of which a batch was delivered late
	prefixHalf             = 'h' // x h ledger index u64             → half message
	prefixEnded            = 'e' // x e ledger index u64             → transaction that this entry has ended
	prefixUses             = 'p' // x p 0                            → since when uses of producers are noted
	prefixTransactionGroup = 'g' // x g group u64 → name of a transaction group
	prefixTrim             = 'o' // o queue u32 → oldest offset that is served
	prefixWindow           = 'w' // w queue u32, producer id u64     → window of the last batches

	blockKeyBytes  = 1 + 4 + 8
	windowKeyBytes = 1 + 4 + 8
	numberKeyBytes = 1 + 8
)

var errKey = errors.New("malformed key")

func appliedKey() []byte { return []byte{prefixApplied} }

func formatKey() []byte { return []byte{prefixFormat} }

func appendBlockKey(b []byte, q QueueID, first Offset) []byte {
	return appendPair(b, prefixBlock, q, uint64(first))
}

func parseBlockKey(key []byte) (QueueID, Offset, error) {
	q, n, err := parsePair(key, prefixBlock)
	return q, Offset(n), err
}

func appendWindowKey(b []byte, q QueueID, producer uint64) []byte {
	return appendPair(b, prefixWindow, q, producer)
}

func parseWindowKey(key []byte) (QueueID, uint64, error) {
	return parsePair(key, prefixWindow)
}

func appendTrimKey(b []byte, q QueueID) []byte {
	return binary.BigEndian.AppendUint32(append(b, prefixTrim), uint32(q))
}

func parseTrimKey(key []byte) (QueueID, error) {
	if len(key) != 1+4 || key[0] != prefixTrim {
		return 0, errKey
	}
	return QueueID(binary.BigEndian.Uint32(key[1:])), nil
}

func appendProducerKey(b []byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixProducer), id)
}

func parseProducerKey(key []byte) (uint64, error) { return parseNumber(key, prefixProducer) }

func appendRequestKey(b []byte, index Index) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixRequest), uint64(index))
}

func parseRequestKey(key []byte) (Index, error) {
	n, err := parseNumber(key, prefixRequest)
	return Index(n), err
}

func appendTopicKey(b []byte, name string) []byte {
	return append(append(b, prefixTopic), name...)
}

func parseTopicKey(key []byte) (string, error) {
	if len(key) < 2 || key[0] != prefixTopic {
		return "", errKey
	}
	return string(key[1:]), nil
}

func appendDelayedKey(b []byte, place Index) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixDelayed), uint64(place))
}

func parseDelayedKey(key []byte) (Index, error) {
	n, err := parseNumber(key, prefixDelayed)
	if n > math.MaxInt64 {
		err = errKey
	}
	return Index(n), err
}

func appendLateKey(b []byte, bucket Index) []byte {
	return appendMoreKey(b, prefixLate, uint64(bucket))
}

func appendMoreKey(b []byte, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixMore, kind), n)
}

func parseMoreKey(key []byte, kind byte) (uint64, error) {
	if len(key) != 2+8 || key[0] != prefixMore || key[1] != kind {
		return 0, errKey
	}
	n := binary.BigEndian.Uint64(key[2:])
	if n > math.MaxInt64 {
		return 0, errKey
	}
	return n, nil
}

// prefixEnd is the first key behind all those that begin with prefix.
func prefixEnd(prefix byte) []byte { return []byte{prefix + 1} }

func appendPair(b []byte, prefix byte, q QueueID, n uint64) []byte {
	b = binary.BigEndian.AppendUint32(append(b, prefix), uint32(q))
	return binary.BigEndian.AppendUint64(b, n)
}

func parsePair(key []byte, prefix byte) (QueueID, uint64, error) {
	if len(key) != blockKeyBytes || key[0] != prefix {
		return 0, 0, errKey
	}
	return QueueID(binary.BigEndian.Uint32(key[1:])), binary.BigEndian.Uint64(key[5:]), nil
}

func parseNumber(key []byte, prefix byte) (uint64, error) {
	if len(key) != numberKeyBytes || key[0] != prefix {
		return 0, errKey
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}
