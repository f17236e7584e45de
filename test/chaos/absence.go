package chaos

import "time"

// absenceTime is how long, at least, a member is away that shall come back to find its
// next entries purged: at the rate of the clients about three times what is kept.
const absenceTime = 12 * time.Second

// absence keeps a member away until the others have purged what it needs next, and
// counts how often they had.
func absence(n *nemesis, targets []*host) func() {
	h := targets[0]
	var end int64 = -1
	if s := statusOf(n.ctx, targets)[0]; s != nil {
		end = s.GetLedgerEndIndex()
	}
	h.kill()
	return func() {
		purged := 0
		if leader := leaderOf(n.ctx, n.hosts); leader != nil {
			if s := statusOf(n.ctx, []*host{leader})[0]; s != nil && end >= 0 && s.GetLedgerBeginIndex() > end+1 {
				purged = 1
			}
		}
		n.counts.add("members that came back to purged entries", purged)
		h.start()
	}
}
