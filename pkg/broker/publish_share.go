package broker

import "sync/atomic"

// leastShare is what every publish stream may have unanswered, however many there are.
const leastShare = 64 * kibibyte

// publishShare divides what this broker would have unanswered among the publish streams that
// wait for answers at the moment: what it may have in the ledger's hands. More would not be
// stored sooner: it would lie in this process's memory and wait for room there.
type publishShare struct {
	total, most Size
	waiting     atomic.Int64 // streams with a frame that is not answered
}

func newPublishShare(l LimitsConfig) *publishShare {
	return &publishShare{total: l.MaxPendingBytes, most: l.StreamWindowBytes}
}

// busy notes that so many more streams wait for answers.
func (s *publishShare) busy(more int64) { s.waiting.Add(more) }

// each is the share of one stream, in bytes.
func (s *publishShare) each() uint32 {
	return uint32(max(min(s.total/Size(max(1, s.waiting.Load())), s.most), leastShare))
}
