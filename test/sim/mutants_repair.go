package sim

// repairMutants break how damage is marked and repaired: I9, I10. The tests of the
// broken package must notice.
func repairMutants() []mutant {
	const log, shell = "pkg/commitlog/", "pkg/dledger/"
	own := []layer{tests}
	return []mutant{
		{
			name: "repair file named before it is durable", file: log + "repair.go", layers: own,
			old: "err = w.file.Sync()", broken: "err = nil",
		},
		{
			name: "repair file's name not made durable", file: log + "repair.go", layers: own,
			old: "		err = l.cfg.FS.SyncDir(l.cfg.Dir)\n	}\n	if err != nil {\n		return l.fail(", broken: "	}\n	if err != nil {\n		return l.fail(",
		},
		{
			name: "terms guessed across damage", file: log + "bridge.go", layers: own,
			old: "if s.doubt && term != s.at.term {", broken: "if false && s.doubt && term != s.at.term {",
		},
		{
			name: "damaged body served by a log that tolerates damage", file: log + "bridge.go", layers: own,
			old: "if err := checkBody(h, body); err != nil {", broken: "if err := checkBody(h, body); false && err != nil {",
		},
		{
			name: "repair file used for another history", file: log + "patch.go", layers: own,
			old: "p.chains[first-p.first] == before && p.chains[last-p.first+1] == after", broken: "before != after+1",
		},
		{
			name: "damage found while open not sealed", file: log + "mark.go", layers: own,
			old: "return l.usable() != nil || l.seal() == nil", broken: "return true",
		},
		{
			name: "suspect member votes", file: shell + "server.go", layers: own,
			old: "mc.Barred = mc.Barred || len(s.ledger.Faulty()) > 0", broken: "mc.Barred = mc.Barred || false",
		},
		{
			name: "faulty entry acknowledged as durable", file: shell + "suspect.go", layers: own,
			old: "if !ok || index < memberIndex(faulty) {", broken: "if !ok || index >= 0 || index < memberIndex(faulty) {",
		},
		{
			name: "damaged tail that was never committed excused", file: shell + "suspect.go", layers: own,
			old: "return !r.Lost || r.Last > settled })", broken: "return !r.Lost || r.Last > settled && settled < -1 })",
		},
		{
			name: "entries called lost while a peer is away", file: shell + "fetch.go", layers: own,
			old: "return p.absent })", broken: "return p.absent && false })",
		},
	}
}
