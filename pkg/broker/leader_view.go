package broker

import (
	"fmt"
	"strings"

	"github.com/ledgermq/ledgermq/pkg/dledger"
	"github.com/ledgermq/ledgermq/pkg/dledger/member"
)

// leaderView is what this broker knows of the leader at one moment.
type leaderView struct {
	self    member.ID
	leader  member.ID // empty: nobody
	addr    string    // the leader's client address, empty while unknown
	term    member.Term
	master  bool        // this broker is the leader
	serving *leadership // not nil: and ready for clients
	applied member.Term // of the newest entry applied here
	outcast string      // why this broker is not in the group; empty: it is
	// changed is closed when the ledger's part of this has changed, moved when the
	// leadership's has.
	changed, moved <-chan struct{}
}

// leaderIsServing tells whether the leader is known to be ready for clients: an
// entry of its own term has been applied here, so it was committed.
func (v leaderView) leaderIsServing() bool {
	if v.leader == v.self {
		return v.serving != nil
	}
	return v.leader != "" && v.applied == v.term
}

// view looks at ledger and leadership. The channels are taken first, so that no
// change slips through between looking and waiting.
func (b *Broker) view() leaderView {
	_, changed := b.ledger.Changes()
	serving, _, applied, moved := b.leaderships.now()
	st := b.ledger.Status()
	if !st.Serving {
		serving = nil // the ledger is a moment behind, or ahead, of the role change
	}
	return leaderView{
		self: st.ID, leader: st.Leader, addr: st.LeaderClientAddr, term: st.Term,
		master: st.Role == member.Leader, serving: serving, applied: applied,
		outcast: st.Outcast,
		changed: changed, moved: moved,
	}
}

// explain says, for an error, why there might be no leader.
func (b *Broker) explain() string {
	st := b.ledger.Status()
	seen := []string{fmt.Sprintf("%s is %s in term %d", st.ID, st.Role, st.Term)}
	reachable := 1
	for _, p := range st.Peers {
		if p.Connected {
			reachable++
		}
		seen = append(seen, peerSeen(p))
	}
	voters := st.Members.CountVoters()
	why := fmt.Sprintf("%d of %d members reachable, %d voters needed (%s)", reachable, len(st.Peers)+1, voters/2+1, strings.Join(seen, ", "))
	if st.Outcast != "" {
		why += fmt.Sprintf("; %s is not in the group: %s", st.ID, st.Outcast)
	}
	if st.Standing != "" {
		why += fmt.Sprintf("; %s may not vote: %s", st.ID, st.Standing)
	}
	return why
}

func peerSeen(p dledger.PeerStatus) string {
	switch {
	case p.Paused:
		return string(p.ID) + " paused"
	case p.Connected && p.MayNotVote:
		return string(p.ID) + " connected, but may not vote"
	case p.Connected:
		return string(p.ID) + " connected"
	}
	return string(p.ID) + " not connected"
}
