package dledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ledgermq/ledgermq/pkg/commitlog"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// Status is a member and its group as seen from here. It is a copy.
type Status struct {
	ID     member.ID
	Role   member.Role
	Term   member.Term
	Leader member.ID // empty: not known
	// LeaderClientAddr is where clients reach the leader; empty: not known.
	LeaderClientAddr string
	// Serving is set on a leader that has applied everything of earlier terms.
	Serving bool
	// Transferee is the member that the leadership is being handed to, if any.
	Transferee member.ID

	Begin, End commitlog.Index // first and last entry of the log
	EndTerm    commitlog.Term  // of the last entry
	Durable    commitlog.Index
	Commit     commitlog.Index
	Applied    commitlog.Index
	// Suspect are the entries of which this member's disk has no good copy.
	// While any of them is not lost everywhere, it may not vote.
	Suspect []SuspectRange

	// LastSync is how long the last fdatasync took, SyncHangs how long the one
	// that runs now has been running.
	LastSync, SyncHangs time.Duration
	// OwnDuplicate is set while another broker with this member's id is about.
	OwnDuplicate bool
	// MayVote says whether this member may vote and stand. If not, Standing says why
	// and what to do, or Outcast, of one that has no seat or was given up.
	MayVote  bool
	Standing string
	founding bool // it waits for a new group to begin
	proven   bool // its directory may count; it never goes back

	// Members is the group as this member knows it, Seat its own place: SeatVoter,
	// SeatLearner or SeatNone.
	Members member.Members
	Seat    string
	// Changing is set while the newest change of the group is not known to be committed.
	Changing bool
	// Outcast says why this member is not, or seems not to be, in the group, and what
	// to do about it; empty: it is.
	Outcast string
	// Generation names the group since the last recovery without a majority, of which
	// Recoveries has the records; empty: there was none.
	Generation string
	Recoveries []Recovery

	// Failover is this member's latest election.
	Failover Failover
	Peers    []PeerStatus
}

// PeerStatus is another member as seen from here.
type PeerStatus struct {
	ID          member.ID
	Addr        string // of its peer listener
	ClientAddr  string // empty: not known yet
	Incarnation string // of its data directory; empty: not known yet
	Connected   bool
	ActiveSince time.Time // since when it has been connected
	Paused      bool
	Healthy     bool // it last said that it is fit to lead
	// Trouble is why it should not lead, in its own words; empty: nothing known.
	Trouble    string
	Diverged   bool // its committed history differs from this member's
	Duplicate  bool // two brokers use its id
	MayNotVote bool // its directory is new, or its ledger damaged: it is not counted
	// Match is how far its durable ledger is known to match; only a leader knows.
	Match commitlog.Index
	// Seat is SeatVoter, SeatLearner or SeatLeaving.
	Seat string
	// LastHeard is when it last answered; only a leader knows.
	LastHeard time.Time
	// State is what the leader does with it.
	State member.PushState
}

// Status returns what this member knows at this moment. Indexes and peers are at
// most one tick of the state maintainer old.
func (s *Server) Status() *Status {
	st := *s.status.load()
	st.Peers = slices.Clone(st.Peers)
	for i := range st.Peers {
		if p := s.peer(st.Peers[i].ID); p != nil {
			p.describe(&st.Peers[i])
		}
	}
	st.Serving = st.Role == member.Leader && s.isServing()
	st.Begin = s.ledger.Begin()
	st.End, st.EndTerm = s.ledger.End()
	st.Durable, _ = s.ledger.Durable()
	st.Suspect = slices.Clone(s.suspect.load())
	st.Commit = s.commit.load()
	st.Applied = commitlog.Index(s.applied.Load())
	st.LastSync = time.Duration(s.lastSync.Load())
	if began := s.syncBegan.Load(); began != nil {
		st.SyncHangs = time.Since(*began)
	}
	if at := s.duplicateAt.Load(); at != nil {
		st.OwnDuplicate = time.Since(*at) < duplicateFor
	}
	return &st
}

// Changes returns a number that grows, and a channel that is closed, whenever
// Status says something new about roles, leaders, addresses or connections.
func (s *Server) Changes() (version uint64, changed <-chan struct{}) {
	_, version, changed = s.status.watch()
	return version, changed
}

// WaitCommitted waits until an entry above after is committed and returns the
// commit index.
func (s *Server) WaitCommitted(ctx context.Context, after commitlog.Index) (commitlog.Index, error) {
	for {
		index, _, changed := s.commit.watch()
		if index > after {
			return index, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return index, fmt.Errorf("wait for an entry above %d to be committed: %w", after, ctx.Err())
		case <-s.stopping:
			return index, s.refusal(CodeShuttingDown, "this broker is stopping")
		}
	}
}

// describe fills in what the peer's own goroutines know.
func (p *peer) describe(st *PeerStatus) {
	info := p.info.Load()
	st.Addr, st.ClientAddr, st.Incarnation, st.Trouble = p.addr, info.clientAddr, info.incarnation, info.trouble
	st.Connected, st.ActiveSince = false, time.Time{}
	if since := p.active.Load(); since != nil {
		st.Connected, st.ActiveSince = true, *since
	}
	st.Paused, st.Healthy, st.Diverged = p.paused.Load(), p.healthy.Load(), p.diverged.Load()
	st.Duplicate = p.duplicated(time.Now())
}

// clientAddrOf is where clients reach a member; empty: not known.
func (s *Server) clientAddrOf(id member.ID) string {
	if id == s.cfg.ID {
		return s.cfg.ClientAddr
	}
	if p := s.peer(id); p != nil {
		return p.info.Load().clientAddr
	}
	return ""
}

// publishStatus makes what the state maintainer knows visible. Readers are woken
// only for what they may wait for; water marks follow at the next tick.
func (s *Server) publishStatus() {
	old, m := s.status.load(), s.core.member
	now := time.Now()
	if s.isServing() && s.core.role.Role == member.Leader {
		s.core.failover.served(now)
	}
	changed := old.Role != m.Role() || old.Term != m.Term() || old.Leader != m.Leader() || old.MayVote != m.MayVote() || old.Serving != s.isServing() ||
		s.core.regrouped || old.LeaderClientAddr != s.clientAddrOf(m.Leader()) || s.peersChanged(old)
	if !changed && now.Sub(s.core.publishedAt) < s.cfg.MaintainInterval {
		return
	}
	s.core.publishedAt = now
	next := s.describe(m.Status())
	s.core.regrouped = false
	s.logStanding(old, next)
	s.logOutcast(old, next)
	if changed {
		s.status.store(next)
	} else {
		s.status.replace(next)
	}
	s.metrics.observe(next, s)
}

func (s *Server) describe(ms member.Status) *Status {
	st := &Status{
		ID: s.cfg.ID, Role: ms.Role, Term: ms.Term, Leader: ms.Leader, LeaderClientAddr: s.clientAddrOf(ms.Leader),
		Serving: s.isServing(), Transferee: ms.Transferee, Failover: s.core.failover.last,
		MayVote: ms.MayVote, Standing: explainStanding(ms), founding: founding(ms), proven: ms.Proven,
		Members: ms.Members, Seat: ms.Seat(), Changing: ms.Changing, Outcast: s.explainOutcast(ms),
		Peers: make([]PeerStatus, 0, len(ms.Peers)),
	}
	group := s.group.Load()
	st.Generation, st.Recoveries = group.generation, group.recoveries
	if st.Seat == SeatNone || s.fenced.Load() {
		st.Standing = "" // it is no voter, or was given up; Outcast says why
	}
	for _, p := range ms.Peers {
		ps := PeerStatus{ID: p.ID, Match: logIndex(p.WaterMark), State: p.State, MayNotVote: p.MayNotVote, Seat: seatOf(p), LastHeard: p.LastHeard}
		if known := s.peer(p.ID); known != nil {
			known.describe(&ps)
		}
		st.Peers = append(st.Peers, ps)
	}
	return st
}

func seatOf(p member.PeerStatus) string {
	switch {
	case p.Leaving:
		return SeatLeaving
	case p.Learner:
		return SeatLearner
	}
	return SeatVoter
}

func (s *Server) peersChanged(old *Status) bool {
	for _, was := range old.Peers {
		p := s.peer(was.ID)
		if p == nil {
			return true
		}
		info := p.info.Load()
		if was.ClientAddr != info.clientAddr || was.Trouble != info.trouble || was.Connected != (p.active.Load() != nil) || was.Diverged != p.diverged.Load() {
			return true
		}
	}
	return false
}
