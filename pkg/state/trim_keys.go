package state

import (
	"cmp"
	"slices"

	recordv1 "github.com/ledgermq/ledgermq/proto/record/v1"
)

// TrimDue is the command that drops what key indexes still say of messages that this
// member's ledger has no more; nil: nothing is due. A leader proposes it.
func (s *Store) TrimDue() *recordv1.TrimKeyIndex {
	var due []*recordv1.QueueOffset
	for _, q := range s.catalog.Load().queues {
		first, from := Offset(q.first.Load()), Offset(q.keysFrom.Load())
		if from != NoOffset && first>>keyBucketShift > from>>keyBucketShift {
			due = append(due, &recordv1.QueueOffset{QueueId: uint32(q.id), Offset: int64(first)})
		}
	}
	if len(due) == 0 {
		return nil
	}
	slices.SortFunc(due, func(a, b *recordv1.QueueOffset) int { return cmp.Compare(a.GetQueueId(), b.GetQueueId()) })
	return &recordv1.TrimKeyIndex{Offsets: due[:min(len(due), MaxTrim)]}
}
