package sim

// replicationMutants break what happens to entries: I2, I3, I5.
func replicationMutants() []mutant {
	both := []layer{tests, seeds}
	return []mutant{
		{
			name: "commit beyond what is verified (dledger#278)", file: memberDir + "commit.go", layers: both,
			old:    "m.commit = max(m.commit, min(leaders, m.verified))",
			broken: "m.commit = max(m.commit, min(leaders, m.ledger.End()))",
		},
		{
			name: "verified kept over a change of term", file: memberDir + "role.go", layers: both,
			old:    "m.verified, m.acked = m.commit, NoIndex",
			broken: "m.acked = NoIndex",
		},
		{
			name: "pushes of an older term carried out", file: memberDir + "heartbeat.go", layers: both,
			old:    "case term < m.ballot.Term || !m.plausible(term):",
			broken: "case !m.plausible(term):",
		},
		{
			name: "TRUNCATE without term check", file: memberDir + "push_follower.go", layers: both,
			old:    "\tif code != Success {\n\t\tm.answerPush(r, code)",
			broken: "\tif code != Success && !(code == ExpiredTerm && r.Type == Truncate) {\n\t\tm.answerPush(r, code)",
		},
		{
			name: "TRUNCATE though nothing conflicts", file: memberDir + "push_follower.go", layers: both,
			old: "r.First > m.ledger.End() || m.ledger.Has(r.First, r.FirstTerm) {\n\t\treturn\n\t}\n" +
				"\tassert(r.First > m.commit, \"I5: %s asks to truncate from %d, committed up to %d\", r.Leader, r.First, m.commit)\n" +
				"\tassert(r.First > m.verified, \"I3: %s asks to truncate from %d, matching up to %d\", r.Leader, r.First, m.verified)\n",
			broken: "r.First > m.ledger.End() {\n\t\treturn\n\t}\n",
		},
		{
			name: "APPEND without comparing the entry before", file: memberDir + "push_follower.go", layers: both,
			old:    "if !m.ledger.Has(r.PrevIndex, r.PrevTerm) {",
			broken: "if r.Type != Append && !m.ledger.Has(r.PrevIndex, r.PrevTerm) {",
		},
		{
			name: "APPEND over a conflict", file: memberDir + "push_follower.go", layers: []layer{tests},
			old:    "if at, conflict := m.conflict(r); conflict {",
			broken: "if at, conflict := m.conflict(r); false && conflict {",
		},
		{
			name: "lost push never probed for (dledger#199)", file: memberDir + "push_leader.go", layers: both,
			old:    "if durable < p.waterMark || stuck {",
			broken: "if false && stuck {",
		},
		{
			name: "proposals taken while leadership is handed over", file: memberDir + "commit.go", layers: []layer{tests},
			old:    "case m.withholding():",
			broken: "case false && m.withholding():",
		},
	}
}
