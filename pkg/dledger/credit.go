package dledger

import (
	"sync/atomic"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// credit are received bytes that count against their stream until they are durable.
type credit struct {
	last  member.Index
	bytes int64
	flow  *flow
}

// flow counts the bytes of one inbound stream that are not durable yet. Its
// reader stops while they are too many.
type flow struct {
	held atomic.Int64
	wake chan struct{} // capacity 1: held has fallen
}

func newFlow() *flow { return &flow{wake: make(chan struct{}, 1)} }

func (f *flow) release(bytes int64) {
	f.held.Add(-bytes)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// settleCredits looks at what became of the pushes of this Take: those whose
// entries were written are owed until they are durable, the others are let go.
func (s *Server) settleCredits(u member.Update) {
	if u.Truncate != nil {
		s.releaseCredits(func(c credit) bool { return c.last >= *u.Truncate })
	}
	written := member.NoIndex
	if n := len(u.Append); n > 0 {
		written = u.Append[n-1].Last
	}
	for i, p := range s.core.received {
		c := credit{last: p.request.Last, bytes: int64(len(p.entries)), flow: p.from.flow}
		if c.last <= written && (len(u.Append) > 0 && c.last >= u.Append[0].First) {
			s.core.credits = append(s.core.credits, c)
		} else {
			c.flow.release(c.bytes)
		}
		p.frame.release() // the log has its own copy
		s.core.received[i] = nil
	}
}

// persistedCredits lets go what has become durable.
func (s *Server) persistedCredits(upTo member.Index) {
	s.releaseCredits(func(c credit) bool { return c.last <= upTo })
}

func (s *Server) releaseCredits(over func(credit) bool) {
	if len(s.core.credits) == 0 {
		return
	}
	kept := s.core.credits[:0]
	for _, c := range s.core.credits {
		if over(c) {
			c.flow.release(c.bytes)
		} else {
			kept = append(kept, c)
		}
	}
	clear(s.core.credits[len(kept):])
	s.core.credits = kept
}
