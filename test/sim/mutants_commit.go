package sim

// commitMutants break what counts as durable and as committed: I6, I8.
func commitMutants() []mutant {
	both := []layer{tests, seeds}
	return []mutant{
		{
			name: "follower acknowledges before the disk", file: memberDir + "push_follower.go", layers: both,
			old:    "index := min(m.durable, m.verified)",
			broken: "index := m.verified",
		},
		{
			name: "follower acknowledges what it has not compared", file: memberDir + "push_follower.go", layers: both,
			old:    "index := min(m.durable, m.verified)",
			broken: "index := m.durable",
		},
		{
			name: "leader counts its own unsynced entries", file: memberDir + "commit.go", layers: both,
			old:    "marks = append(marks, m.durable)",
			broken: "marks = append(marks, m.ledger.End())",
		},
		{
			name: "late storage completion counted (ABA)", file: memberDir + "commit.go", layers: []layer{tests},
			old:    "if ev.Epoch != m.epoch || ev.Index",
			broken: "if ev.Index",
		},
		{
			name: "storage completion of a replaced entry counted", file: memberDir + "commit.go", layers: both,
			old:    "if ev.Epoch != m.epoch || ev.Index <= m.durable || ev.Index > m.ledger.End() || !m.ledger.Has(ev.Index, ev.Term) {",
			broken: "if ev.Index <= m.durable || ev.Index > m.ledger.End() {",
		},
		{
			name: "durable index kept over a truncation", file: memberDir + "push_follower.go", layers: both,
			old:    "m.durable = min(m.durable, m.ledger.End())\n",
			broken: "",
		},
		{
			name: "old-term entry committed by counting (Raft figure 8)", file: memberDir + "commit.go", layers: []layer{tests, seeds, exhaustive},
			old:    "if term, _ := m.ledger.TermAt(index); term == m.ballot.Term {",
			broken: "if term, _ := m.ledger.TermAt(index); term > 0 {",
		},
		{
			name: "commit on a minority", file: memberDir + "commit.go", layers: both,
			old:    "return marks[(len(marks)-1)/2]",
			broken: "return marks[(len(marks)+1)/2]",
		},
		{
			name: "water mark raised without comparing terms", file: memberDir + "commit.go", layers: []layer{tests},
			old:    "if index <= p.waterMark || index > m.ledger.End() || !m.ledger.Has(index, term) {",
			broken: "if index <= p.waterMark || index > m.ledger.End() {",
		},
	}
}
