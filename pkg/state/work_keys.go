package state

import (
	"encoding/binary"
	"math"

	"github.com/cockroachdb/pebble/v2"
)

// The keys of work-queue groups begin with prefixWork and a second byte.
const (
	prefixWork = 'q'
	workDone   = 'a' // q a group id u64, queue u32             → what is done above the progress
	workTry    = 't' // q t group id u64, queue u32, offset u64 → attempts, visible at

	workDoneKeyBytes = 2 + 8 + 4
	workTryKeyBytes  = workDoneKeyBytes + 8
)

func appendWorkKey(b []byte, kind byte, group uint64, q QueueID) []byte {
	b = binary.BigEndian.AppendUint64(append(b, prefixWork, kind), group)
	return binary.BigEndian.AppendUint32(b, uint32(q))
}

func appendTryKey(b []byte, group uint64, q QueueID, o Offset) []byte {
	return binary.BigEndian.AppendUint64(appendWorkKey(b, workTry, group, q), uint64(o))
}

// parseWorkKey reads a key of either kind; offset is 0 for workDone.
func parseWorkKey(key []byte) (kind byte, group uint64, q QueueID, o Offset, err error) {
	if len(key) < 2 || key[0] != prefixWork {
		return 0, 0, 0, 0, errKey
	}
	kind = key[1]
	switch {
	case kind == workDone && len(key) == workDoneKeyBytes:
	case kind == workTry && len(key) == workTryKeyBytes && binary.BigEndian.Uint64(key[14:]) <= math.MaxInt64:
		o = Offset(binary.BigEndian.Uint64(key[14:]))
	default:
		return 0, 0, 0, 0, errKey
	}
	return kind, binary.BigEndian.Uint64(key[2:]), QueueID(binary.BigEndian.Uint32(key[10:])), o, nil
}

// delWork removes the keys of a group in the queues first to last.
func delWork(out *pebble.Batch, group uint64, first, last QueueID) {
	for _, kind := range []byte{workDone, workTry} {
		to := appendWorkKey(nil, kind, group, last+1)
		if last == math.MaxUint32 {
			to = appendWorkKey(nil, kind, group+1, 0)
		}
		delRange(out, appendWorkKey(nil, kind, group, first), to)
	}
}

// loadWork reads one key of a work-queue group; progress was read before.
func (w *working) loadWork(key, value []byte) error {
	kind, id, q, o, err := parseWorkKey(key)
	if err != nil {
		return err
	}
	st := w.groups.find(id)
	if st == nil || st.group.Work == nil || w.queues[q] == nil {
		return errUnknownOwner
	}
	p, _ := st.of(q)
	of := w.groups.workOf(st, q)
	if kind == workDone {
		of.done, err = parseDoneSet(value)
		of.stored = true
		if err == nil && (of.done.base != p.Offset&^63 || of.done.has(p.Offset) || of.done.words[0]&(1<<(uint64(p.Offset)%64)-1) != 0) {
			err = errValue
		}
		return err
	}
	if of.tries[o], err = parseTry(value); err == nil && o < p.Offset {
		err = errValue
	}
	w.groups.mu.tries++
	return err
}
