package sim

// repairMutants break how damage is marked and repaired: I9, I10. The tests of the
// broken package must notice, and where it runs that code, the simulator.
func repairMutants() []mutant {
	const log, shell = "pkg/commitlog/", "pkg/dledger/"
	own, both, thick := []layer{tests}, []layer{tests, seeds}, []layer{tests, thickSeeds}
	return []mutant{
		{
			name: "repair file named before it is durable", file: log + "repair.go", layers: own,
			old: "return w.file.Sync()", broken: "return nil",
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
			name: "damaged body served by a log that tolerates damage", file: log + "bridge.go", layers: thick,
			old: "err = checkBody(h, body)", broken: "_ = checkBody(h, body)",
		},
		{
			name: "segments that a truncation condemned taken for proof of damage", file: log + "scan.go", layers: thick,
			old: "if seg.w.last == groupTruncate && end.older(seg) {", broken: "if seg.w.last == groupTruncate && end.older(seg) && false {",
		},
		{
			name: "repair file used for another history", file: log + "patch.go", layers: own,
			old: "return p.chainAt(g.last) == g.after", broken: "return p.chainAt(g.last) != g.after+1",
		},
		{
			name: "piece of a history that parted within the gap used", file: log + "patch.go", layers: own,
			old: "return p.anchor == anchorEntry{index: g.last, chain: g.after}", broken: "return p.anchor.index == g.last",
		},
		{
			name: "piece between lost entries taken whatever its term", file: log + "repair.go", layers: own,
			old: "err != nil || term != h.Term {", broken: "err != nil {",
		},
		{
			name: "repair takes the last space", file: log + "repair.go", layers: own,
			old: "if err := w.mayGrow(int64(len(entries))); err != nil {", broken: "if err := w.mayGrow(int64(len(entries))); false && err != nil {",
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
			name: "faulty entry acknowledged as durable", file: shell + "suspect.go", layers: both,
			old: "if index < faulty {", broken: "if index >= 0 || index < faulty {",
		},
		{
			name: "damaged tail that was never committed excused", file: shell + "suspect.go", layers: own,
			old: "return !r.unobtainable() || r.Last > settled && !r.Shared })", broken: "return !r.unobtainable() || r.Last > settled && !r.Shared && settled < -1 })",
		},
		{
			name: "entries called lost while a peer is away", file: shell + "fate.go", layers: own,
			old: "f.lost = f.lost && !away", broken: "f.lost = f.lost && (true || !away)",
		},
		{
			name: "lost entries forgotten while a peer is away", file: shell + "fate.go", layers: own,
			old: "if f.away && was.unobtainable()", broken: "if false && was.unobtainable()",
		},
		{
			name: "lost entry that few have had excused", file: shell + "fate.go", layers: own,
			old: "f.shared = f.lost && having > (len(peers)+1)/2", broken: "f.shared = f.lost",
		},
		{
			name: "another's damage taken for the same entry", file: shell + "fate.go", layers: own,
			old: "p.denied.kind == damagedToo && p.denied.term == term {", broken: "p.denied.kind == damagedToo {",
		},
		{
			name: "truncation from within damage not held", file: shell + "held_truncate.go", layers: own,
			old: "if !errors.Is(err, commitlog.ErrFaulty) {", broken: "if true || !errors.Is(err, commitlog.ErrFaulty) {",
		},
		{
			name: "entry in a peer's memory called lost", file: shell + "fetch_service.go", layers: own,
			old: "if end, _ := s.ledger.End(); next <= end {", broken: "if end, _ := s.ledger.End(); next < 0 && next <= end {",
		},
		{
			name: "entries called lost while a peer has others there", file: shell + "fate.go", layers: own,
			old: "p.denied.kind != notDurable && p.denied.kind != anotherTerm", broken: "p.denied.kind != notDurable",
		},
		{
			name: "entries that retention removed called lost", file: shell + "fate.go", layers: own,
			old: "f.expired = f.expired && f.lost", broken: "f.expired = false",
		},
		{
			name: "hindered leader stays", file: shell + "suspect.go", layers: own,
			old: "return r.Last > settled && r.Attempt != \"\" && !r.Shared })", broken: "return r.Last > settled && r.Attempt == \"never\" && !r.Shared })",
		},
		{
			name: "push that waits for a repair outlives its stream", file: shell + "entry_dispatcher.go", layers: own,
			old: "for ctx.Err() == nil { // a request", broken: "for { // a request",
		},
	}
}
