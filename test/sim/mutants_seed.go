package sim

// seedMutants break what keeps a seed and retention sound. Of that the simulator runs
// the member and the guard of the clock; for the rest the packages' own tests must notice.
func seedMutants() []mutant {
	own, both := []layer{tests}, []layer{tests, seeds}
	return []mutant{
		{
			name: "purge does not wait for a running seed", file: "pkg/seed/source.go", layers: own,
			old:    "before = min(before, o.begin)",
			broken: "_ = o",
		},
		{
			name: "seed promises entries that may be purged at any moment", file: "pkg/seed/source.go", layers: own,
			old:    "begin: max(begin, s.mu.gone)",
			broken: "begin: begin",
		},
		{
			name: "pieces of two seeds mixed", file: "pkg/seed/fetch.go", layers: own,
			old:    "if m.ID() != resume {",
			broken: "if resume == \"\" {",
		},
		{
			name: "piece of a seed not compared with its CRC", file: "pkg/seed/fetch.go", layers: own,
			old:    "if got := crc32.Checksum(piece, castagnoli); got != crc {",
			broken: "if got := crc32.Checksum(piece, castagnoli); false {",
		},
		{
			name: "file of a seed not compared with its CRC", file: "pkg/seed/fetch.go", layers: own,
			old:    "if got != want {",
			broken: "if got.Size != want.Size {",
		},
		{
			name: "ledger given up for a seed that it could do without", file: "pkg/dledger/seed.go", layers: own,
			old:    "if end < at.Begin-1 {",
			broken: "if end >= at.Begin-1 {",
		},
		{
			name: "first offset before the ledger's begin", file: "pkg/state/retain.go", layers: own,
			old:    "return batches[n].Given >= begin })",
			broken: "return batches[n].Given >= begin-1 })",
		},
		{
			name: "going back a whole term jumps over the ledger's begin", file: memberDir + "push_leader.go", layers: own,
			old:    "if r.PrevIndex >= m.ledger.Begin() {",
			broken: "if false {",
		},
		{
			name: "state of another history taken", file: "pkg/broker/state_seed.go", layers: own,
			old:    "if at.PrevTerm != commitlog.Term(m.PrevTerm) || err == nil && at.PrevChain != m.PrevChain {",
			broken: "if false && err == nil {",
		},
		{
			name: "state carried on over another history", file: "pkg/broker/dispatcher.go", layers: own,
			old:    "if tip := d.store.Tip(); int64(term) != int64(tip.Term) {",
			broken: "if tip := d.store.Tip(); false && int64(term) != int64(tip.Term) {",
		},
		{
			name: "member that cannot serve holds on to the leadership", file: "pkg/broker/fitness.go", layers: own,
			old:    "case !c.readOnly && !c.stuck:",
			broken: "case !c.readOnly:",
		},
		{
			name: "entry gone without though a member has applied it", file: "pkg/broker/state_seed.go", layers: own,
			old:    "return nil, status.Errorf(codes.Unavailable, \"%s does not know yet",
			broken: "return nil, status.Errorf(codes.FailedPrecondition, \"%s does not know yet",
		},
		{
			name: "checkpoint for a seed takes the last space", file: "pkg/broker/seed_source.go", layers: own,
			old:    "if err := b.disk.mayGrow(3 * int64(b.cfg.memTableBytes())); err != nil {",
			broken: "if err := b.disk.mayGrow(0); false && err != nil {",
		},
		{
			name: "stamps begin anew after a seed", file: "pkg/broker/assemble.go", layers: own,
			old:    "b.ledger.StampNotBefore(b.store.NewestStamp())",
			broken: "b.ledger.StampNotBefore(0)",
		},
		{
			name: "clock believed as soon as it has jumped", file: "pkg/commitlog/clock_guard.go", layers: both,
			old:    "return mono-g.since >= g.Settles, jumped",
			broken: "return mono-g.since >= g.Settles || jumped > 0, jumped",
		},
		{
			name: "peer that needs a seed compared for ever", file: memberDir + "push_leader.go", layers: both,
			old:    "if p.next < m.ledger.Begin() {",
			broken: "if p.next < m.ledger.Begin()-1_000_000 {",
		},
		{
			name: "retention by raw wall clock", file: "pkg/commitlog/clock_guard.go", layers: both,
			old:    "ahead > ClockJump {",
			broken: "false && ahead > ClockJump {",
		},
	}
}
