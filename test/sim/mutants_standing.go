package sim

// standingMutants break what keeps members without their memory from voting: I10.
func standingMutants() []mutant {
	both := []layer{tests, seeds}
	return []mutant{
		{
			name: "wiped member votes", file: memberDir + "election.go", layers: both,
			old:    "case v.barred || r.Unproven:",
			broken: "case r.Unproven:",
		},
		{
			name: "member with a damaged ledger votes", file: memberDir + "standing.go", layers: both,
			old:    "return m.ballot.Proven && !m.barred }",
			broken: "return m.ballot.Proven }",
		},
		{
			name: "unproven member counted", file: memberDir + "proof.go", layers: both,
			old:    "return p.standing.heard && p.standing.proven",
			broken: "return true",
		},
		{
			name: "unproven answers keep a leader", file: memberDir + "heartbeat.go", layers: both,
			old:    "case p.voter && (p.counts() || !p.standing.heard):",
			broken: "case p.voter:",
		},
		{
			name: "water mark kept over a new incarnation", file: memberDir + "proof.go", layers: both,
			old:    "case who != s.incarnation:\n\t\tm.forget(p, who)\n",
			broken: "case who != s.incarnation:\n\t\ts.incarnation = who\n",
		},
		{
			name: "answers of a lost directory believed", file: memberDir + "proof.go", layers: []layer{tests},
			old: "case slices.Contains(s.gone, who) && m.now.Sub(p.heardAt) < m.electionTimeout():\n\t\treturn false\n" +
				"\tcase slices.Contains(s.gone, who): // what took its place was late, and is silent\n\t\tm.forget(p, who)\n\t\ts.doubted = true\n\tcase !s.heard:\n" +
				"\t\t*s = standing{heard: true, incarnation: who, proven: !unproven, proof: NoIndex}\n" +
				"\tcase who != s.incarnation && !unproven:\n",
			broken: "case !s.heard:\n\t\t*s = standing{heard: true, incarnation: who, proven: !unproven, proof: NoIndex}\n" +
				"\tcase slices.Contains([]Incarnation{}, who):\n",
		},
		{
			name: "proven not durable before the vote", file: memberDir + "proof.go", layers: both,
			old:    "m.setBallot(Ballot{Term: m.ballot.Term, VotedFor: r.Leader, Proven: true})",
			broken: "m.ballot.Proven = true",
		},
		{
			name: "founding not durable", file: memberDir + "founding.go", layers: both,
			old:    "m.setBallot(Ballot{Proven: true})",
			broken: "m.ballot.Proven = true",
		},
		{
			name: "proof by an entry from before the newcomer was heard", file: memberDir + "proof.go", layers: both,
			old:    "p.standing.proof, _ = m.appendOwn(1, true)",
			broken: "p.standing.proof = m.noop",
		},
		{
			name: "proof accepted without the entries", file: memberDir + "proof.go", layers: []layer{tests},
			old:    "held < r.ProofIndex {",
			broken: "held < NoIndex {",
		},
		{
			name: "a majority of fresh members begins", file: memberDir + "founding.go", layers: both,
			old:    "if others == m.voters-1 || (m.cfg.Bootstrap && others+1 >= m.quorum()) {",
			broken: "if others+1 >= m.quorum() {",
		},
		{
			name: "replaced member founds", file: memberDir + "founding.go", layers: both,
			old:    "if !r.Fresh {\n",
			broken: "if !r.Fresh && r.From == \"\" {\n",
		},
		{
			name: "word to an earlier life believed", file: memberDir + "founding.go", layers: []layer{tests},
			old:    "|| r.Asker != m.cfg.Incarnation {",
			broken: "{",
		},
	}
}
