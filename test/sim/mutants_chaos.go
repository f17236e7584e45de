package sim

// historyMutants blind the judge of histories, one rule at a time. A judge that sees
// nothing makes every run look good, so its own tests must notice.
func historyMutants() []mutant {
	const dir = "pkg/history/"
	own := []layer{tests}
	return []mutant{
		{
			name: "history: two values at one offset overlooked", file: dir + "sightings.go", layers: own,
			old:    "} else if have != value {\n\t\t\ttwo[offset] = value",
			broken: "} else if have == \"\" {\n\t\t\ttwo[offset] = value",
		},
		{
			name: "history: duplicates overlooked", file: dir + "sightings.go", layers: own,
			old:    "if len(saw.offsets) > 1 {",
			broken: "if len(saw.offsets) > 2 {",
		},
		{
			name: "history: read before it was sent", file: dir + "sightings.go", layers: own,
			old:    "case saw.earliest < s.invoke:",
			broken: "case saw.earliest < 0:",
		},
		{
			name: "history: definite failures may be read", file: dir + "sightings.go", layers: own,
			old:    "case s.outcome == Fail:\n\t\t\tr.add",
			broken: "case s.outcome == \"\":\n\t\t\tr.add",
		},
		{
			name: "history: once delivered is enough", file: dir + "loss.go", layers: own,
			old:    "return (saw == nil || !saw.drained) && ",
			broken: "return saw == nil && ",
		},
		{
			name: "history: retention excuses everything", file: dir + "loss.go", layers: own,
			old:    "if !options.Retention || offset == Unknown {",
			broken: "if offset == Unknown {",
		},
		{
			name: "history: late is not unseen", file: dir + "loss.go", layers: own,
			old:    "case saw.pulled > due:",
			broken: "case saw.pulled > 2*due:",
		},
		{
			name: "history: skipped offsets overlooked", file: dir + "order.go", layers: own,
			old:    "case !known || m.Offset == expected:",
			broken: "case !known || m.Offset >= expected:",
		},
		{
			name: "history: order of concurrent sends by time alone", file: dir + "order.go", layers: own,
			old:    "if a.sequence != Unknown && b.sequence != Unknown {",
			broken: "if a.sequence == Unknown && b.sequence != Unknown {",
		},
		{
			name: "history: real time forgets the second best", file: dir + "order.go", layers: own,
			old:    "\t\t\trival = second\n",
			broken: "\t\t\trival = nil\n",
		},
		{
			name: "history: holes at the end of a copy overlooked", file: dir + "copies.go", layers: own,
			old:    "\tgap(m.end)\n",
			broken: "",
		},
		{
			name: "history: a reset under way does not matter", file: dir + "progress.go", layers: own,
			old:    "if right && then.open == 0 && now.open == 0 && then.resets == now.resets {",
			broken: "if right {",
		},
		{
			name: "history: empty line ends the reading", file: dir + "file.go", layers: own,
			old:    "return errors.New(\"empty line\") // io.EOF would be taken for the end of the history",
			broken: "return err",
		},
		{
			name: "history: a producer's own numbers are not looked at", file: dir + "check.go", layers: own,
			old:    "o.Number > 0 {",
			broken: "false {",
		},
	}
}
