package dledger

import (
	"context"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
	dledgerv1 "github.com/ledgermq/ledgermq/proto/dledger/v1"
)

// digest is the rolling CRC over the whole history up to a committed entry: two
// members that have the same one at the same index hold the same ledger.
type digest struct {
	index commitlog.Index
	crc   uint32
}

// digestAt is the digest at a committed index, if the log still has that entry.
func (s *Server) digestAt(index commitlog.Index) (digest, bool) {
	if d := s.lastDigest.Load(); d != nil && d.index == index {
		return *d, true
	}
	if index < 0 {
		return digest{}, false
	}
	crc, err := s.ledger.ChainAt(index)
	if err != nil {
		return digest{}, false
	}
	d := &digest{index, crc}
	s.lastDigest.Store(d)
	return *d, true
}

// LogHash is the rolling CRC over the ledger up to the commit index. Members with
// the same commit index have the same one.
func (s *Server) LogHash() (crc uint32, at commitlog.Index) {
	d, ok := s.digestAt(s.commit.load())
	if !ok {
		return 0, commitlog.NoIndex
	}
	return d.crc, d.index
}

// compareDigest compares the leader's history with this member's, where both know
// that it is committed, and says whether they differ.
func (s *Server) compareDigest(leader *peer, r *dledgerv1.HeartBeatRequest) bool {
	index := commitlog.Index(r.GetDigestIndex())
	if leader == nil || index < 0 || index > s.commit.load() {
		return false
	}
	own, ok := s.digestAt(index)
	if !ok || own.crc == r.GetDigest() {
		return false
	}
	s.noteDivergence(leader, "the leader's history differs from this member's")
	return true
}

// noteDivergence raises the alarm once; it never falls by itself, because a
// history that differs does not heal.
func (s *Server) noteDivergence(p *peer, what string) {
	if p.diverged.Swap(true) {
		return
	}
	s.metrics.divergence.WithLabelValues(string(p.id)).Set(1)
	p.log.Error("ledgers differ at a committed entry: stop this member and compare the two commit logs before anything else", "what", what)
}

// ownInfo is what this member says about itself.
func (s *Server) ownInfo() *dledgerv1.MemberInfo {
	seat, _ := s.status.load().Members.Seat(s.cfg.ID)
	seat.ID = s.cfg.ID
	return &dledgerv1.MemberInfo{
		Id: string(s.cfg.ID), ClientAddr: s.cfg.ClientAddr, Incarnation: s.cfg.Incarnation, Trouble: s.ownTrouble(), PeerAddr: s.addressOf(seat),
	}
}

// directory is what this member knows of everyone, itself first.
func (s *Server) directory() []*dledgerv1.MemberInfo {
	all := []*dledgerv1.MemberInfo{s.ownInfo()}
	for _, p := range s.peerList() {
		if info := p.info.Load(); info.clientAddr != "" {
			all = append(all, &dledgerv1.MemberInfo{Id: string(p.id), ClientAddr: info.clientAddr, Incarnation: info.incarnation, Trouble: info.trouble})
		}
	}
	return all
}

// learnMembers keeps what the leader says about everyone else.
func (s *Server) learnMembers(ctx context.Context, members []*dledgerv1.MemberInfo) {
	changed := false
	for _, m := range members {
		if p := s.peer(member.ID(m.GetId())); p != nil {
			changed = p.learn(memberInfo{m.GetClientAddr(), m.GetIncarnation(), m.GetTrouble()}) || changed
		}
	}
	if changed {
		s.deliver(ctx, letter{})
	}
}
