package sim

// brokerMutants break what a client is told and what is derived from the ledger:
// I12 to I19. The simulator knows neither brokers nor clients, so the packages'
// own tests must notice.
func brokerMutants() []mutant {
	own := []layer{tests}
	return []mutant{
		{
			name: "resent batch stored again", file: "pkg/state/window.go", layers: own,
			old:    "case h.FirstSequence == next:",
			broken: "case h.FirstSequence <= next:",
		},
		{
			name: "gap in a producer's sequence overlooked", file: "pkg/state/window.go", layers: own,
			old:    "case h.FirstSequence > next:",
			broken: "case false:",
		},
		{
			name: "producer windows not kept over a restart", file: "pkg/state/load.go", layers: own,
			old:    "\tw.addWindow(q, window)\n\treturn nil\n",
			broken: "\t_ = window\n\treturn nil\n",
		},
		{
			name: "stale producer epoch accepted", file: "pkg/state/apply_batch.go", layers: own,
			old:    "case h.ProducerEpoch < p.epoch:",
			broken: "case false:",
		},
		{
			name: "applied index not in the batch of what was applied", file: "pkg/state/apply.go", layers: own,
			old:    "\tset(out, appliedKey(), w.value)\n",
			broken: "\tif len(w.queuesChanged) == 0 {\n\t\tset(out, appliedKey(), w.value)\n\t}\n",
		},
		{
			name: "queue index knows entries above the applied index", file: "pkg/state/load.go", layers: own,
			old:    "if newest.Given > applied {",
			broken: "if false {",
		},
		{
			name: "uncommitted entries served", file: "pkg/dledger/state_maintainer.go", layers: own,
			old:    "func (s *Server) advanceCommit(index member.Index) {\n",
			broken: "func (s *Server) advanceCommit(index member.Index) {\n\tif end, _ := s.ledger.End(); memberIndex(end) > index {\n\t\tindex = memberIndex(end)\n\t}\n",
		},
		{
			name: "proposal completed by another leader's entry", file: "pkg/dledger/pending_appends.go", layers: own,
			old:    "err != nil || term != r.Term {",
			broken: "err != nil || term < 0 {",
		},
		{
			name: "lost leadership reported as definite", file: "pkg/broker/errors.go", layers: own,
			old:    "{CodeLeadershipLost, codes.Unavailable, true,",
			broken: "{CodeLeadershipLost, codes.Unavailable, false,",
		},
		{
			name: "quorum timeout reported as definite", file: "pkg/broker/errors.go", layers: own,
			old:    "{CodeQuorumAckTimeout, codes.DeadlineExceeded, true,",
			broken: "{CodeQuorumAckTimeout, codes.DeadlineExceeded, false,",
		},
		{
			name: "offset beyond the end taken for the end", file: "pkg/broker/pull.go", layers: own,
			old:    "case offset > end:\n",
			broken: "case offset > end && end < 0:\n",
		},
		{
			name: "damaged batch accepted", file: "pkg/batch/verify.go", layers: own,
			old:    "if crc := checksum(b); crc != h.CRC {",
			broken: "if crc := checksum(b); false && crc != h.CRC {",
		},
		{
			name: "missing offsets skipped in silence", file: "pkg/client/fetcher.go", layers: own,
			old:    "case base > next && f.cs.cfg.Filter.none():",
			broken: "case base > next && base < 0 && f.cs.cfg.Filter.none():",
		},
		{
			name: "unknown outcome reported as definite", file: "pkg/client/producer_run.go", layers: own,
			old:    "final.Indefinite = indefinite\n",
			broken: "final.Indefinite = false\n",
		},
		{
			name: "batch that may be stored numbered anew", file: "pkg/client/session.go", layers: own,
			old:    "case e.Code == CodeUnknownProducer && !b.maybe:",
			broken: "case e.Code == CodeUnknownProducer:",
		},
		{
			name: "unanswered batch taken for unsent", file: "pkg/client/session.go", layers: own,
			old:    "b.maybe = b.maybe || b.waiting\n",
			broken: "",
		},
		{
			name: "role change of an older term carried out", file: "pkg/rolechange/changer.go", layers: own,
			old:    "if change.Term < c.mu.latest.Term {",
			broken: "if false {",
		},
	}
}

// ballotMutants break what a member must never forget: I1.
func ballotMutants() []mutant {
	const file = "pkg/dledger/ballot_file.go"
	own, thick := []layer{tests}, []layer{tests, thickSeeds}
	return []mutant{
		{
			name: "vote answered before fdatasync", file: file, layers: thick,
			old:    "if err := b.disk.Datasync(); err != nil {",
			broken: "if err := error(nil); err != nil {",
		},
		{
			name: "ballot written over the newest one", file: file, layers: thick,
			old:    "b.disk.WriteAt(encodeBallotSlot(slot), slotOffset(slot.sequence))",
			broken: "b.disk.WriteAt(encodeBallotSlot(slot), slotOffset(0))",
		},
		{
			name: "ballot CRC ignored", file: file, layers: thick,
			old:    "le.Uint32(raw[ballotCRCOffset:]); got != want {",
			broken: "le.Uint32(raw[ballotCRCOffset:]); false && got != want {",
		},
		{
			name: "term 0 where both slots are damaged", file: file, layers: own,
			old:    "case errs[0] != nil && errs[1] != nil:",
			broken: "case false:",
		},
		{
			name: "ballot read but not made durable", file: file, layers: own,
			old:    "if err := b.write(b.newest); err != nil {",
			broken: "if err := error(nil); err != nil {",
		},
		{
			name: "ballot not mirrored", file: "pkg/dledger/ballot_mirror.go", layers: own,
			old:    "if err := b.write(next); err != nil {",
			broken: "if err := error(nil); err != nil {",
		},
		{
			name: "ballot mirrored over the newest one", file: "pkg/dledger/ballot_mirror.go", layers: own,
			old:    "next.sequence++",
			broken: "next.sequence += 2",
		},
		{
			name: "ballot mirrored only at the end", file: "pkg/dledger/ballot_mirror.go", layers: own,
			old:    "if !s.core.mirror.due(now, busy) {",
			broken: "if true || !s.core.mirror.due(now, busy) {",
		},
		{
			name: "failed ballot write retried", file: file, layers: own,
			old:    "if b.broken != nil {",
			broken: "if false {",
		},
		{
			name: "damage that first offsets meet is no damage of the state", file: "pkg/broker/assemble.go", layers: own,
			old:    "if err := store.Retain(state.Index(b.ledger.Begin())); err != nil {",
			broken: "if err := store.Retain(state.Index(b.ledger.Begin())); err != nil && !corruptState(err) {",
		},
		{
			name: "memory gate opens below what is held by right", file: "pkg/broker/memory.go", layers: own,
			old:    "opens = max(uint64(memory*openShare), uint64(held))",
			broken: "opens = uint64(memory * openShare)",
		},
		{
			name: "topics that are being created take no room", file: "pkg/broker/topic_room.go", layers: own,
			old:    "\tr.mu.coming[topic] = queues\n",
			broken: "",
		},
	}
}
