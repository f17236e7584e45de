package dledger

import (
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
)

// Begin is the first entry that this member's log keeps.
func (s *Server) Begin() commitlog.Index { return s.ledger.Begin() }

// Segments describes the log's segments, oldest first; the last one is active.
func (s *Server) Segments() ([]commitlog.SegmentInfo, error) { return s.ledger.Segments() }

// AppendTime is when the leader of its term appended entry i.
func (s *Server) AppendTime(i commitlog.Index) (time.Time, error) { return s.ledger.AppendTime(i) }

// PurgeBefore deletes the oldest segments whose entries are all below i. The
// member keeps its outline of what is gone: that stays true. Entries above the
// commit index are never purged, whatever i is.
func (s *Server) PurgeBefore(i commitlog.Index) error {
	return s.ledger.PurgeBefore(min(i, s.commit.load()+1))
}
