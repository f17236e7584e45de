package state

import "encoding/binary"

// What the key index keeps.
const (
	prefixPosting  = 'k' // k queue u32, bucket u64, hash u32, base offset u64 → nothing
	prefixKeyIndex = 'i' // i and a second byte:
	keyIndexOf     = 'q' // i q queue u32        → where the index of the queue begins
	keysOfWaiting  = 'w' // i w ledger index u64 → hashes of the keys of a batch that waits

	postingKeyBytes = 1 + 4 + 8 + 4 + 8
)

func appendPostingKey(b []byte, q QueueID, bucket Offset, h KeyHash, base Offset) []byte {
	be := binary.BigEndian
	b = be.AppendUint32(append(b, prefixPosting), uint32(q))
	b = be.AppendUint64(b, uint64(bucket))
	return be.AppendUint64(be.AppendUint32(b, uint32(h)), uint64(base))
}

// parsePosting reads the base offset of a posting and checks that it stands where it
// belongs.
func parsePosting(key, value []byte) (Offset, error) {
	if len(key) != postingKeyBytes || key[0] != prefixPosting || len(value) != 0 {
		return 0, errKey
	}
	bucket, base := binary.BigEndian.Uint64(key[5:]), binary.BigEndian.Uint64(key[17:])
	if base>>keyBucketShift != bucket || base > 1<<63-1 {
		return 0, errKey
	}
	return Offset(base), nil
}

func appendKeyIndexKey(b []byte, q QueueID) []byte {
	return binary.BigEndian.AppendUint32(append(b, prefixKeyIndex, keyIndexOf), uint32(q))
}

func appendWaitingKeysKey(b []byte, id Index) []byte {
	return binary.BigEndian.AppendUint64(append(b, prefixKeyIndex, keysOfWaiting), uint64(id))
}

func appendHashes(b []byte, hashes []KeyHash) []byte {
	b = append(b, valueVersion)
	for _, h := range hashes {
		b = binary.LittleEndian.AppendUint32(b, uint32(h))
	}
	return b
}

func parseHashes(b []byte) ([]KeyHash, error) {
	r := valueReader{b: b}
	r.version()
	var hashes []KeyHash
	for len(r.b) > 0 && !r.bad {
		hashes = append(hashes, KeyHash(r.fixed32()))
	}
	if len(hashes) > maxWaitingKeys {
		return nil, errValue
	}
	return hashes, r.end()
}

// loadKeyIndex reads where an index begins, or the keys of a batch that waits.
func (w *working) loadKeyIndex(key, value []byte) error {
	switch {
	case len(key) == 2+4 && key[1] == keyIndexOf:
		q := w.queues[QueueID(binary.BigEndian.Uint32(key[2:]))]
		r := valueReader{b: value}
		r.version()
		from := r.int64()
		if q == nil || r.end() != nil {
			return errValue
		}
		q.keysFrom.Store(from)
		return nil
	case len(key) == 2+8 && key[1] == keysOfWaiting:
		id := Index(binary.BigEndian.Uint64(key[2:]))
		hashes, err := parseHashes(value)
		if err == nil && w.delays.byID[id] == nil && w.open.byID[id] == nil {
			err = errValue
		}
		w.keys.waiting[id] = hashes
		return err
	}
	return errKey
}
