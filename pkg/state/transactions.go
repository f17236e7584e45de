package state

import (
	"encoding/binary"
)

// half is a half message: a batch that waits for the end of its transaction, whose
// id is that of the batch.
type half struct {
	id     Index // of the entry that brought it
	place  Index // the entry that holds it now
	queue  QueueID
	count  uint32
	group  uint32
	unixMs int64 // when it was appended, by the leader's clock
}

// ended is a transaction that has ended.
type ended struct {
	id     Index
	commit bool
	queue  QueueID
	base   Offset // of a committed one
	count  uint32
}

// transactions are those that are open, and the last ones that have ended.
type transactions struct {
	byID   map[Index]*half
	ended  map[Index]ended
	order  []Index // the entries that ended them, oldest first, from head on
	ids    []Index // of the transactions, likewise
	head   int
	groups map[string]uint32
	names  []string // of groups: the first one is number 1
	moved  int64    // half messages that were carried forward since the store was opened
}

func (t *transactions) add(h *half) {
	if t.byID == nil {
		t.byID = make(map[Index]*half)
	}
	t.byID[h.id] = h
}

func (t *transactions) addGroup(name string) uint32 {
	if t.groups == nil {
		t.groups = make(map[string]uint32)
	}
	t.names = append(t.names, name)
	t.groups[name] = uint32(len(t.names))
	return t.groups[name]
}

// remember notes an end and says which older one is forgotten for it.
func (t *transactions) remember(by Index, e ended) (forgotten Index, full bool) {
	if t.ended == nil {
		t.ended = make(map[Index]ended)
	}
	t.ended[e.id] = e
	t.order, t.ids = append(t.order, by), append(t.ids, e.id)
	if len(t.order)-t.head <= TransactionMemory {
		return 0, false
	}
	forgotten = t.order[t.head]
	delete(t.ended, t.ids[t.head])
	t.head++
	if t.head == TransactionMemory {
		t.order = append([]Index(nil), t.order[t.head:]...)
		t.ids = append([]Index(nil), t.ids[t.head:]...)
		t.head = 0
	}
	return forgotten, true
}

func (t *transactions) of(topic *Topic) (found []*half) {
	for _, h := range t.byID {
		if topic.has(h.queue) {
			found = append(found, h)
		}
	}
	return found
}

func (h *half) append(v []byte) []byte {
	v = append(v, valueVersion)
	v = binary.AppendUvarint(v, uint64(h.id))
	v = binary.AppendUvarint(v, uint64(h.queue))
	v = binary.AppendUvarint(v, uint64(h.count))
	v = binary.AppendUvarint(v, uint64(h.group))
	return binary.AppendUvarint(v, uint64(h.unixMs))
}

func parseHalf(key, v []byte) (*half, error) {
	place, err := parseMoreKey(key, prefixHalf)
	if err != nil {
		return nil, err
	}
	r := valueReader{b: v}
	r.version()
	h := &half{place: Index(place), id: Index(r.int64()), queue: QueueID(r.uint32()), count: r.uint32(), group: r.uint32(), unixMs: r.int64()}
	if h.id > h.place || h.count == 0 || h.group == 0 {
		r.bad = true
	}
	return h, r.end()
}

func (e ended) append(v []byte) []byte {
	v = append(v, valueVersion)
	v = binary.AppendUvarint(v, uint64(e.id))
	if !e.commit {
		return append(v, 0)
	}
	v = append(v, 1)
	v = binary.AppendUvarint(v, uint64(e.queue))
	v = binary.AppendUvarint(v, uint64(e.base))
	return binary.AppendUvarint(v, uint64(e.count))
}

func parseEnded(v []byte) (ended, error) {
	r := valueReader{b: v}
	r.version()
	e := ended{id: Index(r.int64()), base: NoOffset}
	switch r.uvarint() {
	case 0:
	case 1:
		e.commit, e.queue, e.base, e.count = true, QueueID(r.uint32()), Offset(r.int64()), r.uint32()
	default:
		r.bad = true
	}
	return e, r.end()
}
