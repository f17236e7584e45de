package config

import (
	"fmt"
	"slices"
)

// The stable codes of configuration errors (docs/errors.md).
const (
	CodeFile         = "CONFIG_FILE"
	CodeSyntax       = "CONFIG_SYNTAX"
	CodeUnknownKey   = "CONFIG_UNKNOWN_KEY"
	CodeDuplicateKey = "CONFIG_DUPLICATE_KEY"
	CodeInvalidValue = "CONFIG_INVALID_VALUE"
	CodeUnknownEnv   = "CONFIG_UNKNOWN_ENV"
)

// An Error is a fault in the configuration; its text begins with the place.
type Error struct {
	Code string
	// Place is FILE:LINE:COLUMN, "env NAME" or "flag --NAME".
	Place string
	What  string
}

func (e *Error) Error() string { return fmt.Sprintf("config: %s: %s", e.Place, e.What) }

// meant returns ` — did you mean "x"?` for the candidate nearest to name, or
// nothing when none is near.
func meant(name string, candidates []string) string {
	limit := max(1, len(name)/3) + 1
	best, found := limit, ""
	for _, c := range candidates {
		if d := distance(name, c); d < best {
			best, found = d, c
		}
	}
	if found == "" {
		return ""
	}
	return fmt.Sprintf(" — did you mean %q?", found)
}

// distance is how many letters must be put in, dropped or changed to turn a
// into b; two neighbours that changed places count once.
func distance(a, b string) int {
	previous, current, next := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range current {
		current[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			changed := current[j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			next[j] = min(changed, current[j]+1, next[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], previous[j-2]+1)
			}
		}
		previous, current, next = current, next, slices.Clone(current)
	}
	return current[len(b)]
}
