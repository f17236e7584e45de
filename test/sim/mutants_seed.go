package sim

// seedMutants break what keeps a seed and retention sound. The simulator runs
// neither, so the packages' own tests must notice.
func seedMutants() []mutant {
	own := []layer{tests}
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
			old:    "return batches[n].Index >= begin })",
			broken: "return batches[n].Index >= begin-1 })",
		},
		{
			name: "going back a whole term jumps over the ledger's begin", file: memberDir + "push_leader.go", layers: own,
			old:    "if r.PrevIndex >= m.ledger.Begin() {",
			broken: "if false {",
		},
		{
			name: "retention by raw wall clock", file: "pkg/broker/retention_clock.go", layers: own,
			old:    "ahead > clockJump {",
			broken: "false && ahead > clockJump {",
		},
	}
}
