package dledger

import (
	"errors"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// holdsTruncate says whether a push is a truncation that the log cannot carry out
// yet: a TRUNCATE frame is chained to the entry before it, and that one is damaged
// here. The request counts as lost on its way. The leader, who has that entry, lends
// it like any other peer, and asks again with every heartbeat until this member can.
// What is behind in the damaged range need not be repaired: it goes.
func (s *Server) holdsTruncate(r member.PushRequest) bool {
	if r.Type != member.Truncate {
		return false
	}
	if term, err := s.ledger.TermAt(logIndex(r.First)); err != nil || term == logTerm(r.FirstTerm) {
		return false // there is nothing to truncate
	}
	err := s.ledger.Truncatable(logIndex(r.First))
	if !errors.Is(err, commitlog.ErrFaulty) {
		return false
	}
	if s.complaints.fresh("truncate held", time.Now()) {
		s.log.Warn("the leader has other entries than this damaged log: they are replaced when what stands before them is repaired. "+
			"If that does not come to an end (a whole segment file is missing there), give this member a new data directory",
			"from", int64(r.First), "leader", string(r.Leader), "err", err)
	}
	return true
}
