package chaos

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

var (
	forFlag  = flag.Duration("chaos.for", 0, "inject faults for so long (default: a smoke test of a few seconds)")
	seedFlag = flag.Uint64("chaos.seed", 0, "what the nemesis and the clients do follows from it; 0: from the clock")
	onlyFlag = flag.String("chaos.only", "", "only these kinds of faults, separated by commas")
	keepFlag = flag.Bool("chaos.keep", false, "keep history and logs even if nothing is wrong")

	requireFlag   = flag.Bool("chaos.require", false, "fail when a kind of faults is skipped for want of a program or of root; not when the kernel cannot have it")
	retentionFlag = flag.String("chaos.retention", "auto", "rounds in which the brokers purge old messages: auto, on or off")
)

// only lists the kinds that -chaos.only names.
func only() []string {
	if *onlyFlag == "" {
		return nil
	}
	return strings.Split(*onlyFlag, ",")
}

// checkFlags refuses what would quietly try less than was meant.
func checkFlags() error {
	if !slices.Contains([]string{"auto", "on", "off"}, *retentionFlag) {
		return fmt.Errorf("-chaos.retention is %q: it can be auto, on or off", *retentionFlag)
	}
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	for _, name := range only() {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no kind of faults %q (CHAOS_ONLY, -chaos.only): there are %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}
