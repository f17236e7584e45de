package state

import (
	"encoding/binary"
	"errors"
)

// Every key begins with one byte that says what it is. Numbers in keys are big
// endian, so that keys sort as their numbers do.
const (
	prefixApplied  = 'a' // a                                → applied index and what rolls along with it
	prefixBlock    = 'b' // b queue u32, first offset u64    → posting block
	prefixFormat   = 'f' // f                                → format of the store
	prefixProducer = 'p' // p producer id u64                → epoch, name
	prefixRequest  = 'r' // r ledger index u64               → request, outcome
	prefixTopic    = 't' // t name                           → topic
	prefixWindow   = 'w' // w queue u32, producer id u64     → window of the last batches

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
