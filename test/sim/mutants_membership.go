package sim

// membershipMutants break how the group changes: I6 across groups.
func membershipMutants() []mutant {
	return []mutant{
		{
			name: "config change before own-term commit", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "case m.commit < m.noop:\n",
			broken: "case m.commit < NoIndex:\n",
		},
		{
			name: "two config changes at once", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "case m.changing():\n\t\treturn ChangeInProgress\n",
			broken: "",
		},
		{
			name: "group changes when committed, not when appended", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "func (m *Member) members() Members { return m.changes[len(m.changes)-1].Members }",
			broken: "func (m *Member) members() Members { return m.changes[0].Members }",
		},
		{
			name: "truncated change still holds", file: memberDir + "push_follower.go", layers: []layer{tests},
			old:    "\tm.undoChanges(i)\n",
			broken: "",
		},
		{
			name: "saved change holds without its entry", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "case !m.ledger.Has(c.At, c.Term):",
			broken: "case false:",
		},
		{
			name: "undone change stays saved", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "m.changes = kept\n\t\tm.saveChanges()",
			broken: "m.changes = kept",
		},
		{
			name: "changes not saved", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "m.update.Changes = slices.Clone(m.changes)",
			broken: "m.update.Changes = nil",
		},
		{
			name: "learner's copy counted", file: memberDir + "commit.go", layers: []layer{tests},
			old:    "case p.voter && p.counts():",
			broken: "case p.counts():",
		},
		{
			name: "learner's vote counted", file: memberDir + "vote_outcome.go", layers: []layer{tests},
			old:    "if result == 0 || !m.peers[i].voter {",
			broken: "if result == 0 || m.peers[i] == nil {",
		},
		{
			name: "learner keeps a leader in office", file: memberDir + "heartbeat.go", layers: []layer{tests},
			old:    "case p.voter && (p.counts() || !p.standing.heard):",
			broken: "case p.counts() || !p.standing.heard:",
		},
		{
			name: "learner promoted before it has caught up", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "case ev.Op == Promote && !m.caughtUp(m.peerOf(ev.ID)):",
			broken: "case ev.Op == Promote && m.peerOf(ev.ID) == nil:",
		},
		{
			name: "leader on its way out counts itself", file: memberDir + "commit.go", layers: []layer{tests},
			old:    "if m.isVoter {",
			broken: "if m.role == Leader {",
		},
		{
			name: "candidate on its way out counts its own vote", file: memberDir + "vote_outcome.go", layers: []layer{tests},
			old:    "valid: m.own(), accepted: m.own(),",
			broken: "valid: 1, accepted: 1,",
		},
		{
			name: "removed member stands", file: memberDir + "standing.go", layers: []layer{tests},
			old:    "m.fit && m.mayVote() && m.mayCampaign()",
			broken: "m.fit && m.mayVote()",
		},
		{
			name: "removed leader stays", file: memberDir + "state_maintenance.go", layers: []layer{tests},
			old:    "if m.retiring() && m.transfer == nil {",
			broken: "if m.retiring() && m.transfer != nil {",
		},
		{
			name: "member of a newer group gets no vote", file: memberDir + "election.go", layers: []layer{tests},
			old:    "case !v.peer && r.From != v.self && !r.ahead(v):",
			broken: "case !v.peer && r.From != v.self:",
		},
		{
			name: "leader on its way out opens no stream", file: "pkg/dledger/outcast.go", layers: []layer{tests},
			old:    "st.Seat != SeatNone || st.Role == member.Leader {",
			broken: "st.Seat != SeatNone {",
		},
		{
			name: "word of having been given up forgotten", file: "pkg/dledger/server.go", layers: []layer{tests},
			old:    "	s.rememberGivenUp()\n",
			broken: "",
		},
		{
			name: "removal without a quorum left", file: memberDir + "membership.go", layers: []layer{tests},
			old:    "case after.CountVoters() != m.voters && !m.hasQuorumOf(after):",
			broken: "case after.CountVoters() == 0:",
		},
		{
			name: "member to be founds the group", file: memberDir + "founding.go", layers: []layer{tests},
			old:    "m.elder == \"\" && m.isVoter",
			broken: "m.elder == \"\"",
		},
		{
			name: "few refusals asked again at once", file: memberDir + "vote_outcome.go", layers: []layer{tests},
			old:    "(t.quorum(t.valid) && !t.quorum(yes+missing))",
			broken: "!t.quorum(yes+missing)",
		},
	}
}
