package member

import "slices"

// How a replaced member becomes a voter again. Its earlier life may have
// acknowledged entries and given votes that it knows nothing of. The leader L of
// term T, elected without it, appends an entry P of its own term after it has
// heard the newcomer, so after the earlier life ended. P is proof once a majority
// that does not need the newcomer holds it, and the newcomer holds everything up
// to it:
//
//   - What the earlier life acknowledged to leaders before T and was committed, L
//     has; what it acknowledged to L lies before P.
//   - It cannot have acknowledged anything to a leader of a later term that was
//     elected while it lived: that leader's voters would not have taken P.
//   - The group may have changed in between: one voter at a time, and only after the
//     leader's own term was proven by a commit, so that majorities of one group and the
//     next meet, and whoever wins later holds P (leader completeness).
//   - Votes it gave in later terms went to candidates without P, who can no longer
//     win. Votes up to T the newcomer does not repeat: it is proven in T, with its
//     vote for L.

// standing is what the leader knows of a peer's directory, in this leadership.
type standing struct {
	heard       bool        // anything at all
	incarnation Incarnation // of the directory it has now
	proven      bool        // counts towards quorums
	proof       Index       // not proven: the entry P, NoIndex if none was appended yet
	told        bool        // it was told at once that it is proven
	gone        []Incarnation
	doubted     bool // it was taken for gone: its own word that it is proven is not enough
}

// recognise takes note of the incarnation that answers. False: the answer is of a
// life that is over, and what it says is held may be lost.
func (m *Member) recognise(p *peer, who Incarnation, unproven bool) bool {
	s := &p.standing
	switch {
	case slices.Contains(s.gone, who) && m.now.Sub(p.heardAt) < m.electionTimeout():
		return false
	case slices.Contains(s.gone, who): // what took its place was late, and is silent
		m.forget(p, who)
		s.doubted = true
	case !s.heard:
		*s = standing{heard: true, incarnation: who, proven: !unproven, proof: NoIndex}
	case who != s.incarnation && !unproven:
		return false // a new directory is unproven until this leader has seen to it
	case who != s.incarnation:
		m.forget(p, who)
	case !s.proven && !unproven && (!s.doubted || m.hasProof(p)):
		s.proven = true
		m.advanceCommit()
	}
	if !s.proven {
		m.openProof(p)
	}
	return true
}

// forget begins anew with a peer that has come back with another directory: what
// it held before is gone, and counts no longer.
func (m *Member) forget(p *peer, who Incarnation) {
	gone := slices.DeleteFunc(p.standing.gone, func(i Incarnation) bool { return i == who })
	gone = append(gone, p.standing.incarnation)
	p.reset(m.ledger.End()+1, m.now)
	p.standing = standing{heard: true, incarnation: who, proof: NoIndex, gone: gone}
	m.sendCompare(p)
}

// openProof appends the entry that will prove p.
func (m *Member) openProof(p *peer) {
	if p.standing.proof == NoIndex && m.transfer == nil && !p.leaving {
		p.standing.proof, _ = m.appendOwn(1, true)
	}
}

// hasProof says whether p may be told that it is proven.
func (m *Member) hasProof(p *peer) bool {
	s := &p.standing
	return s.heard && !s.proven && s.proof != NoIndex && m.commit >= s.proof && p.waterMark >= s.proof
}

// tellProof does not leave a peer that has just been proven to the next heartbeat.
func (m *Member) tellProof(p *peer) {
	if !p.standing.told && m.hasProof(p) {
		p.standing.told = true
		m.sendHeartBeat(p)
	}
}

// counts says whether what p holds counts towards a quorum.
func (p *peer) counts() bool { return p.standing.heard && p.standing.proven }

// acceptProof is the newcomer's side: it is durable, with its vote, before it says
// so to anyone.
func (m *Member) acceptProof(r HeartBeatRequest) {
	if m.ballot.Proven || r.Proves == "" || r.Proves != m.cfg.Incarnation {
		return
	}
	if held, _ := m.acknowledged(); held < r.ProofIndex {
		return
	}
	m.setBallot(Ballot{Term: m.ballot.Term, VotedFor: r.Leader, Proven: true})
}
