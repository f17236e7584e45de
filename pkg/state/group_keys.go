package state

import "encoding/binary"

// The keys of consumer groups begin with prefixGroup and a second byte.
const (
	prefixGroup    = 'g'
	groupsOwn      = 'g' // g g name                          → group
	groupsProgress = 'p' // g p group id u64, queue u32       → progress

	progressKeyBytes = 2 + 8 + 4
)

func appendGroupKey(b []byte, name string) []byte {
	return append(append(b, prefixGroup, groupsOwn), name...)
}

func appendProgressKey(b []byte, group uint64, q QueueID) []byte {
	b = binary.BigEndian.AppendUint64(append(b, prefixGroup, groupsProgress), group)
	return binary.BigEndian.AppendUint32(b, uint32(q))
}

func parseProgressKey(key []byte) (group uint64, q QueueID, err error) {
	if len(key) != progressKeyBytes || key[0] != prefixGroup || key[1] != groupsProgress {
		return 0, 0, errKey
	}
	return binary.BigEndian.Uint64(key[2:]), QueueID(binary.BigEndian.Uint32(key[10:])), nil
}

// loadGroup reads a group or a progress record: groups sort before progress.
func (w *working) loadGroup(key, value []byte) error {
	if len(key) > 2 && key[1] == groupsOwn {
		g, err := parseGroup(string(key[2:]), value)
		if err != nil {
			return err
		}
		if w.groups.find(g.ID) != nil {
			return errValue
		}
		w.groups.add(g)
		return nil
	}
	id, q, err := parseProgressKey(key)
	if err != nil {
		return err
	}
	p, err := parseProgress(value)
	if err != nil {
		return err
	}
	st := w.groups.find(id)
	if st == nil || w.queues[q] == nil {
		return errUnknownOwner
	}
	w.groups.set(st, q, p)
	return nil
}
