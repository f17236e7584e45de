package sim

// votingMutants break elections: I1, I4, I20.
func votingMutants() []mutant {
	both := []layer{tests, seeds}
	return []mutant{
		{
			name: "vote not saved", file: memberDir + "role.go", layers: both,
			old:    "m.update.Ballot = &b",
			broken: `if b.VotedFor == "" { m.update.Ballot = &b }`,
		},
		{
			name: "adopted term not saved", file: memberDir + "role.go", layers: both,
			old:    "m.update.Ballot = &b",
			broken: `if b.VotedFor != "" { m.update.Ballot = &b }`,
		},
		{
			name: "vote twice in a term", file: memberDir + "election.go", layers: both,
			old:    "return RejectAlreadyVoted",
			broken: "return Accept",
		},
		{
			name: "vote without looking at the ledgers", file: memberDir + "election.go", layers: both,
			old: "case r.LedgerEndTerm < v.endTerm:\n\t\treturn RejectExpiredLedgerTerm\n" +
				"\tcase r.LedgerEndTerm == v.endTerm && r.LedgerEndIndex < v.endIndex:\n\t\treturn RejectSmallLedgerEndIndex\n",
			broken: "",
		},
		{
			name: "vote by the length of the ledger alone", file: memberDir + "election.go", layers: both,
			old: "case r.LedgerEndTerm < v.endTerm:\n\t\treturn RejectExpiredLedgerTerm\n" +
				"\tcase r.LedgerEndTerm == v.endTerm && r.LedgerEndIndex < v.endIndex:\n",
			broken: "case r.LedgerEndIndex < v.endIndex:\n",
		},
		{
			name: "current term as the ledger's end term (dledger#52)", file: memberDir + "election.go", layers: both,
			old:    "LedgerEndIndex: m.ledger.End(), LedgerEndTerm: m.ledger.EndTerm(),",
			broken: "LedgerEndIndex: m.ledger.End(), LedgerEndTerm: m.ballot.Term,",
		},
		{
			name: "PreVote off", file: memberDir + "election.go", layers: both,
			old:    "m.openRound(election{preVote: true, term: m.knownMaxTerm + 1, yielded: m.election.yielded})",
			broken: "m.startVote(m.knownMaxTerm+1, false)",
		},
		{
			name: "a vote given while a leader is trusted", file: memberDir + "election.go", layers: []layer{tests},
			old:    "case r.Term > v.term && v.trusts && !r.Transfer:",
			broken: "case false:",
		},
		{
			name: "check-quorum off", file: memberDir + "state_maintenance.go", layers: both,
			old:    "if !m.now.Before(m.quorumDeadline()) {",
			broken: "if false {",
		},
		{
			name: "a minority of votes elects", file: memberDir + "vote_outcome.go", layers: both,
			old:    "return n >= majority(t.size)",
			broken: "return n >= t.size/2",
		},
		{
			name: "higher terms in answers ignored (dledger#325)", file: memberDir + "role.go", layers: []layer{tests},
			old:    "if m.role != Leader || term <= m.ballot.Term {",
			broken: "if true {",
		},
		{
			name: "no NOOP", file: memberDir + "role.go", layers: both,
			old:    "m.appendOwn(1, true)\n",
			broken: "",
		},
	}
}
