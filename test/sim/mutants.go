package sim

import "slices"

// layer is a set of tests that may notice a broken rule.
type layer string

const (
	tests layer = "tests"      // those of the broken package: for the member, its rule scripts
	seeds layer = "simulation" // this simulator

	thickSeeds layer = "thick simulation" // with the real commit log in every run
	exhaustive layer = "search"           // the exhaustive one, in its short form
)

// mutant is a rule broken on purpose: in file, the text old becomes broken. Each
// of layers must then turn red; a layer that stays green is toothless.
type mutant struct {
	name   string
	file   string
	old    string
	broken string
	layers []layer
}

const memberDir = "pkg/dledger/member/"

// mutants are all of them. README.md has the table of what killed each.
func mutants() []mutant {
	return slices.Concat(
		votingMutants(),
		commitMutants(),
		replicationMutants(),
		commitlogMutants(),
		brokerMutants(),
		ballotMutants(),
		historyMutants(),
		standingMutants(),
		repairMutants(),
		seedMutants(),
		membershipMutants(),
	)
}
