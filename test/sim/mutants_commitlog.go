package sim

// commitlogMutants break what the disk keeps: I8, I9. The simulator runs pkg/commitlog
// in thick runs; what these do not bring about, that package's own tests must notice.
func commitlogMutants() []mutant {
	const dir = "pkg/commitlog/"
	own, thick := []layer{tests}, []layer{tests, thickSeeds}
	return []mutant{
		{
			name: "entries reported durable without fdatasync", file: dir + "sync.go", layers: thick,
			old:    "if err := seg.file.Sync(); err != nil {",
			broken: "if err := error(nil); err != nil {",
		},
		{
			name: "failed fdatasync retried", file: dir + "sync.go", layers: own,
			old:    "if err := l.writeGroup(seg, &g); err != nil {\n\t\treturn Persisted{}, l.fail(err)",
			broken: "if err := l.writeGroup(seg, &g); err != nil {\n\t\treturn Persisted{}, err",
		},
		{
			name: "new segment's directory not synced", file: dir + "roll.go", layers: thick,
			old:    "return seg, l.cfg.FS.SyncDir(l.cfg.Dir)",
			broken: "return seg, nil",
		},
		{
			name: "new segment named before its header is durable", file: dir + "roll.go", layers: thick,
			old:    "if err := seg.file.Sync(); err != nil {\n\t\treturn nil, err\n\t}\n",
			broken: "",
		},
		{
			name: "body CRC ignored", file: dir + "entry.go", layers: thick,
			old:    "if own != h.BodyCRC || own != computed {",
			broken: "if false && own != computed {",
		},
		{
			name: "header CRC of entries ignored", file: dir + "entry.go", layers: own,
			old:    "binary.LittleEndian.Uint32(b[40:]); got != want {",
			broken: "binary.LittleEndian.Uint32(b[40:]); false && got != want {",
		},
		{
			name: "chain CRC ignored", file: dir + "verify.go", layers: own,
			old:    "if want := chainCRC(t.chain, header); h.ChainCRC != want {",
			broken: "if want := chainCRC(t.chain, header); false && h.ChainCRC != want {",
		},
		{
			name: "log cut off at damage in its middle", file: dir + "recover.go", layers: own,
			old:    "case proof > 0:",
			broken: "case false:",
		},
		{
			name: "missing end of a segment overlooked", file: dir + "recover.go", layers: own,
			old:    "return r.corrupt(seg, fmt.Errorf(\"%w; the next segment proves that entries up to %d had been durable\", why, next.base-1))",
			broken: "_ = why\n\treturn nil",
		},
		{
			name: "outline kept when its segment is truncated", file: dir + "truncate.go", layers: own,
			old:    "l.removeOutlines(append(later, l.w.active)...)",
			broken: "error(nil)",
		},
		{
			name: "outline believed against the next segment", file: dir + "recover_outline.go", layers: own,
			old:    "case o.end != end || o.frames != uint64(next.prevFrames)+1:",
			broken: "case false:",
		},
		{
			name: "outline believed, and what was written behind it overlooked", file: dir + "recover_outline.go", layers: own,
			old:    "if g, err := parseGroupHeader(b[blockBytes:]); err == nil && g.segmentID == seg.id {",
			broken: "if false {",
		},
		{
			name: "CRC of outlines ignored", file: dir + "outline.go", layers: own,
			old:    "le.Uint32(b[sum:]); got != want {",
			broken: "le.Uint32(b[sum:]); false && got != want {",
		},
		{
			name: "outline named though its segment has changed", file: dir + "outlines.go", layers: own,
			old:    "if !same || d.frames != seg.w.frames {",
			broken: "if !same {",
		},
		{
			name: "outline kept when damage is found in its segment", file: dir + "outlines.go", layers: own,
			old:    "if err := l.removeOutlines(seg); err != nil {",
			broken: "if err := error(nil); err != nil {",
		},
		{
			name: "torn tail left on disk", file: dir + "recover_end.go", layers: own,
			old: "return t.clear()", broken: "return nil",
		},
		{
			name: "recovery syncs what it found without writing it again", file: dir + "harden.go", layers: thick,
			old:    "if err := r.log.writeAt(seg, pos, frame, padding); err != nil {",
			broken: "_ = padding\n\t\tif err := error(nil); err != nil {",
		},
		{
			name: "segments removed before the frame that condemns them is durable", file: dir + "recover.go", layers: thick,
			old:    "if err := r.harden(); err != nil {\n\t\treturn err\n\t}\n",
			broken: "defer func() { _ = r.harden() }()\n",
		},
		{
			name: "truncation not written", file: dir + "truncate.go", layers: thick,
			old:    "if err := l.writeMark(l.w.active, groupTruncate, 0, at); err != nil {",
			broken: "if err := error(nil); err != nil {",
		},
		{
			name: "completion with the epoch of now, not of the write", file: dir + "truncate.go", layers: thick,
			old:    "l.mu.epoch++\n",
			broken: "",
		},
		{
			name: "zeros written over the log", file: dir + "zeroahead.go", layers: own,
			old:    "from := max(seg.w.zeroed, seg.w.pos); from < min(end, seg.size)",
			broken: "from := seg.w.zeroed; from < min(end, seg.size)",
		},
		{
			name: "the tail's memory used again while it is read", file: dir + "tail.go", layers: own,
			old:    "case c.holds > 0:",
			broken: "case c.holds > 1:",
		},
	}
}
