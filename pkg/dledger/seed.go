package dledger

import (
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// noteLagging notes that p needs entries that are purged here. The member's
// outline of the ledger still has them, so it cannot know.
func (s *Server) noteLagging(p *peer, r member.PushRequest) {
	if !s.leads(r.Term) || p.lagging.Swap(true) {
		return
	}
	p.log.Warn("peer needs entries that are purged here: it must be seeded", "index", int64(r.First), "begin", int64(s.ledger.Begin()))
}

// needsSeed says whether a peer lacks entries that are purged here.
func (s *Server) needsSeed(id member.ID) bool {
	if p := s.peer(id); p != nil && p.lagging.Load() {
		return true
	}
	for _, p := range s.status.load().Peers {
		if p.ID == id {
			return p.State == member.PushNeedsSeed
		}
	}
	return false
}

// SeedOffered notes that a peer was told what it can have. Whether it still lacks
// something, the next push to it shows.
func (s *Server) SeedOffered(to member.ID) {
	if p := s.peer(to); p != nil {
		p.lagging.Store(false)
	}
}

// CheckPeer checks the header of a request that another service on the peer
// listener got, and says which member it comes from. The error is a gRPC status.
func (s *Server) CheckPeer(h *dledgerv1.Header) (member.ID, error) {
	p, err := s.checkHeader(h)
	switch {
	case err != nil:
		return "", err
	case p == nil:
		return "", status.Errorf(codes.PermissionDenied, "%q is not another member of group %s", h.GetFrom(), s.cfg.Group)
	case p.paused.Load():
		return "", errPaused
	}
	return p.id, nil
}

// Header opens a request of another service to a peer.
func (s *Server) Header(to member.ID) *dledgerv1.Header { return s.header(to) }

// Origin is what a log that begins at entry begin must know of the one before it.
// Errors: commitlog.ErrPurged, commitlog.ErrBeyondEnd.
func (s *Server) Origin(begin commitlog.Index) (commitlog.Origin, error) {
	term, err := s.ledger.TermAt(begin - 1)
	if err != nil {
		return commitlog.Origin{}, err
	}
	chain, err := s.ledger.ChainAt(begin - 1)
	return commitlog.Origin{Begin: begin, PrevTerm: term, PrevChain: chain}, err // the term in any case
}

// TermAt is the term of entry i of this member's log, also if it is damaged, or of
// the entry before its first one. Errors: commitlog.ErrPurged, commitlog.ErrBeyondEnd.
func (s *Server) TermAt(i commitlog.Index) (commitlog.Term, error) { return s.ledger.TermAt(i) }

// StampNotBefore makes the append times that this member gives to entries at least
// unixNano: the newest one of the state, whose entry may be purged here.
func (s *Server) StampNotBefore(unixNano int64) { s.ledger.StampNotBefore(unixNano) }

// Lacks says whether this member's log cannot be carried on by a leader whose log
// begins at the origin: it ends before, or holds another entry there. Such a log
// holds nothing from the origin on that is or could be committed. What is after a
// Close still holds.
func (s *Server) Lacks(at commitlog.Origin) bool {
	end, _ := s.ledger.End()
	if end < at.Begin-1 {
		return true
	}
	term, err := s.ledger.TermAt(at.Begin - 1)
	return err == nil && term != at.PrevTerm
}

// LogDir is where the commit log of a Server in dir is.
func LogDir(dir string) string { return filepath.Join(dir, logDirName) }

// CreateLog makes an empty commit log for a member in a directory of its own, at
// a later entry than the first. cfg is what Open will be told.
func CreateLog(cfg Config, dir string, at commitlog.Origin) error {
	lc := logConfig(cfg.withDefaults())
	lc.Dir, lc.Registerer = dir, nil
	return commitlog.Create(lc, at)
}
