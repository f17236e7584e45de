package state

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// MaxTrim is how many queues one TrimQueues or TrimKeyIndex may name.
const MaxTrim = 4_096

// trimQueues lets queues begin later. What stands below is not served any more, and
// the postings of it go, but for the newest block of a queue, which says where it ends.
// Queues that are gone are passed over.
func (w *working) trimQueues(out *pebble.Batch, c *recordv1.TrimQueues) (Outcome, error) {
	if n := len(c.GetOffsets()); n == 0 || n > MaxTrim {
		return refuse(CodeLimitExceeded, "%d queues to trim at once, 1 to %d are possible", n, MaxTrim), nil
	}
	// What this call has changed so far is written, so that the blocks can be read.
	if err := w.spill(out); err != nil {
		return Outcome{}, err
	}
	o := Outcome{BaseOffset: NoOffset}
	for _, to := range c.GetOffsets() {
		q := w.queues[QueueID(to.GetQueueId())]
		if q == nil {
			continue
		}
		first := min(max(q.trimmed, Offset(to.GetOffset())), q.end)
		if first > q.trimmed {
			if err := w.trimQueue(out, q, first); err != nil {
				return Outcome{}, err
			}
			o.Count++
		}
		var b [16]byte
		binary.LittleEndian.PutUint32(b[0:], o.Digest)
		binary.LittleEndian.PutUint32(b[4:], uint32(q.id))
		binary.LittleEndian.PutUint64(b[8:], uint64(q.trimmed))
		o.Digest = checksum(b[:])
	}
	return o, nil
}

func (w *working) trimQueue(out *pebble.Batch, q *queue, first Offset) error {
	keep := q.open.first
	if first < keep {
		var err error
		if keep, err = w.blockFirst(q, first); err != nil {
			return err
		}
	}
	q.trimmed = first
	q.raise(first) // before the keys go: a reader that finds none looks here again
	delRange(out, appendBlockKey(nil, q.id, 0), appendBlockKey(nil, q.id, keep))
	set(out, appendTrimKey(nil, q.id), binary.AppendUvarint([]byte{valueVersion}, uint64(first)))
	return nil
}

// spillTo writes what the call that runs has changed so far, applied index and all: how
// entries are grouped leaves no trace.
func (s *Store) spillTo(out *pebble.Batch) error {
	if s.work.index == s.tip.Load().index {
		return nil // this entry is the call's first
	}
	s.work.store(out)
	if err := out.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("state: apply up to entry %d: %w", s.work.index, err)
	}
	out.Reset()
	return nil
}

// blockFirst returns where the block begins that holds an offset of a queue, which is
// not in its open block.
func (s *Store) blockFirst(q *queue, at Offset) (Offset, error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: appendBlockKey(nil, q.id, 0), UpperBound: appendBlockKey(nil, q.id+1, 0)})
	if err != nil {
		return 0, fmt.Errorf("state: trim queue %d: %w", q.id, err)
	}
	first := NoOffset
	if it.SeekLT(appendBlockKey(nil, q.id, at+1)) {
		_, first, err = parseBlockKey(it.Key())
	}
	if closeErr := it.Close(); err == nil {
		err = closeErr
	}
	if err != nil || first == NoOffset {
		return 0, s.corrupt(err, "queue %d has no block for offset %d", q.id, at)
	}
	return first, nil
}

// loadTrim reads where a queue begins.
func (w *working) loadTrim(key, value []byte) error {
	id, err := parseTrimKey(key)
	if err != nil {
		return err
	}
	q := w.queues[id]
	r := valueReader{b: value}
	r.version()
	first := Offset(r.int64())
	if err := r.end(); err != nil || q == nil || first == 0 {
		return errValue
	}
	q.trimmed = first
	q.raise(first)
	return nil
}
