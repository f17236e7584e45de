package dledger

import (
	"fmt"

	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// explainStanding says why a member may not vote, and what to do about it. Empty:
// it may.
func explainStanding(st member.Status) string {
	switch {
	case st.MayVote:
		return ""
	case st.Proven:
		return "its ledger is damaged: it follows, and votes again when it is repaired"
	case founding(st) && len(st.Missing) == 0:
		return "its data directory is new, and it is the only member of its group, which is about to begin"
	case len(st.Missing) > 0:
		return fmt.Sprintf("its data directory is new, and the group seems to be: it votes when it has heard that every other member is new too, "+
			"and has not heard so of %v. Start all members; bootstrap, which lets a majority begin without the rest, is for a group that never held anything", st.Missing)
	}
	seen := "it has taken part in the group since"
	if st.Elder != "" {
		seen = fmt.Sprintf("%s has taken part in the group", st.Elder)
	}
	return fmt.Sprintf("its data directory is new, but the group is not (%s): it votes when a leader, elected by a majority without it, has brought it up to date. "+
		"If no leader comes, start the members whose directories are whole; if the old directory of this one still exists, put it back", seen)
}

// founding says whether a member waits for a new group to begin: nothing is wrong yet.
func founding(st member.Status) bool {
	return !st.Proven && st.Elder == "" && st.Term == 0 && st.End == member.NoIndex
}

// logStanding tells the log when the right to vote comes or goes, or when what it
// waits for changes.
func (s *Server) logStanding(old, next *Status) {
	switch {
	case old.Standing == next.Standing:
	case next.MayVote:
		s.log.Info("this member may vote")
	case next.founding:
		s.log.Info("this member may not vote yet", "why", next.Standing)
	default:
		s.log.Warn("this member may not vote", "why", next.Standing)
	}
}
