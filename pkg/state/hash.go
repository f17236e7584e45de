package state

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// roll chains the hash of the state over one more entry: what it was and what
// became of it.
func roll(previous uint32, e *Entry, o *Outcome) uint32 {
	var b [64]byte
	le := binary.LittleEndian
	le.PutUint32(b[0:], previous)
	le.PutUint64(b[4:], uint64(e.Index))
	le.PutUint64(b[12:], uint64(e.Term))
	le.PutUint64(b[20:], uint64(o.BaseOffset))
	le.PutUint64(b[28:], o.ProducerID)
	le.PutUint32(b[36:], o.Epoch)
	le.PutUint32(b[40:], uint32(o.Queue))
	le.PutUint32(b[44:], o.Count)
	b[48] = e.Type
	if o.Duplicate {
		b[49] = 1
	}
	if o.Topic != nil {
		b[50] = 1
		le.PutUint32(b[52:], uint32(o.Topic.Queues[0]))
		le.PutUint32(b[56:], uint32(len(o.Topic.Queues)))
	}
	if o.Waits {
		b[51] = 1
	}
	le.PutUint32(b[60:], o.digest())
	h := crc32.Update(0, castagnoli, b[:])
	if o.Code == CodeOK {
		return h
	}
	return crc32.Update(h, castagnoli, []byte(o.Code))
}

// Hash is the rolling hash of all that was applied, up to and with the entry at
// the index: equal on two members at one index when they did the same.
func (s *Store) Hash() (uint32, Index) {
	tip := s.tip.Load()
	return tip.hash, tip.index
}

// FullHash reads the whole store and hashes every key and value, as they are
// after the entry at the index. For tests and checks: it takes its time.
func (s *Store) FullHash() (sum [sha256.Size]byte, at Index, err error) {
	if !s.gate.enter() {
		return sum, NoIndex, ErrClosed
	}
	defer s.gate.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{})
	if err != nil {
		return sum, NoIndex, fmt.Errorf("state: hash the store: %w", err)
	}
	digest := sha256.New()
	at = NoIndex
	for ok := it.First(); ok; ok = it.Next() {
		hashPair(digest, it.Key(), it.Value())
		if it.Key()[0] == prefixApplied {
			if a, err := parseApplied(it.Value()); err == nil {
				at = a.index
			}
		}
	}
	if err := it.Close(); err != nil {
		return sum, NoIndex, s.corrupt(err, "reading it through")
	}
	return [sha256.Size]byte(digest.Sum(nil)), at, nil
}

func hashPair(digest hash.Hash, key, value []byte) {
	var lengths [8]byte
	binary.LittleEndian.PutUint32(lengths[0:], uint32(len(key)))
	binary.LittleEndian.PutUint32(lengths[4:], uint32(len(value)))
	_, _ = digest.Write(lengths[:])
	_, _ = digest.Write(key)
	_, _ = digest.Write(value)
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
